"""Cropped frames to VP9 chunks and back.

Writing goes on while the video is decoded: one encoding thread for each level, each with one open chunk, and
a finished chunk is uploaded while the next is encoded. The manifest comes last: a version without it is not
complete.
"""

from __future__ import annotations

import hashlib
import io
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Queue
from threading import Thread
from types import TracebackType

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from gpu_ops.contract import GRID_HZ, ComputeError, VideoKeys
from gpu_ops.regions import CropPixels
from gpu_ops.stages import stage
from gpu_ops.store import ObjectStore
from gpu_ops.video.colour import to_bgr
from gpu_ops.video.crop import CroppedFrame
from gpu_ops.video.grid import (
    MODULOS,
    Modulo,
    chunk_path,
    modulo_of,
    position_in_chunk,
    window_start,
)
from gpu_ops.video.manifest import Chunk, Manifest, Rectangle

# On grainy strips of 1034x78: 0.53 of the CPU of cpu-used 5, 7 % more bytes, 0.1 dB less.
VP9_OPTIONS = {
    "deadline": "realtime",
    "cpu-used": "8",
    "aq-mode": "0",
    # At 30: 28 % more bytes, 1.4 dB more, and of 384 drawn captions not one more was read exactly.
    "crf": "34",
    "b": "0",
    "g": "9999",  # one key frame: a chunk is always read from its beginning
    "threads": "1",
    # Looking ahead, and learning from the frame before, cost 7 % more CPU and 10 % more bytes for 0.1 dB.
    "lag-in-frames": "0",
    "frame-parallel": "1",
    "tile-columns": "0",  # one thread has no use for tiles, which cost 4 % more bytes
}
# Random segment ids would give the same frames another hash each time.
WEBM_OPTIONS = {"fflags": "+bitexact"}
LIMITED_RANGE = 1

UPLOAD_THREADS = 8  # they wait for the network
MAX_PENDING_UPLOADS = 4  # for each level
QUEUE_BYTES = 16 << 20  # for each level
MAX_QUEUED_FRAMES = 32


class ChunkWriter:
    """Writes version `version` of a video's cropped frames; use as a context manager.

    Leaving the context by an exception, or before finish(), stops the threads and deletes what was written.
    `crop` and `watermarks` are for the manifest.
    """

    def __init__(
        self,
        store: ObjectStore,
        keys: VideoKeys,
        version: int,
        crop: CropPixels,
        watermarks: tuple[Rectangle, ...] = (),
    ) -> None:
        self._store = store
        self._keys = keys
        self._version = version
        self._crop = crop
        self._watermarks = watermarks
        self._uploads = ThreadPoolExecutor(UPLOAD_THREADS, "chunk-upload")
        self._levels: dict[Modulo, _Level] = {}
        self._frame_count = 0
        self._finished = False

    def __enter__(self) -> ChunkWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._finished:
            return
        for level in self._levels.values():
            level.abandon()
        self._uploads.shutdown(cancel_futures=True)
        self._store.delete([info.key for info in self._store.list(self._prefix)])

    @property
    def _prefix(self) -> str:
        return self._keys.cropped_frames(self._version)

    def add(self, frame: CroppedFrame) -> None:
        """Take the next grid frame, waiting while encoding lags; a frame between positions is passed over.

        Raises ValueError for a frame out of order, and whatever encoding or uploading earlier frames failed
        with.
        """
        if frame.index is None:
            return
        if frame.index != self._frame_count:
            raise ValueError(f"grid frame {frame.index} came where {self._frame_count} was expected")
        self._frame_count += 1
        modulo = modulo_of(frame.index)
        if modulo not in self._levels:
            self._levels[modulo] = _Level(modulo, self._store, self._prefix, self._uploads, frame.y.size)
        self._levels[modulo].put(frame.index, frame)

    def finish(self) -> Manifest:
        """Write the last chunks and then the manifest. Raises whatever encoding or uploading failed with."""
        chunks: list[Chunk] = []
        for level in self._levels.values():
            level.close()
        for modulo in MODULOS:
            if modulo in self._levels:
                chunks += self._levels[modulo].result()
        self._uploads.shutdown()
        manifest = Manifest(
            version=self._version,
            crop=self._crop,
            frame_count=self._frame_count,
            chunks=tuple(chunks),
            watermarks=self._watermarks,
        )
        self._store.put(self._keys.manifest(self._version), manifest.to_json())
        self._finished = True
        return manifest


