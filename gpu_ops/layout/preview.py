"""One picture of a layout: sampled frames with their boxes and the crop region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from gpu_ops.layout.analysis import CaptionRowModel, classify
from gpu_ops.ocr.engine import Image, OcrBox
from gpu_ops.regions import CropRegion

_MOST_FRAMES = 6
_MOST_BYTES = 80_000
FRAME_WIDTH = 400
_GREEN, _RED, _YELLOW = (80, 200, 60), (60, 60, 230), (0, 220, 255)


@dataclass(frozen=True)
class PreviewFrame:
    """A frame scaled down for the preview (uint8 HxWx3 BGR) with what OCR found in it."""

    image: Image
    boxes: Sequence[OcrBox]


def draw_preview(
    frames: Sequence[PreviewFrame], region: CropRegion | None, model: CaptionRowModel | None
) -> bytes:
    """A JPEG of at most 80 kB: up to six frames, captions in green, other text in red, the crop region in
    yellow.

    Frames that show captions come first. Empty without frames.
    """
    if not frames:
        return b""
    captioned = [frame for frame in frames if any(_is_caption(model, box) for box in frame.boxes)]
    chosen = _spread(captioned if len(captioned) >= _MOST_FRAMES else frames)
    drawn = [_draw(frame, region, model) for frame in chosen]
    columns = min(len(drawn), 3 if drawn[0].shape[1] > drawn[0].shape[0] else _MOST_FRAMES)
    blank = np.full_like(drawn[0], 255)
    drawn += [blank] * (-len(drawn) % columns)
    rows = [np.hstack(drawn[first : first + columns]) for first in range(0, len(drawn), columns)]
    sheet = np.vstack(rows)
    for quality in (80, 65, 50, 35, 20, 10):
        encoded = cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(encoded) <= _MOST_BYTES:
            return encoded
    small = cv2.resize(sheet, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 20])[1].tobytes()


def scaled_down(image: Image) -> Image:
    """A frame at the preview's size: at most 400 x 400 pixels."""
    scale = min(1.0, FRAME_WIDTH / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8)


def _spread(frames: Sequence[PreviewFrame]) -> list[PreviewFrame]:
    count = min(len(frames), _MOST_FRAMES)
    return [frames[number * len(frames) // count] for number in range(count)]


def _is_caption(model: CaptionRowModel | None, box: OcrBox) -> bool:
    return model is not None and classify(model, box)[0] == "in"


def _draw(frame: PreviewFrame, region: CropRegion | None, model: CaptionRowModel | None) -> Image:
    image = frame.image.copy()
    for box in frame.boxes:
        _rectangle(image, box, _GREEN if _is_caption(model, box) else _RED)
    for part in region.parts if region is not None else ():
        _rectangle(image, part, _YELLOW)
    return image


def _rectangle(image: Image, edges: OcrBox | CropRegion, colour: tuple[int, int, int]) -> None:
    height, width = image.shape[:2]
    corner = (round(edges.left * width), round(edges.top * height))
    opposite = (min(width - 1, round(edges.right * width)), min(height - 1, round(edges.bottom * height)))
    cv2.rectangle(image, corner, opposite, colour, 1, cv2.LINE_AA)
