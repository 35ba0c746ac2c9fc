"""The row of the captions: boxes of one height, on one level, at one anchor, with many different texts.

Scene text keeps nothing of that. So every box proposes a row for each anchor, and the one with the most
different texts wins.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, pstdev

from gpu_ops.layout.boxes import Anchor
from gpu_ops.layout.evidence import (
    ANCHORS,
    Seen,
    evidence_of,
    same_place,
    same_text,
    thinned,
)

_LEAST_ON_A_SIDE = 2.5  # different texts
_SHARE_OF_A_SIDE = 0.2
_LEAST_ELSEWHERE, _SHARE_ELSEWHERE = 3.0, 0.1
_LINES_OF_A_CAPTION = 3


@dataclass(frozen=True)
class Row:
    """A row of boxes that share height, vertical position and anchor."""

    anchor: Anchor
    position: float
    members: list[Seen]
    score: float


def best_row(candidates: Sequence[Seen], aspect: float) -> Row | None:
    annotated = [box for box in candidates if box.label == "in"]
    seeds = annotated or thinned(sorted(candidates, key=lambda box: box.time), 300)
    rows = [row for seed in seeds for row in _rows_through(seed, candidates, aspect)]
    return max(rows, key=lambda row: row.score, default=None)


def _rows_through(seed: Seen, candidates: Sequence[Seen], aspect: float) -> list[Row]:
    """One row for each way to anchor it, scored by how many different texts it holds."""
    level = [
        box
        for box in candidates
        if abs(box.middle - seed.middle) < 0.5 * seed.height and 0.65 < box.height / seed.height < 1.55
    ]
    everything = evidence_of(level)
    rows: list[Row] = []
    for anchor in ANCHORS:
        near = [box for box in level if abs(box.at(anchor) - seed.at(anchor)) < seed.height]
        position = median(box.at(anchor) for box in near)
        members = [box for box in level if abs(box.at(anchor) - position) < 0.8 * seed.height]
        evidence = evidence_of(members)
        # How much of the row obeys this anchor: pieces of a ticker lie anywhere.
        consistency = evidence / everything if everything else 0.0
        spread = pstdev([box.at(anchor) for box in members]) / seed.height if len(members) > 1 else 0.3
        prior = _place_prior(anchor, position / aspect, seed.middle)
        rows.append(Row(anchor, position, members, evidence * consistency * prior / (0.5 + spread)))
    return rows


def _place_prior(anchor: Anchor, across: float, down: float) -> float:
    prior = 1.0 if down > 0.6 else 0.8 if down < 0.3 else 0.5
    if anchor == "center":
        return prior * (1.5 if abs(across - 0.5) < 0.04 else 0.6)
    return prior * 0.7


def is_convincing(row: Row, frame_count: int, aspect: float) -> bool:
    """Enough different texts for the number of frames seen; a single frame can only speak by its place.

    Writing in the scene falls into a row now and then, but seldom twice centred in the same one.
    """
    evidence = evidence_of(row.members)
    if any(box.label == "in" for box in row.members):
        return True
    if frame_count <= 4:
        centred = row.anchor == "center" and abs(row.position / aspect - 0.5) < 0.04
        return evidence >= 0.9 and centred and row.members[0].middle > 0.6
    if is_usual(row, aspect):
        return evidence >= max(1.7, min(3.0, 0.015 * frame_count))
    return evidence >= max(2.7, min(4.0, 0.06 * frame_count))


def is_usual(row: Row, aspect: float) -> bool:
    """Centred lines of one height that lie exactly in one row in the lower or upper third, as captions do."""
    height = median(box.height for box in row.members)
    centres = [box.at("center") - aspect / 2 for box in row.members]
    middles = [box.middle for box in row.members]
    return (
        row.anchor == "center"
        and abs(median(centres)) < 0.02 * aspect
        and pstdev(centres) < 0.25 * height
        and pstdev(middles) < 0.15 * height
        and not 1 / 3 < median(middles) < 0.6
    )


def on_the_other_side(row: Row, candidates: Sequence[Seen], aspect: float) -> Row | None:
    """The row's captions at another place across, where a caption stands on its speaker's side.

    They are of its height and on its level, hold a fair share of its texts, and nearly all that is left there
    obeys their anchor, which writing in the scene does not.
    """
    taken = {id(box) for box in row.members}
    height, middle = median(box.height for box in row.members), median(box.middle for box in row.members)
    left_over = [
        box
        for box in candidates
        if id(box) not in taken
        and abs(box.middle - middle) < 0.3 * height
        and 0.75 < box.height / height < 1.33
    ]
    other = best_row(left_over, aspect)
    if other is None:
        return None
    evidence = evidence_of(other.members)
    enough = max(_LEAST_ON_A_SIDE, _SHARE_OF_A_SIDE * evidence_of(row.members))
    return other if evidence >= enough and evidence >= 0.8 * evidence_of(left_over) else None


def elsewhere(row: Row, candidates: Sequence[Seen], top: float, bottom: float, aspect: float) -> Row | None:
    """Captions above `top` or below `bottom` (frame heights, down): a second place of the film for them.

    They look like captions by themselves, and there are not few beside those of `row`; or a person says so.
    """
    outside = [box for box in candidates if box.bottom <= top or box.top >= bottom]
    # Of credits and lists every line is a row.
    lines = Counter(box.frame for box in outside)
    other = best_row([box for box in outside if lines[box.frame] <= _LINES_OF_A_CAPTION], aspect)
    if other is None or any(box.label == "in" for box in other.members):
        return other
    if not is_usual(other, aspect):
        return None
    enough = max(_LEAST_ELSEWHERE, _SHARE_ELSEWHERE * evidence_of(row.members))
    return other if evidence_of(other.members) >= enough else None


def with_further_lines(row: Row, candidates: Sequence[Seen]) -> list[Seen]:
    """The row's boxes and those of neighbouring lines: two-line and bilingual captions."""
    members = list(row.members)
    unit = median(box.height for box in members)
    enough = max(1 + (len({box.text for box in members}) > 6), 0.08 * len({box.text for box in members}))
    while True:
        top, bottom = min(box.top for box in members), max(box.bottom for box in members)
        if bottom - top > 6 * unit:
            return members
        taken = {id(box) for box in members}
        beside = [
            box
            for box in candidates
            if id(box) not in taken
            and abs(box.at(row.anchor) - row.position) < 0.9 * unit
            and 0.4 < box.height / unit < 2.2
            and max(top - box.bottom, box.top - bottom) < 0.9 * unit
            and box.weight > 0.25
        ]
        lines = _of_one_size(_changing(_accompanied(beside, members), row.members))
        if len({box.text for box in lines}) < enough or 2 * len(lines) < len(beside):
            return members
        members += lines


def _accompanied(boxes: Sequence[Seen], members: Sequence[Seen]) -> list[Seen]:
    """Those in whose frame another caption line stands; scene text mostly stands alone."""
    lines = Counter(box.frame for box in (*boxes, *members))
    return [box for box in boxes if lines[box.frame] > 1]


def _changing(boxes: Sequence[Seen], line: Sequence[Seen]) -> list[Seen]:
    """Those that go when the caption `line` goes; what stays under the next one is part of the picture."""

    def stays(box: Seen) -> bool:
        frames = {
            other.frame
            for other in boxes
            if same_text(box.text, other.text) and same_place(box.edges, other.edges)
        }
        first, *further = [caption.text for caption in line if caption.frame in frames] or [""]
        return any(not same_text(first, text) for text in further)

    return [box for box in boxes if not stays(box)]


def _of_one_size(boxes: Sequence[Seen]) -> list[Seen]:
    if not boxes:
        return []
    usual = median(box.height for box in boxes)
    return [box for box in boxes if 0.75 < box.height / usual < 1.33]
