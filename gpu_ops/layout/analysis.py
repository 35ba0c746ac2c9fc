"""Which of the boxes OCR found are captions, and where to crop.

A caption line keeps its height, its row and its anchor (centre, left or right edge) over the whole video
while its text and width change. A logo keeps its text, a clock its place, a ticker runs into the frame's
edge, scene text keeps nothing. So every box votes for a row and an anchor, the row with the most different
texts wins, and the boxes that fit it are captions. Lengths are in frame heights throughout, so that portrait
and landscape are alike.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from difflib import SequenceMatcher
from statistics import median, pstdev

from gpu_ops.contract import CropRegion
from gpu_ops.layout.boxes import Anchor, FrameBox, Label, Layout, PredictedLabel
from gpu_ops.layout.database import BoxModel
from gpu_ops.ocr.engine import OcrBox

MODEL_VERSION = "caption-row-1"

# A caption seldom stays longer; what keeps its text or its place beyond that is part of the picture.
_LONGEST_CAPTION = 10.0
_LEAST_CONFIDENCE = 0.5
_SMALLEST_HEIGHT = 0.012
_LARGEST_HEIGHT = 0.2
_PROBED_FRAMES = 24
_CLOSEST_PROBES = 0.5
_TEXTS_IN_TURN = 3
_MOST_FRAMES = 240
_CLOCK = re.compile(r"[\d\s:./,\-–|]+")
_ANCHORS: tuple[Anchor, ...] = ("center", "left", "right")
_ANNOTATED_WEIGHT = 20.0


@dataclass(frozen=True)
class SeenFrame:
    """The boxes of one frame; `time` in seconds. `index` is None for a probe frame that is not stored."""

    time: float
    boxes: Sequence[OcrBox]
    index: int | None = None


@dataclass(frozen=True)
class CaptionRowModel:
    """What a caption line of this video looks like; lengths in frame heights, y down, x from the left edge.

    Lines lie between `top` and `bottom`; `static` lists places (left, top, right, bottom) of lasting
    pictures.
    """

    anchor: Anchor
    position: float
    top: float
    bottom: float
    height: float
    least_height: float
    most_height: float
    aspect: float
    static: tuple[tuple[float, float, float, float], ...] = ()

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self), separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> CaptionRowModel:
        fields = json.loads(data)
        return cls(**fields | {"static": tuple(tuple(place) for place in fields["static"])})


@dataclass(frozen=True)
class Analysis:
    """A layout with its boxes labelled, and the model that labelled them (None without captions)."""

    layout: Layout
    boxes: list[FrameBox]
    model: BoxModel | None

    @property
    def caption_box_count(self) -> int:
        return sum(box.predicted_label == "in" for box in self.boxes)


@dataclass(frozen=True)
class _Seen:
    """A box in frame heights, with what it is worth as evidence."""

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


@dataclass(frozen=True)
class _Row:
    """A row of boxes that share height, vertical position and anchor."""

    anchor: Anchor
    position: float
    members: list[_Seen]
    score: float


def suggest_probe_times(duration: float, taken: Sequence[float]) -> list[float]:
    """Further times (seconds) to look at so that a short video is seen at 24 moments, at least 0.5 s apart.

    `taken` are the times of the stored full frames. Empty for videos that have enough of those.
    """
    wanted = min(_PROBED_FRAMES, int(duration / _CLOSEST_PROBES))
    if len(taken) >= wanted:
        return []
    step = duration / wanted
    evenly = [(number + 0.5) * step for number in range(wanted)]
    return [time for time in evenly if all(abs(time - other) >= step / 2 for other in taken)]


def analyse_boxes(
    frames: Sequence[SeenFrame],
    *,
    width: int,
    height: int,
    labels: Mapping[tuple[int, int], Label] | None = None,
) -> Analysis:
    """Find the caption row of a video of `width` x `height` displayed pixels.

    `labels` are annotators' labels by (frame index, box index): `in` and `out` steer the search, `clear`
    boxes are ignored. Without captions the layout's region is None and every box is predicted `out`.
    """
    aspect = width / height
    evidence = _evenly(frames, labels or {})
    seen = _as_seen(evidence, aspect, labels or {})
    static = _static(seen, [frame.time for frame in evidence], aspect)
    candidates = _weighed([box for box in seen if id(box) not in static], aspect)
    row = _best_row(candidates, aspect)
    if row is None or not _convincing(row, len(evidence), aspect):
        boxes = [
            replace(box, predicted_label="out", predicted_confidence=0.9) for box in _stored(frames, labels)
        ]
        return Analysis(Layout(), boxes, None)
    members = _with_further_lines(row, candidates)
    model = _model(row, members, [box for box in seen if id(box) in static], aspect)
    boxes = [_predicted(model, box) for box in _stored(frames, labels)]
    return Analysis(_layout(row, members, aspect), boxes, BoxModel(model.to_bytes(), MODEL_VERSION))


def classify(model: CaptionRowModel, box: OcrBox) -> tuple[PredictedLabel, float]:
    """Whether a box is a caption line of this video, and how sure that is (0.5-1)."""
    left, right = box.left * model.aspect, box.right * model.aspect
    at: Mapping[Anchor, float] = {"center": (left + right) / 2, "left": left, "right": right}
    deviation = abs(at[model.anchor] - model.position) / model.height
    covered = min(box.bottom, model.bottom) - max(box.top, model.top)
    outside = 1 - max(0.0, covered) / max(box.height, 1e-6)
    below = max(0.0, math.log(model.least_height / max(box.height, 1e-6)))
    above = max(0.0, math.log(max(box.height, 1e-6) / model.most_height))
    place = (left, box.top, right, box.bottom)
    static = any(_same_place(place, other) for other in model.static)
    evidence = 3.5 - 8 * outside - 3 * max(0.0, deviation - 0.7) - 8 * max(below, above) - 9 * static
    chance = 1 / (1 + math.exp(-max(-30.0, min(30.0, evidence))))
    return ("in", chance) if chance > 0.5 else ("out", 1 - chance)


def _evenly(frames: Sequence[SeenFrame], labels: Mapping[tuple[int, int], Label]) -> list[SeenFrame]:
    """Enough frames to decide by, in order of time, all that hold labels among them."""
    step = max(1.0, len(frames) / _MOST_FRAMES)
    chosen = {int(number * step) for number in range(math.ceil(len(frames) / step))}
    labelled = {index for index, _ in labels}
    kept = [frame for number, frame in enumerate(frames) if number in chosen or frame.index in labelled]
    return sorted(kept, key=lambda frame: frame.time)


def _stored(frames: Sequence[SeenFrame], labels: Mapping[tuple[int, int], Label] | None) -> list[FrameBox]:
    return [
        FrameBox(frame.index, number, box, label=(labels or {}).get((frame.index, number)))
        for frame in frames
        if frame.index is not None
        for number, box in enumerate(frame.boxes)
    ]


def _predicted(model: CaptionRowModel, box: FrameBox) -> FrameBox:
    label, confidence = classify(model, box.box)
    return replace(box, predicted_label=label, predicted_confidence=round(confidence, 4))


def _as_seen(
    frames: Sequence[SeenFrame], aspect: float, labels: Mapping[tuple[int, int], Label]
) -> list[_Seen]:
    return [
        _Seen(
            number,
            frame.time,
            _plain(box),
            box.left * aspect,
            box.top,
            box.right * aspect,
            box.bottom,
            box.confidence,
            labels.get((frame.index, position)) if frame.index is not None else None,
        )
        for number, frame in enumerate(frames)
        for position, box in enumerate(frame.boxes)
    ]


def _plain(box: OcrBox) -> str:
    """What tells one text from another; for an illegible one its width in line heights stands in."""
    letters = "".join(char for char in box.text.casefold() if char.isalnum())
    if not letters and not _CLOCK.fullmatch(box.text):
        return f"?{round(3 * box.width / max(box.height, 1e-6))}"
    return letters or box.text


def _static(seen: Sequence[_Seen], times: Sequence[float], aspect: float) -> set[int]:
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
            if _same_place(
                (box.left, box.top, box.right, box.bottom), (other.left, other.top, other.right, other.bottom)
            )
        ]
        alike = [other for other in there if _same_text(box.text, other.text)]
        lasting_place = _lasts(there, times, longest, least=6, density=0.7) and not _in_turn(there, aspect)
        if _lasts(alike, times, longest, least=3, density=0.5) or lasting_place:
            result.update(id(other) for other in there if other.label != "in")
    return result


def _in_turn(boxes: Sequence[_Seen], aspect: float) -> bool:
    """Whether captions of equal length take turns in one place: several texts that have little in common.

    Not a ticker, whose line reaches from edge to edge, nor a clock, whose digits are all that changes.
    """
    if any(_touches_edge(box, aspect) for box in boxes):
        return False
    texts: list[str] = []
    for box in boxes:
        if any(char.isalpha() for char in box.text) and not any(
            _same_text(box.text, other) for other in texts
        ):
            texts.append(box.text)
    return len(texts) >= _TEXTS_IN_TURN


def _touches_edge(box: _Seen, aspect: float) -> bool:
    return box.left < 0.01 * aspect or box.right > 0.99 * aspect


def _lasts(
    boxes: Sequence[_Seen], times: Sequence[float], longest: float, least: int, density: float
) -> bool:
    first, last = min(box.time for box in boxes), max(box.time for box in boxes)
    looked = sum(first <= time <= last for time in times)
    seen_in = len({box.frame for box in boxes})
    return last - first > longest and seen_in >= least and seen_in >= density * looked


def _same_place(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    tolerance = 0.3 * min(a[3] - a[1], b[3] - b[1])
    return all(abs(x - y) <= tolerance for x, y in zip(a, b, strict=True))


def _same_text(a: str, b: str) -> bool:
    return a == b or (abs(len(a) - len(b)) <= 2 and SequenceMatcher(None, a, b).ratio() > 0.75)


def _weighed(seen: Sequence[_Seen], aspect: float) -> list[_Seen]:
    """Boxes that may be captions, with what speaks against them in their weight."""
    frames: dict[int, int] = {}
    for box in seen:
        frames[box.frame] = frames.get(box.frame, 0) + 1
    rejected = [box for box in seen if box.label == "out"]
    result: list[_Seen] = []
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


def _like(box: _Seen, rejected: _Seen) -> bool:
    """In the row of a box that an annotator called no caption, of its size and on its side."""
    if abs(box.middle - rejected.middle) > 0.5 * rejected.height:
        return False
    if not 0.7 < box.height / rejected.height < 1.43:
        return False
    return any(abs(box.at(anchor) - rejected.at(anchor)) < rejected.height for anchor in _ANCHORS)


def _best_row(candidates: Sequence[_Seen], aspect: float) -> _Row | None:
    annotated = [box for box in candidates if box.label == "in"]
    seeds = annotated or _spread(sorted(candidates, key=lambda box: box.time), 300)
    rows = [row for seed in seeds for row in _rows_through(seed, candidates, aspect)]
    return max(rows, key=lambda row: row.score, default=None)


def _spread(boxes: Sequence[_Seen], most: int) -> list[_Seen]:
    step = max(1.0, len(boxes) / most)
    return [boxes[int(number * step)] for number in range(int(len(boxes) / step))]


def _rows_through(seed: _Seen, candidates: Sequence[_Seen], aspect: float) -> list[_Row]:
    """One row for each way to anchor it, scored by how many different texts it holds."""
    level = [
        box
        for box in candidates
        if abs(box.middle - seed.middle) < 0.5 * seed.height and 0.65 < box.height / seed.height < 1.55
    ]
    everything = _evidence(level)
    rows: list[_Row] = []
    for anchor in _ANCHORS:
        near = [box for box in level if abs(box.at(anchor) - seed.at(anchor)) < seed.height]
        position = median(box.at(anchor) for box in near)
        members = [box for box in level if abs(box.at(anchor) - position) < 0.8 * seed.height]
        evidence = _evidence(members)
        # How much of the row obeys this anchor: pieces of a ticker lie anywhere.
        consistency = evidence / everything if everything else 0.0
        spread = pstdev([box.at(anchor) for box in members]) / seed.height if len(members) > 1 else 0.3
        prior = _place_prior(anchor, position / aspect, seed.middle)
        rows.append(_Row(anchor, position, members, evidence * consistency * prior / (0.5 + spread)))
    return rows


def _place_prior(anchor: Anchor, across: float, down: float) -> float:
    prior = 1.0 if down > 0.6 else 0.8 if down < 0.3 else 0.5
    if anchor == "center":
        return prior * (1.5 if abs(across - 0.5) < 0.04 else 0.6)
    return prior * 0.7


def _evidence(boxes: Sequence[_Seen]) -> float:
    """Sum of weights over different texts: a text seen ten times is one caption."""
    best: list[tuple[str, float]] = []
    for box in sorted(boxes, key=lambda box: box.time):
        for number, (text, weight) in enumerate(best[-4:], max(0, len(best) - 4)):
            if _same_text(text, box.text):
                best[number] = (text, max(weight, box.weight))
                break
        else:
            best.append((box.text, box.weight))
    return sum(weight for _, weight in best)


def _convincing(row: _Row, frame_count: int, aspect: float) -> bool:
    """Enough different texts for the number of frames seen; a single frame can only speak by its place."""
    evidence = _evidence(row.members)
    if any(box.label == "in" for box in row.members):
        return True
    if frame_count <= 4:
        centred = row.anchor == "center" and abs(row.position / aspect - 0.5) < 0.04
        return evidence >= 0.9 and centred and row.members[0].middle > 0.6
    return evidence >= max(1.8, min(4.0, 0.06 * frame_count))


def _with_further_lines(row: _Row, candidates: Sequence[_Seen]) -> list[_Seen]:
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
        lines = _of_one_size(_accompanied(beside, members))
        if len({box.text for box in lines}) < enough or 2 * len(lines) < len(beside):
            return members
        members += lines


def _accompanied(boxes: Sequence[_Seen], members: Sequence[_Seen]) -> list[_Seen]:
    """Those in whose frame another caption line stands; scene text mostly stands alone."""
    frames = [box.frame for box in (*boxes, *members)]
    return [box for box in boxes if frames.count(box.frame) > 1]


def _of_one_size(boxes: Sequence[_Seen]) -> list[_Seen]:
    if not boxes:
        return []
    usual = median(box.height for box in boxes)
    return [box for box in boxes if 0.75 < box.height / usual < 1.33]


def _model(row: _Row, members: Sequence[_Seen], static: Sequence[_Seen], aspect: float) -> CaptionRowModel:
    heights = sorted(box.height for box in members)
    places: list[tuple[float, float, float, float]] = []
    for box in static:
        place = (round(box.left, 4), round(box.top, 4), round(box.right, 4), round(box.bottom, 4))
        if not any(_same_place(place, other) for other in places):
            places.append(place)
    return CaptionRowModel(
        anchor=row.anchor,
        position=row.position,
        top=min(box.top for box in members) - 0.15 * heights[0],
        bottom=max(box.bottom for box in members) + 0.15 * heights[0],
        height=median(heights),
        least_height=0.75 * heights[0],
        most_height=1.35 * heights[-1],
        aspect=aspect,
        static=tuple(places),
    )


def _layout(row: _Row, members: Sequence[_Seen], aspect: float) -> Layout:
    height = median(box.height for box in members)
    line = row.members
    selection = CropRegion(
        _fraction(min(box.left for box in members) / aspect),
        _fraction(min(box.top for box in members)),
        _fraction(max(box.right for box in members) / aspect),
        _fraction(max(box.bottom for box in members)),
    )
    slope, intercept = _scatter(line, row)
    return Layout(
        region=_region(row, members, height, aspect),
        selection=selection,
        anchor=row.anchor,
        anchor_position=round(_fraction(row.position / aspect), 5),
        vertical_center=round(median(box.middle for box in line), 5),
        vertical_std=round(pstdev([box.middle for box in line]), 5),
        box_height=round(median(box.height for box in line), 5),
        box_height_std=round(pstdev([box.height for box in line]), 5),
        top_edge_std=round(pstdev([box.top for box in line]), 5),
        bottom_edge_std=round(pstdev([box.bottom for box in line]), 5),
        horizontal_std_slope=round(slope, 5),
        horizontal_std_intercept=round(intercept / aspect, 5),
    )


def _region(row: _Row, members: Sequence[_Seen], height: float, aspect: float) -> CropRegion:
    """Room for longer captions, the more the fewer were seen, and 0.4 lines above and below."""
    texts = len({box.text for box in members})
    longer = 1.08 + 1.2 / (texts + 1)
    reach_left = max(row.position - box.left for box in members)
    reach_right = max(box.right - row.position for box in members)
    if row.anchor == "center":
        reach_left = reach_right = max(reach_left, reach_right)
    left = row.position - reach_left * longer - 0.6 * height
    right = row.position + reach_right * longer + 0.6 * height
    top = min(box.top for box in members) - 0.4 * height
    bottom = max(box.bottom for box in members) + 0.4 * height
    edges = (left / aspect, top, right / aspect, bottom)
    return CropRegion(*(round(_fraction(edge), 5) for edge in edges))


def _scatter(line: Sequence[_Seen], row: _Row) -> tuple[float, float]:
    """Least-squares line of the anchor's deviation over width: slope, intercept in frame heights."""
    widths = [box.width for box in line]
    deviations = [abs(box.at(row.anchor) - row.position) for box in line]
    mean_width, mean_deviation = sum(widths) / len(line), sum(deviations) / len(line)
    variance = sum((width - mean_width) ** 2 for width in widths)
    if variance == 0:
        return 0.0, mean_deviation
    slope = (
        sum(
            (width - mean_width) * (deviation - mean_deviation)
            for width, deviation in zip(widths, deviations, strict=True)
        )
        / variance
    )
    return slope, mean_deviation - slope * mean_width


def _fraction(value: float) -> float:
    return min(1.0, max(0.0, value))
