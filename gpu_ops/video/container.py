"""Opening and decoding files nobody has vetted: the one place that touches FFmpeg's demuxers.

A file name reaches FFmpeg as a plain local file, whatever characters it holds, and only formats that keep all
of their data inside the one file are read, so that a playlist in disguise cannot make us open anything else.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Discard, Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from gpu_ops.contract import BadVideo

SELF_CONTAINED_FORMATS = (
    "mov,matroska,webm,avi,mpegts,mpeg,flv,live_flv,asf,ogg,mxf,nut,rm,ivf,gif,dv,gxf,wtv,3gp,mp4,mpegvideo"
)
# The other half of the machine works on what was decoded; a decoder's second thread costs 13 % more CPU.
DECODER_THREADS = max(1, min(4, len(os.sched_getaffinity(0)) // 2))


@contextmanager
def open_video(path: Path, decoder: HWAccel | None = None) -> Generator[tuple[InputContainer, VideoStream]]:
    """The open file and its main moving-picture stream; the other streams are skipped while reading.

    `decoder` decodes what it can, the CPU the rest. Raises BadVideo when there is nothing to read: no file,
    empty, not a video, cut short, sound only.
    """
    _refuse_empty(path)
    try:
        container = av.open(
            f"file:{path}",
            metadata_errors="replace",
            container_options={"format_whitelist": SELF_CONTAINED_FORMATS, "protocol_whitelist": "file"},
            hwaccel=decoder,
        )
    except (FFmpegError, OSError, ValueError) as error:
        raise BadVideo(_why_unreadable(path)) from error
    with container:
        stream = _main_stream(container)
        for other in container.streams:
            if other.index != stream.index:
                other.discard = Discard.all
        stream.codec_context.thread_count = DECODER_THREADS
        stream.thread_type = "AUTO"
        yield container, stream


def packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """The stream's packets in decoding order, then one empty packet; ends early where the file is damaged."""
    demuxed = container.demux(stream)
    held: Packet[VideoStream] | None = None
    # Demuxing ends with an empty packet; where reading fails, it just ends.
    with suppress(FFmpegError):
        for packet in demuxed:
            if packet.size == 0:
                continue
            if held is not None:
                yield held
            held = packet
    # The cut-off last packet of a cut file: decoding it would cost us the frames still inside the decoder.
    if held is not None and not held.is_corrupt:
        yield held
    flush = cast("Packet[VideoStream]", Packet())
    flush.stream = stream
    yield flush


def decode(packet: Packet[VideoStream]) -> list[VideoFrame]:
    """Frames the decoder gives out for the packet (of this or an earlier one); none for a damaged packet."""
    try:
        return packet.decode()
    except FFmpegError:
        return []


def _main_stream(container: InputContainer) -> VideoStream:
    moving = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not moving:
        raise BadVideo("The file has no video stream: it holds sound or other data only.")
    stream = next((s for s in moving if s.disposition & Disposition.default), moving[0])
    # Unknown codecs have no codec context at all.
    if cast(object, stream.codec_context) is None:
        raise BadVideo(
            "The video is in a codec that cannot be decoded. Convert it to H.264 and upload it again."
        )
    return stream


def _refuse_empty(path: Path) -> None:
    if not path.is_file():
        raise BadVideo("There is no such video file.")
    if path.stat().st_size == 0:
        raise BadVideo("The file is empty. Was the upload interrupted? Upload it again.")


def _why_unreadable(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] == b"ftyp":
        return "The MP4 file is cut short: its index (moov) is missing or damaged. Upload the complete file."
    return "The file is not a video, or is damaged from the start."


def skips_exactly(stream: VideoStream) -> bool:
    """Whether skip_frame=NONREF leaves all other frames of the stream bit-exact.

    So in H.264, where a frame marked non-reference is used by no other; in HEVC a higher temporal layer may
    use it.
    """
    return stream.codec_context.codec.canonical_name == "h264"


def has_index(container: InputContainer) -> bool:
    """Whether the format lists its key frames, so that seeking lands on one of them."""
    return container.format.name not in ("mpegts", "mpeg", "mpegvideo")
