"""A contact sheet: median frames of captions beside what was read, for a person to compare at a glance."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

from gpu_ops.captions.read import CaptionReading
from gpu_ops.contract import GRID_HZ
from gpu_ops.ocr.engine import Image

_MOST_CAPTIONS = 24
_MOST_BYTES = 100_000
_STRIP_WIDTH = 480
_TALLEST_STRIP = 110
_TEXT_WIDTH = 420
_FONT_SIZE = 15
_INK, _FAINT, _ALARM = (20, 20, 20), (120, 120, 120), (190, 30, 30)


def contact_sheet(readings: Sequence[CaptionReading]) -> bytes:
    """A JPEG of at most 100 kB with up to 24 captions, spread over the video; empty if there is nothing to
    show.

    Text in letters the built-in font lacks is left out: the strip shows it, time and confidence stand beside
    it.
    """
    shown = [reading for reading in readings if reading.strip is not None]
    step = max(1.0, len(shown) / _MOST_CAPTIONS)
    chosen = [shown[int(number * step)] for number in range(min(len(shown), _MOST_CAPTIONS))]
    if not chosen:
        return b""
    rows = [_row(reading, reading.strip) for reading in chosen if reading.strip is not None]
    sheet = np.vstack(rows)
    for quality in (80, 65, 50, 35, 20):
        encoded = _jpeg(sheet, quality)
        if len(encoded) <= _MOST_BYTES:
            return encoded
    while len(encoded) > _MOST_BYTES:
        sheet = cv2.resize(sheet, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA).astype(np.uint8)
        encoded = _jpeg(sheet, 35)
    return encoded


def _row(reading: CaptionReading, strip: Image) -> Image:
    scale = min(_STRIP_WIDTH / strip.shape[1], _TALLEST_STRIP / strip.shape[0])
    size = (max(1, round(strip.shape[1] * scale)), max(1, round(strip.shape[0] * scale)))
    picture = Picture.fromarray(cv2.cvtColor(cv2.resize(strip, size), cv2.COLOR_BGR2RGB))
    result = reading.result
    lines = [(_head(reading), _ALARM if result.error else _FAINT)]
    body = result.error or result.ocr_text
    lines += [(line, _ALARM if result.error else _INK) for line in body.split("\n") if _drawable(line)]
    line_height = _FONT_SIZE + 5
    row = Picture.new(
        "RGB", (_STRIP_WIDTH + _TEXT_WIDTH, max(size[1], line_height * len(lines)) + 8), "white"
    )
    row.paste(picture, (0, 4))
    pen = ImageDraw.Draw(row)
    font = ImageFont.load_default(_FONT_SIZE)
    for number, (text, colour) in enumerate(lines):
        pen.text((_STRIP_WIDTH + 10, 4 + number * line_height), text, font=font, fill=colour)
    return cv2.cvtColor(np.asarray(row), cv2.COLOR_RGB2BGR).astype(np.uint8)


def _head(reading: CaptionReading) -> str:
    seconds = reading.range.start_frame / GRID_HZ
    state = "failed" if reading.result.error else f"confidence {reading.result.confidence:.2f}"
    return f"{int(seconds // 60)}:{seconds % 60:04.1f}  {state}"


def _drawable(text: str) -> bool:
    """Pillow's built-in font covers Latin only."""
    return all(ord(char) < 0x250 or char in "–—‘’“”…" for char in text)


def _jpeg(image: Image, quality: int) -> bytes:
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