class _Level:
    """One level's encoding thread: frames in, uploaded chunks out."""

    def __init__(
        self, modulo: Modulo, store: ObjectStore, prefix: str, uploads: ThreadPoolExecutor, luma_bytes: int
    ) -> None:
        self._modulo: Modulo = modulo
        self._store = store
        self._prefix = prefix
        self._uploads = uploads
        self._pending: deque[Future[None]] = deque()
        self._chunks: list[Chunk] = []
        self._error: BaseException | None = None
        depth = max(2, min(MAX_QUEUED_FRAMES, QUEUE_BYTES * 2 // (3 * luma_bytes)))
        self._queue: Queue[tuple[int, CroppedFrame] | None] = Queue(depth)
        self._thread = Thread(target=self._run, name=f"encode-modulo-{modulo}", daemon=True)
        self._thread.start()

    def put(self, index: int, frame: CroppedFrame) -> None:
        self._raise_error()
        self._queue.put((index, frame))

    def close(self) -> None:
        """Say that no more frames come."""
        self._queue.put(None)

    def result(self) -> list[Chunk]:
        """Wait for the last chunk to be uploaded."""
        self._thread.join()
        self._raise_error()
        return self._chunks

    def abandon(self) -> None:
        """Stop soon, whatever is still queued; safe to call after close()."""
        self._error = self._error or ComputeError("Writing the cropped frames was given up.")
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        # Emptied to its end whatever happens: whoever waits to put a frame must not wait for ever.
        frames = iter(self._queue.get, None)
        try:
            with stage("encode"):
                self._encode(frames)
        except BaseException as error:  # handed to the thread that adds frames
            self._error = error
            deque(frames, maxlen=0)

    def _encode(self, frames: Iterator[tuple[int, CroppedFrame]]) -> None:
        encoder: _ChunkEncoder | None = None
        for index, frame in frames:
            if self._error is not None:
                continue
            if encoder is not None and encoder.start != window_start(index):
                self._publish(encoder)
                encoder = None
            encoder = encoder or _ChunkEncoder(window_start(index), frame)
            encoder.add(index, frame)
        if encoder is not None and self._error is None:
            self._publish(encoder)
        while self._pending and self._error is None:
            self._pending.popleft().result()

    def _publish(self, encoder: _ChunkEncoder) -> None:
        data = encoder.finish()
        path = chunk_path(self._modulo, encoder.start)
        chunk = Chunk(
            modulo=self._modulo,
            start=encoder.start,
            path=path,
            frame_indices=tuple(encoder.indices),
            bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
        )
        self._pending.append(self._uploads.submit(self._store.put, f"{self._prefix}/{path}", data))
        self._chunks.append(chunk)
        if len(self._pending) > MAX_PENDING_UPLOADS:
            self._pending.popleft().result()


class _ChunkEncoder:
    """One WebM file in the making."""

    def __init__(self, start: int, first: CroppedFrame) -> None:
        self.start = start
        self.indices: list[int] = []
        self._file = io.BytesIO()
        self._container = av.open(self._file, "w", format="webm", container_options=WEBM_OPTIONS)
        self._stream = self._container.add_stream("libvpx-vp9", GRID_HZ, options=VP9_OPTIONS)
        self._stream.height, self._stream.width = first.y.shape
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.colorspace = first.matrix
        self._stream.codec_context.color_range = LIMITED_RANGE

    def add(self, index: int, frame: CroppedFrame) -> None:
        width = frame.y.shape[1]
        packed = np.concatenate([frame.y.ravel(), frame.u.ravel(), frame.v.ravel()]).reshape(-1, width)
        picture = VideoFrame.from_ndarray(packed, format="yuv420p")
        picture.pts = len(self.indices)
        self._container.mux(self._stream.encode(picture))
        self.indices.append(index)

    def finish(self) -> bytes:
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._file.getvalue()


def read_chunk_frames(
    store: ObjectStore, prefix: str, indices: Iterable[int]
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """(index, height x width x 3 BGR image) of each of the grid frames, ascending, without repetition.

    `prefix` is a VideoKeys.cropped_frames(version). Each chunk needed is read once, and decoded no further
    than the last frame asked of it; at most three are open at a time. grid.cheap_indices picks indices that
    need few chunks. Raises MissingObject for a frame beyond the last chunk, ComputeError for a chunk that
    does not hold its frames.
    """
    chunks: dict[Modulo, _ChunkReader] = {}
    try:
        for index in sorted(set(indices)):
            modulo, start = modulo_of(index), window_start(index)
            reader = chunks.get(modulo)
            if reader is None or reader.start != start:
                if reader is not None:
                    reader.close()
                reader = chunks[modulo] = _ChunkReader(store, prefix, modulo, start)
            yield index, reader.image(position_in_chunk(index))
    finally:
        for reader in chunks.values():
            reader.close()


class _ChunkReader:
    """One open chunk, read forwards."""

    def __init__(self, store: ObjectStore, prefix: str, modulo: Modulo, start: int) -> None:
        self.start = start
        self._key = f"{prefix}/{chunk_path(modulo, start)}"
        self._container = open_chunk(store.get(self._key), self._key)
        self._frames = decode_chunk(self._container, self._key)
        self._position = -1

    def image(self, position: int) -> NDArray[np.uint8]:
        for frame in self._frames:
            self._position += 1
            if self._position == position:
                return to_bgr(frame, frame.width, frame.height)
        raise ComputeError(f"The chunk {self._key} has no frame {position}. Crop the video again.")

    def close(self) -> None:
        self._frames.close()
        self._container.close()


def open_chunk(data: bytes, key: str) -> InputContainer:
    """A chunk's bytes as an open container. Raises ComputeError naming `key` when it is no WebM."""
    try:
        return av.open(io.BytesIO(data), "r", format="webm")
    except (FFmpegError, ValueError) as error:
        raise ComputeError(f"The chunk {key} is damaged. Crop the video again.") from error


def decode_chunk(container: InputContainer, key: str) -> Generator[VideoFrame]:
    """The chunk's frames in order. Raises ComputeError naming `key` when one does not decode."""
    container.streams.video[0].thread_type = "NONE"  # strips are small; several chunks are open at a time
    try:
        yield from container.decode(video=0)
    except FFmpegError as error:
        raise ComputeError(f"The chunk {key} is damaged. Crop the video again.") from error
