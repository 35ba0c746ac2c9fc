"""Which of the boxes OCR found are captions, and where to crop.

A caption line keeps its height, its row and its anchor (centre, left or right edge) over the whole video
while its text and width change. So the row with the most different texts is looked for among the boxes that
can be captions (`evidence.py`, `row.py`), and the boxes that fit it are captions. Lengths are in frame
heights throughout, so that portrait and landscape are alike.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from statistics import median, pstdev
from typing import Any

from gpu_ops.layout.boxes import Anchor, FrameBox, Label, Layout, PredictedLabel
from gpu_ops.layout.database import BoxModel
from gpu_ops.layout.evidence import (
    Seen,
    SeenFrame,
    as_seen,
    different_texts,
    same_place,
    static_boxes,
    thinned,
    weighed,
)
from gpu_ops.layout.row import (
    Row,
    best_row,
    elsewhere,
    is_convincing,
    on_the_other_side,
    with_further_lines,
)
from gpu_ops.layout.watermarks import Watermark, watermarks, without
from gpu_ops.ocr.engine import OcrBox
from gpu_ops.regions import CropRegion

MODEL_VERSION = "caption-row-1"

_PROBED_FRAMES = 24
_CLOSEST_PROBES = 0.5
_LEAST_LEFT = 0.25
# A box already holds its letters with some room, and all that is cropped is encoded and looked at.
_MARGIN = 0.25
_COVER = 0.2  # of a watermark's height: room around it that is covered too
_MOST_FRAMES = 240
# With fewer different captions seen, neither whether there are any nor how wide they get is sure.
_ENOUGH_TEXTS = 6
_MOST_FURTHER_LOOKS = 60


@dataclass(frozen=True)
class CaptionRowModel:
    """What a caption line of this video looks like; lengths in frame heights, y down, x from the left edge.

    Lines lie between `top` and `bottom`; `static` lists places (left, top, right, bottom) of lasting
    pictures; `sides` further anchors with their positions, where captions stand on their speaker's side;
    `elsewhere` is the row at a second place. `watermarks` are covered before anything is read.
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
    sides: tuple[tuple[Anchor, float], ...] = ()
    watermarks: tuple[Watermark, ...] = ()
    elsewhere: CaptionRowModel | None = None

    @property
    def covers(self) -> list[tuple[float, float, float, float]]:
        """Left, top, right, bottom of what hides the watermarks, in fractions of the frame."""
        return [
            (
                max(0.0, (mark.left - _COVER * mark.height) / self.aspect),
                max(0.0, mark.top - _COVER * mark.height),
                min(1.0, (mark.right + _COVER * mark.height) / self.aspect),
                min(1.0, mark.bottom + _COVER * mark.height),
            )
            for mark in self.watermarks
        ]

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self), separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> CaptionRowModel:
        return cls._from_fields(json.loads(data))

    @classmethod
    def _from_fields(cls, fields: Mapping[str, Any]) -> CaptionRowModel:
        restored = dict(fields)
        for name in ("static", "sides"):
            restored[name] = tuple(tuple(item) for item in fields.get(name, ()))
        restored["watermarks"] = tuple(Watermark(**mark) for mark in fields.get("watermarks", ()))
        if second := fields.get("elsewhere"):
            restored["elsewhere"] = cls._from_fields(second)
        return cls(**restored)


@dataclass(frozen=True)
class Analysis:
    """A layout with its boxes labelled, and the model that labelled them (None without captions).

    `texts` says how many different captions were seen.
    """

    layout: Layout
    boxes: list[FrameBox]
    model: BoxModel | None
    texts: int = 0

    @property
    def is_settled(self) -> bool:
        """Whether enough captions were seen to trust the layout; looking at further frames may help."""
        return self.texts >= _ENOUGH_TEXTS

    @property
    def caption_box_count(self) -> int:
        return sum(box.predicted_label == "in" for box in self.boxes)


@dataclass(frozen=True)
class _Block:
    """A row of captions, and all that stands in it: its own boxes and those of further lines."""

    row: Row
    members: list[Seen]


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


def further_look_times(seen: Sequence[float]) -> list[float]:
    """At most 60 times (seconds) half-way between those already `seen`, none within 0.5 s of them."""
    times = sorted(seen)
    middles = [(a + b) / 2 for a, b in pairwise(times) if b - a >= 2 * _CLOSEST_PROBES]
    return thinned(middles, _MOST_FURTHER_LOOKS)


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
    seen = as_seen(evidence, aspect, labels or {})
    times = [frame.time for frame in evidence]
    static = static_boxes(seen, times, aspect)
    marks = watermarks(seen, static, times, aspect)
    changing = (without(box, marks) for box in seen if id(box) not in static)
    candidates = weighed([box for box in changing if box is not None], aspect)
    row = best_row(candidates, aspect)
    if row is None or not is_convincing(row, len(evidence), aspect):
        boxes = [
            replace(box, predicted_label="out", predicted_confidence=0.9) for box in _stored(frames, labels)
        ]
        return Analysis(Layout(), boxes, None)
    other = on_the_other_side(row, candidates, aspect)
    blocks = [_Block(each, with_further_lines(each, candidates)) for each in (row, other) if each is not None]
    region = _around([_region(block, aspect) for block in blocks])
    second = elsewhere(row, candidates, region.top, region.bottom, aspect)
    lasting = [box for box in seen if id(box) in static]
    model = replace(_model(blocks, lasting, aspect), watermarks=tuple(marks))
    if second is not None:
        block = _Block(second, with_further_lines(second, candidates))
        model = replace(model, elsewhere=_model([block], lasting, aspect))
        region = CropRegion.around([region, _region(block, aspect)])
        blocks.append(block)
    boxes = [_predicted(model, box) for box in _stored(frames, labels)]
    texts = sum(len(different_texts(block.row.members)) for block in blocks)
    layout = _layout(blocks, region, aspect)
    return Analysis(layout, boxes, BoxModel(model.to_bytes(), MODEL_VERSION), texts)


