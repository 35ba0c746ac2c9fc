"""The boxes OCR found as evidence: how long each stays, what else it might be, and what it is worth.

A logo keeps its text, a clock its place, a ticker runs into the frame's edge: such boxes are told from
captions here. Lengths are in frame heights, so that portrait and landscape are alike.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import TypeVar

from gpu_ops.layout.boxes import Anchor, Label
from gpu_ops.ocr.engine import OcrBox

ANCHORS: tuple[Anchor, ...] = ("center", "left", "right")

# A caption seldom stays longer; what keeps its text or its place beyond that is part of the picture.
_LONGEST_CAPTION = 10.0
_LEAST_CONFIDENCE = 0.5
_SMALLEST_HEIGHT = 0.012
_LARGEST_HEIGHT = 0.2
_TEXTS_IN_TURN = 3
_SAME_WIDTH = 0.6  # line heights
# A caption may count: a word and its number, in the middle of the foot, where clocks and scores do not stand.
_COUNTED_WORD = re.compile(r"[^\W\d_]{4,}")
_FOOT, _OFF_CENTRE = 0.6, 0.02
_CLOCK = re.compile(r"[\s:./,\-–|]*\d[\d\s:./,\-–|]*")
# No script is written so wide: in line heights a letter.
_WIDEST_LETTER = 2.0
_ANNOTATED_WEIGHT = 20.0

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class SeenFrame:
    """The boxes of one frame; `time` in seconds. `index` is None for a probe frame that is not stored."""

    time: float
    boxes: Sequence[OcrBox]
    index: int | None = None


@dataclass(frozen=True)
class Seen:
    """A box in frame heights, with what it is worth as evidence. `number`: the digits by which it may differ
    from other captions that count.
    """

    frame: int
    time: float
    text: str
    left: float
    top: float
    right: float
    bottom: float
    confidence: float
    label: Label | None = None
    weight: float = 1.0
    number: str = ""

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def edges(self) -> tuple[float, float, float, float]:
        return self.left, self.top, self.right, self.bottom

    @property
    def middle(self) -> float:
        return (self.top + self.bottom) / 2

    def at(self, anchor: Anchor) -> float:
        if anchor == "center":
            return (self.left + self.right) / 2
        return self.left if anchor == "left" else self.right


def as_seen(
    frames: Sequence[SeenFrame], aspect: float, labels: Mapping[tuple[int, int], Label]
) -> list[Seen]:
    return [
        Seen(
            number,
            frame.time,
            _plain(box, aspect),
            box.left * aspect,
            box.top,
            box.right * aspect,
            box.bottom,
            box.confidence,
            labels.get((frame.index, position)) if frame.index is not None else None,
            number=_number(box),
        )
        for number, frame in enumerate(frames)
        for position, box in enumerate(frame.boxes)
    ]


def _plain(box: OcrBox, aspect: float) -> str:
    """What tells one text from another; for an illegible one its width in line heights stands in.

    Of a script it does not know, an engine reads nothing, or only the marks between the words.
    """
    letters = "".join(char for char in box.text.casefold() if char.isalnum())
    lengths = aspect * box.width / max(box.height, 1e-6)
    if lengths > _WIDEST_LETTER * len(letters) and not _CLOCK.fullmatch(box.text):
        return f"?{round(10 * lengths)}"
    return letters or box.text


def _number(box: OcrBox) -> str:
    in_the_middle = abs(box.center_x - 0.5) < _OFF_CENTRE and box.center_y > _FOOT
    counts = in_the_middle and _COUNTED_WORD.search(box.text)
    return "".join(char for char in box.text if char.isdigit()) if counts else ""


def static_boxes(seen: Sequence[Seen], times: Sequence[float], aspect: float) -> set[int]:
    """ids of boxes that keep their text or their exact place for longer than a caption stays."""
    duration = max(times, default=0.0) - min(times, default=0.0)
    longest = min(_LONGEST_CAPTION, 0.7 * duration)
    result: set[int] = set()
    for box in seen:
        if box.label == "in" or id(box) in result:
            continue
        there = [
            other
            for other in seen
            if same_place(
                (box.left, box.top, box.right, box.bottom), (other.left, other.top, other.right, other.bottom)
            )
        ]
        alike = [other for other in there if same_text(box.text, other.text)]
        lasting_place = _lasts(there, times, longest, least=6, density=0.7) and not _in_turn(there, aspect)
        # Of illegible ones, different captions of equal width look alike.
        least, density = (6, 0.7) if box.text.startswith("?") else (3, 0.5)
        if len({other.number for other in alike if other.number}) >= _TEXTS_IN_TURN:
            continue
        if _lasts(alike, times, longest, least, density) or lasting_place:
            result.update(id(other) for other in there if other.label != "in")
    return result


def _in_turn(boxes: Sequence[Seen], aspect: float) -> bool:
    """Whether captions of equal length take turns in one place: several texts that have little in common.

    Not a ticker, whose line reaches from edge to edge, nor a clock, whose digits are all that changes.
    """
    if any(_touches_edge(box, aspect) for box in boxes):
        return False
    texts: list[str] = []
    for box in boxes:
        if any(char.isalpha() for char in box.text) and not any(
            same_text(box.text, other) for other in texts
        ):
            texts.append(box.text)
    return len(texts) >= _TEXTS_IN_TURN


def _touches_edge(box: Seen, aspect: float) -> bool:
    return box.left < 0.01 * aspect or box.right > 0.99 * aspect


def _lasts(boxes: Sequence[Seen], times: Sequence[float], longest: float, least: int, density: float) -> bool:
    first, last = min(box.time for box in boxes), max(box.time for box in boxes)
    looked = sum(first <= time <= last for time in times)
    seen_in = len({box.frame for box in boxes})
    return last - first > longest and seen_in >= least and seen_in >= density * looked


def same_place(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    tolerance = 0.3 * min(a[3] - a[1], b[3] - b[1])
    return all(abs(x - y) <= tolerance for x, y in zip(a, b, strict=True))


def same_text(a: str, b: str) -> bool:
    if a.startswith("?") and b.startswith("?"):
        return abs(float(a[1:]) - float(b[1:])) <= 2.5
    return a == b or (abs(len(a) - len(b)) <= 2 and SequenceMatcher(None, a, b).ratio() > 0.75)


def weighed(seen: Sequence[Seen], aspect: float) -> list[Seen]:
    """Boxes that may be captions, with what speaks against them in their weight."""
    frames: dict[int, int] = {}
    for box in seen:
        frames[box.frame] = frames.get(box.frame, 0) + 1
    rejected = [box for box in seen if box.label == "out"]
    result: list[Seen] = []
    for box in seen:
        if box.label in ("out", "clear"):
            continue
        if box.label == "in":
            result.append(replace(box, weight=_ANNOTATED_WEIGHT))
            continue
        plausible = _SMALLEST_HEIGHT <= box.height <= _LARGEST_HEIGHT and box.confidence >= _LEAST_CONFIDENCE
        if not plausible or any(_like(box, other) for other in rejected):
            continue
        weight = min(1.0, box.width / (2.5 * box.height))
        if frames[box.frame] > 5:  # credits, menus, newspapers
            weight *= (5 / frames[box.frame]) ** 2
        if _touches_edge(box, aspect):
            weight *= 0.2
        if _CLOCK.fullmatch(box.text):
            weight *= 0.05
        result.append(replace(box, weight=weight))
    return result


def _like(box: Seen, rejected: Seen) -> bool:
    """In the row of a box that an annotator called no caption, of its size and on its side."""
    if abs(box.middle - rejected.middle) > 0.5 * rejected.height:
        return False
    if not 0.7 < box.height / rejected.height < 1.43:
        return False
    return any(abs(box.at(anchor) - rejected.at(anchor)) < rejected.height for anchor in ANCHORS)


def evidence_of(boxes: Sequence[Seen]) -> float:
    """Sum of weights over different texts: a text seen ten times is one caption."""
    return sum(different_texts(boxes))


def different_texts(boxes: Sequence[Seen]) -> list[float]:
    """The weight of each different text, in order of time."""
    best: list[Seen] = []
    for box in sorted(boxes, key=lambda box: box.time):
        for number, known in enumerate(best[-4:], max(0, len(best) - 4)):
            alike = same_text(known.text, box.text) and known.number == box.number
            if alike and abs(known.width - box.width) < _SAME_WIDTH * box.height:
                best[number] = max(known, box, key=lambda either: either.weight)
                break
        else:
            best.append(box)
    return [box.weight for box in best]


def thinned(items: Sequence[_Item], most: int) -> list[_Item]:
    """At most `most` of the items, evenly spread."""
    step = max(1.0, len(items) / most)
    return [items[int(number * step)] for number in range(int(len(items) / step))]
