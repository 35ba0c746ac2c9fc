"""Many pictures on one page, so that they are paid for as one, and the way back from the page to each.

A page is as large as a sheet scanned at 600 dpi, and blank between the pictures. Captions of a video all have
the size of its crop region, so all pictures of a page have one size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from gpu_ops.ocr.engine import Image

# An A4 sheet at 600 dpi has 35 megapixels; Vision takes up to 75.
PAGE_PIXELS = 36_000_000
_BLANK = 255
# Blank space to the next picture: above and below as a part of the picture's height, and in pixels.
_GUTTER, _NARROWEST_GUTTER, _WIDEST_GUTTER = 0.3, 24, 64
_SMALLEST_SCALE = 0.05
_JPEG_QUALITIES = (92, 85, 75, 65, 55)


@dataclass(frozen=True)
class Format:
    """How pictures of one size lie on a page: `scale` at most 1, sizes in pixels of the page."""

    scale: float
    width: int
    height: int
    across: int  # blank columns between two pictures
    down: int  # blank rows

    @classmethod
    def of(cls, image: Image, per_page: int, room: float = 1.0) -> Format:
        """The largest at which `per_page` pictures of this one's size fit on a page.

        `room` widens the space between them.
        """
        height, width = image.shape[:2]
        scale = 1.0
        while True:
            chosen = cls._scaled(width, height, scale, room)
            if chosen.capacity >= per_page or scale <= _SMALLEST_SCALE:
                return chosen
            scale *= 0.97

    @classmethod
    def _scaled(cls, width: int, height: int, scale: float, room: float) -> Format:
        columns, rows = max(1, round(width * scale)), max(1, round(height * scale))
        gutter = room * min(max(_GUTTER * rows, _NARROWEST_GUTTER), _WIDEST_GUTTER)
        # Side by side texts are joined more readily than those below each other.
        return cls(scale, columns, rows, round(3 * gutter), round(gutter))

    @property
    def capacity(self) -> int:
        """How many pictures a page holds, at least one."""
        return max(1, PAGE_PIXELS // ((self.width + self.across) * (self.height + self.down)))

    def fitted(self, image: Image) -> Image:
        """The picture in the size it has on the page."""
        method = cv2.INTER_AREA if self.scale < 1 else cv2.INTER_LINEAR
        return cv2.resize(image, (self.width, self.height), interpolation=method).astype(np.uint8, copy=False)


@dataclass(frozen=True)
class Page:
    """Up to `format.capacity` fitted pictures, row by row, on about a square."""

    format: Format
    pictures: Sequence[Image]

    @property
    def _columns(self) -> int:
        cell = self.format
        wide, high = cell.width + cell.across, cell.height + cell.down
        return min(len(self.pictures), max(1, round(math.sqrt(len(self.pictures) * high / wide))))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        cell, columns = self.format, self._columns
        rows = math.ceil(len(self.pictures) / columns)
        return (
            rows * (cell.height + cell.down) + cell.down,
            columns * (cell.width + cell.across) + cell.across,
        )

    def corner(self, number: int) -> tuple[int, int]:
        """Left and top edge of a picture in pixels of the page."""
        row, column = divmod(number, self._columns)
        cell = self.format
        return (
            cell.across + column * (cell.width + cell.across),
            cell.down + row * (cell.height + cell.down),
        )

    def at(self, x: float, y: float) -> int | None:
        """The picture at a point of the page; None where it is blank.

        A quarter of the space around a picture counts as its own, since boxes around text are inexact.
        """
        cell, columns = self.format, self._columns
        column, across = divmod(x - cell.across, cell.width + cell.across)
        row, down = divmod(y - cell.down, cell.height + cell.down)
        # Just left of a picture is far right of its neighbour's cell.
        if across > cell.width + 0.75 * cell.across:
            column, across = column + 1, 0.0
        if down > cell.height + 0.75 * cell.down:
            row, down = row + 1, 0.0
        number = int(row * columns + column)
        inside = across <= cell.width + cell.across / 4 and down <= cell.height + cell.down / 4
        return number if inside and 0 <= column < columns and 0 <= number < len(self.pictures) else None

    def jpeg(self, limit: int) -> bytes | None:
        """The page in the best quality that takes at most `limit` bytes; None if none does."""
        page = np.full((*self.shape, 3), _BLANK, np.uint8)
        for number, picture in enumerate(self.pictures):
            left, top = self.corner(number)
            page[top : top + self.format.height, left : left + self.format.width] = picture
        for quality in _JPEG_QUALITIES:
            encoded = cv2.imencode(".jpg", page, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
            if encoded.nbytes <= limit:
                return encoded.tobytes()
        return None

    def halves(self) -> tuple[Page, Page]:
        """Two pages with half the pictures each."""
        middle = len(self.pictures) // 2
        return Page(self.format, self.pictures[:middle]), Page(self.format, self.pictures[middle:])
