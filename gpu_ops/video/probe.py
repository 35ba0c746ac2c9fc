"""What a video really is: measured from its packets and first frame, not taken from its header."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from av.video.frame import VideoFrame
from av.video.reformatter import ColorTrc

from gpu_ops.contract import BadVideo
from gpu_ops.video.container import decode, open_video, packets
from gpu_ops.video.timeline import Timeline, read_timeline

HDR_TRANSFERS = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)
MIN_SIDE_PX = 16
MAX_SIDE_PX = 16384


@dataclass(frozen=True, kw_only=True)
class VideoFacts:
    """One video; lengths in pixels. `width`, `height`: as displayed, upright and with square pixels.

    `rotation`: degrees (0, 90, 180, 270) by which the decoded picture is turned clockwise for display.
    `sample_aspect_ratio`: width of a decoded pixel over its height. `frame_rate`: mean, in Hz; frames need
    not be evenly spaced. `grid_frame_count`: number of positions on the 10 Hz grid. `bitrate`: of the video
    stream, bit/s.
    """

    width: int
    height: int
    coded_width: int
    coded_height: int
    rotation: int
    sample_aspect_ratio: Fraction
    codec: str
    pixel_format: str
    is_hdr: bool
    is_interlaced: bool
    bitrate: int
    duration: float
    frame_count: int
    frame_rate: float
    grid_frame_count: int
    timeline: Timeline = field(repr=False, compare=False)


def probe(path: Path) -> VideoFacts:
    """Measure a video file: reads all of its packets, decodes only the first frame.

    Raises BadVideo, with a sentence for the video's owner, when no frame can be had from it.
    """
    timeline = read_timeline(path)
    frame, codec, aspect = _first_frame(path)
    if not (MIN_SIDE_PX <= frame.width <= MAX_SIDE_PX and MIN_SIDE_PX <= frame.height <= MAX_SIDE_PX):
        raise BadVideo(
            f"The picture is {frame.width}x{frame.height} pixels; "
            f"only sides from {MIN_SIDE_PX} to {MAX_SIDE_PX} pixels can be processed."
        )
    if timeline.has_pts and frame.pts is not None:
        timeline = timeline.starting_at(frame.pts)
    rotation = -round(frame.rotation / 90) * 90 % 360
    upright = (max(1, round(frame.width * aspect)), frame.height)
    width, height = upright if rotation in (0, 180) else upright[::-1]
    frame_count = len(timeline.pts)
    return VideoFacts(
        width=width,
        height=height,
        coded_width=frame.width,
        coded_height=frame.height,
        rotation=rotation,
        sample_aspect_ratio=aspect,
        codec=codec,
        pixel_format=frame.format.name,
        is_hdr=frame.color_trc in HDR_TRANSFERS,
        is_interlaced=frame.interlaced_frame,
        bitrate=round(timeline.video_bytes * 8 / timeline.duration),
        duration=timeline.duration,
        frame_count=frame_count,
        frame_rate=frame_count / timeline.duration,
        grid_frame_count=timeline.grid_frame_count,
        timeline=timeline,
    )


def _first_frame(path: Path) -> tuple[VideoFrame, str, Fraction]:
    with open_video(path) as (container, stream):
        stream.thread_type = "NONE"  # frame threads would read ahead a frame for each
        for packet in packets(container, stream):
            for frame in decode(packet):
                aspect = Fraction(stream.sample_aspect_ratio or 1)
                # Anything outside this is a broken header, not a picture format.
                plausible = aspect if Fraction(1, 8) <= aspect <= 8 else Fraction(1)
                return frame, stream.codec_context.codec.canonical_name, plausible
    raise BadVideo("No frame of the video can be decoded: the file is damaged. Upload it again.")
