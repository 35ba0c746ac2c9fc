"""The caption strip of every frame on the 10 Hz grid, from one sequential decode.

Planes are cut out of the decoder's own buffers; no whole frame is ever converted for the usual planar
formats, and of H.264 the frames that neither the grid nor another frame needs are not even decoded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from gpu_ops import gpu
from gpu_ops.contract import GRID_HZ, BadVideo, Progress, silent
from gpu_ops.regions import CropPixels, CropRegion
from gpu_ops.video.colour import apply_table, chroma_table, is_full_range, luma_table, matrix_of
from gpu_ops.video.container import decode, open_video, packets, skips_exactly
from gpu_ops.video.probe import VideoFacts, probe
from gpu_ops.video.timeline import GRID_TOLERANCE_S

Plane = NDArray[np.uint8]

# Planar Y'CbCr whose chroma is whole or halved in each direction, of 8 to 16 bits, little endian.
_PLANAR = re.compile(r"yuvj?4(20|22|40|44)p(9|10|12|14|16)?(?:le)?")
_CHROMA_SHIFTS = {"20": (1, 1), "22": (1, 0), "40": (0, 1), "44": (0, 0)}
# What NVIDIA's decoder gives out, 4:2:0 with U and V alternating in one plane, and how many bits a sample
# fills: those of 10 and 12 bits are shifted up to 16.
_INTERLEAVED = {"nv12": 8, "p010le": 16, "p016le": 16}
PROGRESS_EVERY_FRAMES = 50


@dataclass(frozen=True, eq=False)
class CroppedFrame:
    """The region of one frame as displayed (upright, square pixels), 8-bit 4:2:0, limited range (16-235).

    `y` is height x width, `u` and `v` half of that in both directions; height and width are even. Of a region
    with a gap, the part above it lies upon the part below. `index`:
    position on the 10 Hz grid, None for a frame between positions. `time`: seconds from the first displayed
    frame to this frame's own time, which is at most index / 10; `until`: to the next frame of the video,
    decoded or not. `matrix`: Y'CbCr matrix as FFmpeg numbers it.
    """

    index: int | None
    time: float
    until: float
    y: Plane
    u: Plane
    v: Plane
    matrix: int


def crop_pixels(facts: VideoFacts, region: CropRegion) -> CropPixels:
    """The region in pixels: covers it, but for the last row or column of a video with an odd side."""
    left, right = _even_span(region.left, region.right, facts.width)
    spans = [_even_span(part.top, part.bottom, facts.height) for part in region.parts]
    top, bottom = spans[0][0], spans[-1][1]
    gap = (spans[0][1], spans[-1][0])
    if gap[0] >= gap[1]:
        return CropPixels(left=left, top=top, right=right, bottom=bottom)
    return CropPixels(left=left, top=top, right=right, bottom=bottom, gap_top=gap[0], gap_bottom=gap[1])


def _even_span(start: float, end: float, size: int) -> tuple[int, int]:
    last = size // 2 * 2
    low = min(int(start * size) // 2 * 2, last - 2)
    high = min(-int(-end * size // 2) * 2, last)
    return low, max(high, low + 2)


def cropped_frames(
    path: Path,
    region: CropRegion,
    *,
    native: bool = False,
    progress: Progress = silent,
    facts: VideoFacts | None = None,
) -> Iterator[CroppedFrame]:
    """The region in each grid frame, 0 to facts.grid_frame_count - 1; repeated where frames last longer.

    With `native`, also what had to be decoded between grid positions, with index None, in order of time. A
    damaged stretch shows the frame before it. `facts` saves probing again. Raises BadVideo when nothing can
    be decoded. Peak memory does not depend on the video's length.
    """
    facts = facts or probe(path)
    cutter = _Cutter(facts, region)
    total = facts.grid_frame_count
    next_index = 0
    shown: CroppedFrame | None = None
    for pts, frame in _decoded(path, facts):
        time, until = facts.timeline.seconds(pts), facts.timeline.seconds(facts.timeline.after(pts))
        if shown is not None:
            end = min(total, _first_index_from(time))
            yield from _on_grid(shown, next_index, end, native)
            next_index = max(next_index, end)
        shown = cutter.cut(frame, time, until)
        if next_index % PROGRESS_EVERY_FRAMES == 0:
            progress("cropped frames", next_index, total)
    if shown is None:
        raise BadVideo("No frame of the video can be decoded: the file is damaged. Upload it again.")
    yield from _on_grid(shown, next_index, total, native)
    progress("cropped frames", total, total)


def _first_index_from(time: float) -> int:
    """The first grid position at which a frame of this time is on screen."""
    return max(0, int(np.ceil((time - GRID_TOLERANCE_S) * GRID_HZ)))


def _on_grid(shown: CroppedFrame, start: int, end: int, native: bool) -> Iterator[CroppedFrame]:
    for index in range(start, end):
        yield replace(shown, index=index)
    if native and end <= start:
        yield shown


def _decoded(path: Path, facts: VideoFacts) -> Iterator[tuple[int, VideoFrame]]:
    """Frames with their PTS, ascending; those that neither the grid nor another frame needs may miss."""
    timeline = facts.timeline
    needed: frozenset[int] = frozenset()
    with open_video(path, gpu.video_decoder()) as (container, stream):
        skipping = timeline.has_pts and skips_exactly(stream)
        if skipping:
            needed = frozenset(timeline.shown_at(np.arange(facts.grid_frame_count) / GRID_HZ).tolist())
        latest = int(timeline.pts[0]) - 1
        count = 0
        for packet in packets(container, stream):
            if skipping and packet.size:
                stream.codec_context.skip_frame = "DEFAULT" if packet.pts in needed else "NONREF"
            for frame in decode(packet):
                pts = frame.pts if timeline.has_pts else int(timeline.pts[min(count, len(timeline.pts) - 1)])
                if pts is None or pts < timeline.pts[0]:
                    continue
                count += 1
                if pts > latest:
                    latest = pts
                    yield pts, frame


class _Cutter:
    """Cuts one region out of decoded frames, whatever their pixel format, rotation and pixel shape."""

    def __init__(self, facts: VideoFacts, region: CropRegion) -> None:
        self._coded_size = facts.coded_width, facts.coded_height
        self._quarter_turns = facts.rotation // 90
        # Of each part: where it lies in the decoded picture, and its size when upright.
        self._parts = [
            (_coded_window(facts, part), (part[2] - part[0], part[3] - part[1]))
            for part in crop_pixels(facts, region).parts
        ]

    def cut(self, frame: VideoFrame, time: float, until: float) -> CroppedFrame:
        """The region of the frame, as a CroppedFrame that is on no grid position yet."""
        if (frame.width, frame.height) != self._coded_size:
            # The picture size changed in mid-stream; the region is in fractions, so scale to the first size.
            frame = frame.reformat(width=self._coded_size[0], height=self._coded_size[1], threads=1)
        matrix, transfer, full_range = matrix_of(frame), frame.color_trc, is_full_range(frame)
        if _layout(frame.format.name) is None:
            frame = frame.reformat(format="yuv420p", threads=1)
            full_range = False
        parts = [self._upright_planes(frame, window, size) for window, size in self._parts]
        y, u, v = (
            parts[0] if len(parts) == 1 else (np.concatenate(plane) for plane in zip(*parts, strict=True))
        )
        if (table := luma_table(transfer, full_range)) is not None:
            y = apply_table(y, table)
        if full_range:
            u, v = apply_table(u, chroma_table()), apply_table(v, chroma_table())
        return CroppedFrame(None, time, until, y, u, v, matrix)

    def _upright_planes(
        self, frame: VideoFrame, window: tuple[int, int, int, int], size: tuple[int, int]
    ) -> tuple[Plane, Plane, Plane]:
        y, u, v = _cut_planes(frame, window)
        half = size[0] // 2, size[1] // 2
        return self._upright(y, size), self._upright(u, half), self._upright(v, half)

    def _upright(self, plane: Plane, size: tuple[int, int]) -> Plane:
        turned = np.ascontiguousarray(np.rot90(plane, -self._quarter_turns)) if self._quarter_turns else plane
        if turned.shape != size[::-1]:
            turned = np.asarray(cv2.resize(turned, size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
        return turned


def _coded_window(facts: VideoFacts, displayed: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """The even-aligned window of the decoded picture that a window of the displayed picture shows."""
    left, top, right, bottom = displayed
    width, height = facts.width // 2 * 2, facts.height // 2 * 2
    # Undo the clockwise rotation.
    if facts.rotation == 90:
        left, top, right, bottom = top, width - right, bottom, width - left
    elif facts.rotation == 180:
        left, top, right, bottom = width - right, height - bottom, width - left, height - top
    elif facts.rotation == 270:
        left, top, right, bottom = height - bottom, left, height - top, right
    across = facts.coded_width / (facts.height if facts.rotation in (90, 270) else facts.width)
    last = facts.coded_width // 2 * 2
    if across != 1:
        left = min(int(left * across) // 2 * 2, last - 2)
        right = max(left + 2, min(-int(-right * across // 2) * 2, last))
    return left, top, right, bottom


@dataclass(frozen=True)
class _Layout:
    """How pictures of a pixel format lie in memory: whether the chroma is halved `across` and `down` (1) or
    not (0), `bits` a sample, and whether U and V alternate in one plane."""

    across: int
    down: int
    bits: int
    interleaved: bool


@cache
def _layout(pixels: str) -> _Layout | None:
    """The layout of a pixel format, as FFmpeg names it, that can be cut as it is; None of any other."""
    if pixels in _INTERLEAVED:
        return _Layout(1, 1, _INTERLEAVED[pixels], interleaved=True)
    planar = _PLANAR.fullmatch(pixels)
    return _Layout(*_CHROMA_SHIFTS[planar[1]], int(planar[2] or 8), interleaved=False) if planar else None


def _cut_planes(frame: VideoFrame, window: tuple[int, int, int, int]) -> tuple[Plane, Plane, Plane]:
    """The window of the frame as 8-bit 4:2:0 planes, values otherwise unchanged."""
    left, top, right, bottom = window
    half = (right - left) // 2, (bottom - top) // 2
    layout = _layout(frame.format.name)
    assert layout is not None, frame.format.name
    across, down, bits = layout.across, layout.down, layout.bits
    if layout.interleaved:
        both = _samples(frame, 1, bits)
        planes = [both[:, 0::2], both[:, 1::2]]
    else:
        planes = [_samples(frame, number, bits) for number in (1, 2)]
    y = _to_8_bits(_samples(frame, 0, bits)[top:bottom, left:right], bits)
    chroma: list[Plane] = []
    for samples in planes:
        cut = _to_8_bits(samples[top >> down : bottom >> down, left >> across : right >> across], bits)
        if (across, down) != (1, 1):
            cut = np.asarray(cv2.resize(cut, half, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        chroma.append(cut)
    return y, chroma[0], chroma[1]


def _samples(frame: VideoFrame, number: int, bits: int) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """A view (not a copy) of one plane of the decoder's picture."""
    plane = frame.planes[number]
    buffer = cast(Any, plane)  # implements the buffer protocol, which its type stub does not say
    if bits == 8:
        return np.frombuffer(buffer, np.uint8).reshape(-1, plane.line_size)
    return np.frombuffer(buffer, np.dtype("<u2")).reshape(-1, plane.line_size // 2)


def _to_8_bits(samples: NDArray[np.uint8] | NDArray[np.uint16], bits: int) -> Plane:
    """A contiguous 8-bit copy."""
    if bits == 8:
        return samples.astype(np.uint8)
    rounded = (samples.astype(np.uint32) + (1 << (bits - 9))) >> (bits - 8)
    return np.minimum(rounded, 255).astype(np.uint8)