def classify(model: CaptionRowModel, box: OcrBox) -> tuple[PredictedLabel, float]:
    """Whether a box is a caption line of this video, and how sure that is (0.5-1)."""
    rows = [model] if model.elsewhere is None else [model, model.elsewhere]
    rest = _unmarked(box, model)
    chance = max(_caption_chance(row, rest) for row in rows)
    return ("in", chance) if chance > 0.5 else ("out", 1 - chance)


def _unmarked(box: OcrBox, model: CaptionRowModel) -> OcrBox:
    (seen,) = as_seen([SeenFrame(0.0, [box])], model.aspect, {})
    rest = without(seen, model.watermarks)
    return (
        box if rest is None else replace(box, left=rest.left / model.aspect, right=rest.right / model.aspect)
    )


def _caption_chance(row: CaptionRowModel, box: OcrBox) -> float:
    left, right = box.left * row.aspect, box.right * row.aspect
    at: Mapping[Anchor, float] = {"center": (left + right) / 2, "left": left, "right": right}
    anchors: list[tuple[Anchor, float]] = [(row.anchor, row.position), *row.sides]
    deviation = min(abs(at[anchor] - position) for anchor, position in anchors) / row.height
    covered = min(box.bottom, row.bottom) - max(box.top, row.top)
    outside = 1 - max(0.0, covered) / max(box.height, 1e-6)
    below = max(0.0, math.log(row.least_height / max(box.height, 1e-6)))
    above = max(0.0, math.log(max(box.height, 1e-6) / row.most_height))
    place = (left, box.top, right, box.bottom)
    static = any(same_place(place, other) for other in row.static)
    evidence = 3.5 - 8 * outside - 3 * max(0.0, deviation - 0.7) - 8 * max(below, above) - 9 * static
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, evidence))))


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


def _model(blocks: Sequence[_Block], static: Sequence[Seen], aspect: float) -> CaptionRowModel:
    row, *sides = [block.row for block in blocks]
    members = [box for block in blocks for box in block.members]
    heights = sorted(box.height for box in members)
    places: list[tuple[float, float, float, float]] = []
    for box in static:
        place = (round(box.left, 4), round(box.top, 4), round(box.right, 4), round(box.bottom, 4))
        if not any(same_place(place, other) for other in places):
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
        sides=tuple((side.anchor, side.position) for side in sides),
    )


def _layout(blocks: Sequence[_Block], region: CropRegion, aspect: float) -> Layout:
    row = blocks[0].row
    members = [box for block in blocks for box in block.members]
    line = row.members
    selection = CropRegion(
        _fraction(min(box.left for box in members) / aspect),
        _fraction(min(box.top for box in members)),
        _fraction(max(box.right for box in members) / aspect),
        _fraction(max(box.bottom for box in members)),
    )
    slope, intercept = _scatter(line, row)
    return Layout(
        region=region,
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


def _around(regions: Sequence[CropRegion]) -> CropRegion:
    return CropRegion(
        min(region.left for region in regions),
        min(region.top for region in regions),
        max(region.right for region in regions),
        max(region.bottom for region in regions),
    )


def _region(block: _Block, aspect: float) -> CropRegion:
    """Room for longer captions, the more the fewer were seen, and _MARGIN lines above and below.

    A row across the middle gets half of the frame at least: of tiny letters only pieces may have been seen.
    """
    row, members = block.row, block.members
    height = median(box.height for box in members)
    texts = len({box.text for box in members})
    longer = 1.08 + 4 / (texts + 2)
    reach_left = max(row.position - box.left for box in members)
    reach_right = max(box.right - row.position for box in members)
    if row.anchor == "center":
        reach_left = reach_right = max(reach_left, reach_right)
    left = row.position - reach_left * longer - 0.6 * height
    right = row.position + reach_right * longer + 0.6 * height
    if left < aspect / 2 < right:
        left, right = min(left, _LEAST_LEFT * aspect), max(right, (1 - _LEAST_LEFT) * aspect)
    top = min(box.top for box in members) - _MARGIN * height
    bottom = max(box.bottom for box in members) + _MARGIN * height
    edges = (left / aspect, top, right / aspect, bottom)
    return CropRegion(*(round(_fraction(edge), 5) for edge in edges))


def _scatter(line: Sequence[Seen], row: Row) -> tuple[float, float]:
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
