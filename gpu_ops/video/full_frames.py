"""Full frames as JPEG files with thumbnails, written while the next frames are decoded."""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_ops.contract import VideoKeys
from gpu_ops.store import ObjectStore
from gpu_ops.video.sample import SampledFrame

JPEG_QUALITY = 90
THUMBNAIL_WIDTH_PX = 320
WRITING_THREADS = 4  # they mostly wait for the network
MAX_PENDING = 4  # a 4K frame is 25 MB


class FullFrameWriter:
    """Writes a video's full frames over those of an earlier run; use as a context manager."""

    def __init__(self, store: ObjectStore, keys: VideoKeys) -> None:
        self._store = store
        self._keys = keys
        self._writing = ThreadPoolExecutor(WRITING_THREADS, "full-frames")
        self._pending: deque[Future[tuple[int, int, str]]] = deque()
        self._written: dict[int, tuple[int, str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writing.shutdown(cancel_futures=True)

    def add(self, frame: SampledFrame) -> None:
        """Take a frame, waiting while writing lags. Raises what writing an earlier one failed with."""
        while len(self._pending) >= MAX_PENDING:
            self._collect()
        self._pending.append(self._writing.submit(self._write, frame))

    def finish(self) -> tuple[int, str]:
        """Wait for the last frames and delete strangers from an earlier run; answers bytes and sha256."""
        while self._pending:
            self._collect()
        wanted = {self._keys.full_frame(index) for index in self._written}
        wanted |= {self._keys.thumbnail(index) for index in self._written}
        self._store.delete(
            info.key
            for prefix in (self._keys.full_frames, self._keys.thumbnails)
            for info in self._store.list(prefix)
            if info.key not in wanted
        )
        sha = hashlib.sha256()
        for index in sorted(self._written):
            sha.update(f"{index} {self._written[index][1]}\n".encode())
        return sum(size for size, _ in self._written.values()), sha.hexdigest()

    def _collect(self) -> None:
        index, size, digest = self._pending.popleft().result()
        self._written[index] = (size, digest)

    def _write(self, frame: SampledFrame) -> tuple[int, int, str]:
        full = _jpeg(frame.image)
        thumbnail = _jpeg(_thumbnail(frame.image))
        self._store.put(self._keys.full_frame(frame.index), full)
        self._store.put(self._keys.thumbnail(frame.index), thumbnail)
        return frame.index, len(full) + len(thumbnail), hashlib.sha256(full).hexdigest()


def _thumbnail(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    size = (THUMBNAIL_WIDTH_PX, max(1, round(height * THUMBNAIL_WIDTH_PX / width)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8)


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
