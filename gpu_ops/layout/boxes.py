"""The plain data of a layout: what analysis finds, what the databases keep, what the preview draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gpu_ops.ocr.engine import OcrBox
from gpu_ops.regions import CropRegion

Anchor = Literal["left", "center", "right"]
Label = Literal["in", "out", "clear"]  # an annotator's: a caption, not a caption, neither (ignore it)
PredictedLabel = Literal["in", "out"]


@dataclass(frozen=True)
class FrameBox:
    """A box of one full frame; `frame_index` is its 10 Hz grid index, `box_index` its number in that
    frame.
    """

    frame_index: int
    box_index: int
    box: OcrBox
    label: Label | None = None
    label_updated_at: str | None = None
    predicted_label: PredictedLabel | None = None
    predicted_confidence: float | None = None


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where a video's captions stand. Fractions of the displayed frame, origin at the TOP left.

    `region` is None when no captions were found; then every other value is at its default. `selection` is the
    tight rectangle around all caption boxes seen. `horizontal_std_slope` and `_intercept` describe how the
    scatter of the anchor (std, fraction of width) changes with a caption's width.
    """

    region: CropRegion | None = None
    selection: CropRegion | None = None
    anchor: Anchor = "center"
    anchor_position: float = 0.5
    vertical_center: float = 0.5
    vertical_std: float = 0.0
    box_height: float = 0.0
    box_height_std: float = 0.0
    top_edge_std: float = 0.0
    bottom_edge_std: float = 0.0
    horizontal_std_slope: float = 0.0
    horizontal_std_intercept: float = 0.0
