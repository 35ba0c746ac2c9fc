"""Captions at one place of the picture or at two: each is looked at by itself, then what both show is joined.

Seen as one picture, a line that stays at one place would pass for the whole caption staying.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

from gpu_ops.extents.decode import State
from gpu_ops.extents.labels import DIFFERENT, EMPTY_EMPTY, EMPTY_VALID, SAME, VALID_EMPTY
from gpu_ops.extents.model import PairModel, Probabilities
from gpu_ops.extents.predict import (
    BATCH,
    ExtentPredictor,
    LumaFrame,
    Prediction,
    counted_labels,
)
from gpu_ops.extents.timing import TimedExtent

# Whether a frame of the pair shows a caption, by label: (the first, the second).
_SHOWING = {
    SAME: (True, True),
    DIFFERENT: (True, True),
    EMPTY_EMPTY: (False, False),
    EMPTY_VALID: (False, True),
    VALID_EMPTY: (True, False),
}


class PlacesPredictor:
    """ExtentPredictor for strips that lie one upon another in each frame.

    Args:
        heights: of the strips in pixels, from the top; one or two.
        model, batch: as of ExtentPredictor.
    """

    def __init__(self, model: PairModel, heights: Sequence[int], batch: int = BATCH) -> None:
        edges = np.cumsum([0, *heights])
        self._spans = [slice(top, bottom) for top, bottom in pairwise(edges)]
        self._predictors = [ExtentPredictor(model, batch) for _ in heights]

    def add(self, frame: LumaFrame) -> None:
        """Take the next frame. Raises ValueError if a grid index is missing or comes twice."""
        for span, predictor in zip(self._spans, self._predictors, strict=True):
            predictor.add(_Strip(frame.index, frame.time, frame.until, frame.y[span]))

    def finish(self) -> Prediction:
        """Decode everything seen. Where one of two places changes, so does the caption."""
        first, *others = [predictor.finish() for predictor in self._predictors]
        for other in others:
            first = joined(first, other)
        return first


@dataclass(frozen=True, eq=False)
class _Strip:
    """One strip of a frame, as ExtentPredictor asks for it."""

    index: int | None
    time: float
    until: float
    y: NDArray[np.uint8]


def joined(first: Prediction, second: Prediction) -> Prediction:
    """What two places of one film show together."""
    forward = joined_probabilities(first.forward, second.forward)
    return replace(
        first,
        forward=forward,
        backward=joined_probabilities(first.backward, second.backward),
        extents=joined_extents(first.extents, second.extents),
        rests=[*first.rests, *second.rests],
        label_counts=counted_labels(forward),
        cut_off_count=first.cut_off_count + second.cut_off_count,
    )


def joined_probabilities(first: Probabilities, second: Probabilities) -> Probabilities:
    """Label probabilities (N, 5) of pairs of frames, from those of two places, taken as independent."""
    both = np.zeros_like(first)
    for one, other in product(_SHOWING, repeat=2):
        both[:, _joined_label(one, other)] += first[:, one] * second[:, other]
    return both


def _joined_label(one: int, other: int) -> int:
    before, after = (a or b for a, b in zip(_SHOWING[one], _SHOWING[other], strict=True))
    if before and after:
        return SAME if {one, other} <= {SAME, EMPTY_EMPTY} else DIFFERENT
    return VALID_EMPTY if before else EMPTY_VALID if after else EMPTY_EMPTY


def joined_extents(first: Sequence[TimedExtent], second: Sequence[TimedExtent]) -> list[TimedExtent]:
    """A new extent wherever one of two partitions of the same grid has one.

    What appears, goes or changes at both places within one grid frame does so at once.
    """
    starts = sorted({extent.start_frame_index for extent in (*first, *second)})
    showing = [(_at(first, start), _at(second, start)) for start in starts]
    extents: list[TimedExtent] = []
    sliver: TimedExtent | None = None
    for start, both in zip(starts, showing, strict=True):
        extent = _shared(start, both)
        if sliver is not None and extent.state == "predicted":
            extent = replace(extent, start_frame_index=start - 1, start_s=sliver.start_s)
        elif sliver is not None:
            # There is one before it, for both places begin with frame 0; and so with the last frame.
            extents[-1] = replace(extents[-1], end_frame_index=start - 1, end_s=sliver.end_s)
        sliver = extent if _is_sliver(extent, both) else None
        if sliver is None:
            extents.append(extent)
    return [
        replace(extent, end_s=max(extent.start_s, min(extent.end_s, following.start_s)))
        for extent, following in pairwise(extents)
    ] + extents[-1:]


def _at(extents: Sequence[TimedExtent], index: int) -> TimedExtent:
    return extents[bisect_right(extents, index, key=lambda extent: extent.start_frame_index) - 1]


def _shared(start: int, both: tuple[TimedExtent, TimedExtent]) -> TimedExtent:
    """What two extents that are on at `start` show until the first of them ends."""
    end = min(extent.end_frame_index for extent in both)
    captions = [extent for extent in both if extent.state == "predicted"]
    state: State = "predicted" if captions else both[0].state if both[0].state != "gap" else both[1].state
    begins = sorted(extent.start_s for extent in both if extent.start_frame_index == start)
    ends = sorted(extent.end_s for extent in both if extent.end_frame_index == end)
    # A caption is there while either place shows one, a gap while neither does.
    start_s, end_s = (begins[0], ends[-1]) if captions else (begins[-1], ends[0])
    return TimedExtent(start, end, state, min(e.confidence for e in captions or both), start_s, end_s)


def _is_sliver(extent: TimedExtent, both: tuple[TimedExtent, TimedExtent]) -> bool:
    """Whether only one grid frame lies between the change at one place and the change at the other."""
    one_frame = extent.start_frame_index == extent.end_frame_index
    lasting = all(part.start_frame_index < part.end_frame_index for part in both)
    return one_frame and lasting and extent.state == "predicted"
