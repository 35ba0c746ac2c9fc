"""Writing that lies over the picture from beginning to end, such as a station's name.

Where it stands in the captions' row, OCR takes it for a part of them and the pair model for a caption that
never ends. It is told here from a sign in the scene, which captions are written over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from statistics import median

from gpu_ops.layout.evidence import Seen, same_place

_LEAST_SHARE = 0.5  # of the frames looked at
_LEAST_SPAN = 0.8  # of their time
_MOST_WRITTEN_OVER = 0.1  # of the frames that show it
_WIDEST = 0.4  # of the frame: tickers are wider
_READS_ALIKE = 0.6
_INSIDE = 0.5  # line heights


@dataclass(frozen=True)
class Watermark:
    """A lasting text and where it stands, in frame heights, y down."""

    text: str
    left: float
    top: float
    right: float
    bottom: float

    @property
    def height(self) -> float:
        return self.bottom - self.top


def watermarks(
    seen: Sequence[Seen], static: Collection[int], times: Sequence[float], aspect: float
) -> list[Watermark]:
    """The watermarks among the boxes whose ids are in `static`; `times` are those of all frames."""
    groups: list[list[Seen]] = []
    for box in (box for box in seen if id(box) in static):
        group = next((group for group in groups if same_place(group[0].edges, box.edges)), None)
        if group is None:
            groups.append([box])
        else:
            group.append(box)
    marks = [_mark(group) for group in groups]
    others = [box for box in seen if id(box) not in static]
    return [
        mark
        for mark, group in zip(marks, groups, strict=True)
        if mark.right - mark.left < _WIDEST * aspect and _lies_on_top(mark, group, others, times)
    ]


def without(box: Seen, marks: Sequence[Watermark]) -> Seen | None:
    """The box without a watermark that it runs into, None where nothing else is in it."""
    for mark in marks:
        if not _holds(box, mark) or not _reads(box, mark):
            continue
        length = len(mark.text)
        if mark.left + mark.right > box.left + box.right:
            box = replace(box, right=mark.left, text=box.text[:-length])
        else:
            box = replace(box, left=mark.right, text=box.text[length:])
        if box.width < box.height / 2 or not box.text:
            return None
    return box


def _mark(group: Sequence[Seen]) -> Watermark:
    ((text, _),) = Counter(box.text for box in group).most_common(1)
    left, top, right, bottom = (median(edge) for edge in zip(*(box.edges for box in group), strict=True))
    return Watermark(text, left, top, right, bottom)


def _lies_on_top(
    mark: Watermark, alone: Sequence[Seen], others: Sequence[Seen], times: Sequence[float]
) -> bool:
    over = [box for box in others if _holds(box, mark)]
    shown = [*alone, *(box for box in over if _reads(box, mark))]
    frames, moments = {box.frame for box in shown}, [box.time for box in shown]
    written_over = {box.frame for box in over} - frames
    return (
        len(frames) >= _LEAST_SHARE * len(times)
        and max(moments) - min(moments) >= _LEAST_SPAN * (max(times) - min(times))
        and len(written_over) <= _MOST_WRITTEN_OVER * len(frames)
    )


def _holds(box: Seen, mark: Watermark) -> bool:
    """Whether the mark's place lies inside the box."""
    shared = min(box.bottom, mark.bottom) - max(box.top, mark.top)
    spare = _INSIDE * mark.height
    return shared > 0.5 * mark.height and box.left <= mark.left + spare and box.right >= mark.right - spare


def _reads(box: Seen, mark: Watermark) -> bool:
    """Whether the box's text begins or ends about like the mark's."""
    length = len(mark.text)
    ends = box.text[:length], box.text[-length:]
    return any(SequenceMatcher(None, end, mark.text).ratio() >= _READS_ALIKE for end in ends)
