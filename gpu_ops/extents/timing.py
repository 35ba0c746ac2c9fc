"""Extents with their times: from the native frames at a change, or from how a caption fades."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gpu_ops.contract import GRID_HZ
from gpu_ops.extents.decode import Extent
from gpu_ops.extents.fades import FadedEnds
from gpu_ops.extents.labels import DIFFERENT
from gpu_ops.extents.refine import Change


@dataclass(frozen=True)
class TimedExtent(Extent):
    """An extent with its times in seconds: `end_s` is exclusive, the first moment that no longer shows it.
    Source frame times where all native frames were seen; where one was not, the middle of what it leaves
    open."""

    start_s: float
    end_s: float


def timed(
    extents: Sequence[Extent], steps: NDArray[np.int8], changes: Mapping[int, Change]
) -> list[TimedExtent]:
    """The extents with the times of the changes between them.

    Args:
        steps: labels of the steps that the extents were cut by.
        changes: by pair of frames.
    """
    result: list[TimedExtent] = []
    for extent in extents:
        start_s, end_s = extent.start_frame_index / GRID_HZ, (extent.end_frame_index + 1) / GRID_HZ
        before, after = extent.start_frame_index - 1, extent.end_frame_index
        if before in changes:
            change = changes[before]
            start_s = change.entered if steps[before] == DIFFERENT else change.at
        if after in changes:
            change = changes[after]
            end_s = change.left if steps[after] == DIFFERENT else change.at
        result.append(
            TimedExtent(
                extent.start_frame_index,
                extent.end_frame_index,
                extent.state,
                extent.confidence,
                start_s,
                max(start_s, end_s),
            )
        )
    return result


def with_faded_ends(
    extents: Sequence[TimedExtent], faded: Mapping[tuple[int, int], FadedEnds]
) -> list[TimedExtent]:
    """The extents, captions beginning and ending when they were seen to, and gaps filling what is left.

    Args:
        extents: partition the grid.
        faded: ends by first and last frame.
    """
    shown: list[tuple[TimedExtent, FadedEnds]] = []
    for extent in extents:
        if extent.state == "gap":
            continue
        ends = faded.get((extent.start_frame_index, extent.end_frame_index), FadedEnds())
        following = _moved(extent, ends)
        while shown and following.start_frame_index <= shown[-1][0].end_frame_index:
            left, before = shown.pop()
            left, following = _parted(left, before.left is not None, following, ends.entered is not None)
            # One that another was seen to cover was none.
            if left.start_frame_index <= left.end_frame_index:
                shown.append((left, before))
        if following.start_frame_index <= following.end_frame_index:
            shown.append((following, ends))
    return _with_gaps([extent for extent, _ in shown], extents)


def _moved(extent: TimedExtent, ends: FadedEnds) -> TimedExtent:
    start_s = extent.start_s if ends.entered is None else ends.entered
    end_s = extent.end_s if ends.left is None else ends.left
    start, end = extent.start_frame_index, extent.end_frame_index
    if ends.entered is not None:
        start = _first_frame_from(start_s)
    if ends.left is not None:
        end = _first_frame_from(end_s) - 1
    if start > end:
        return extent
    return replace(extent, start_frame_index=start, end_frame_index=end, start_s=start_s, end_s=end_s)


def _first_frame_from(time: float) -> int:
    return max(0, math.ceil(time * GRID_HZ - 1e-6))


def _parted(
    left: TimedExtent, left_seen: bool, right: TimedExtent, right_seen: bool
) -> tuple[TimedExtent, TimedExtent]:
    """Two captions that overlap: the one whose end was seen keeps it, else each goes on until half-way."""
    border = (left.end_frame_index + right.start_frame_index + 1) // 2
    border_s = (left.end_s + right.start_s) / 2
    if left_seen and not right_seen:
        border, border_s = left.end_frame_index + 1, left.end_s
    if right_seen and not left_seen:
        border, border_s = right.start_frame_index, right.start_s
    return (
        replace(left, end_frame_index=border - 1, end_s=min(left.end_s, border_s)),
        replace(right, start_frame_index=border, start_s=max(right.start_s, border_s)),
    )


def _with_gaps(shown: Sequence[TimedExtent], extents: Sequence[TimedExtent]) -> list[TimedExtent]:
    """A partition of the frames of `extents` into `shown` and gaps, which keep the confidence they had."""
    result: list[TimedExtent] = []
    first, since = 0, extents[0].start_s if extents else 0.0
    for extent in shown:
        if extent.start_frame_index > first:
            result.append(_gap(first, extent.start_frame_index - 1, since, extent.start_s, extents))
        start_s = max(since, extent.start_s)
        result.append(replace(extent, start_s=start_s, end_s=max(start_s, extent.end_s)))
        first, since = extent.end_frame_index + 1, result[-1].end_s
    if extents and first <= extents[-1].end_frame_index:
        result.append(_gap(first, extents[-1].end_frame_index, since, extents[-1].end_s, extents))
    return result


def _gap(first: int, last: int, start_s: float, end_s: float, extents: Sequence[TimedExtent]) -> TimedExtent:
    there = [e for e in extents if e.end_frame_index >= first and e.start_frame_index <= last]
    confidence = min(e.confidence for e in [e for e in there if e.state == "gap"] or there)
    return TimedExtent(first, last, "gap", confidence, start_s, max(start_s, end_s))
