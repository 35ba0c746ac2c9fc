"""Which part of the picture holds captions: in fractions of the frame, as people say it, and in pixels.

Imports only the standard library, as contract.py does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class CropRegion:
    """A rectangle in fractions (0-1) of the displayed frame, not empty, origin at the TOP left.

    Where captions stand at two places, what lies between them, from `gap_top` to `gap_bottom`, is left out.
    """

    left: float
    top: float
    right: float
    bottom: float
    gap_top: float | None = None
    gap_bottom: float | None = None

    def __post_init__(self) -> None:
        if not (0 <= self.left < self.right <= 1 and 0 <= self.top < self.bottom <= 1):
            raise ValueError(
                f"crop region {self.left},{self.top},{self.right},{self.bottom} is not left,top,right,bottom "
                "in fractions of the frame (0 <= left < right <= 1, 0 <= top < bottom <= 1)"
            )
        if (self.gap_top, self.gap_bottom) != (None, None):
            first, last = self.gap_top or 0.0, self.gap_bottom or 0.0
            if not self.top < first < last < self.bottom:
                raise ValueError(f"from {self.gap_top} to {self.gap_bottom} is no gap inside a crop region")

    @property
    def parts(self) -> tuple[CropRegion, ...]:
        """The rectangles that are cropped, from the top: one, or two of the same width."""
        if self.gap_top is None or self.gap_bottom is None:
            return (self,)
        return (
            CropRegion(self.left, self.top, self.right, self.gap_top),
            CropRegion(self.left, self.gap_bottom, self.right, self.bottom),
        )

    def widened(self) -> CropRegion:
        """Half as wide again, as far as the frame goes."""
        more = (self.right - self.left) / 4
        return replace(self, left=max(0.0, self.left - more), right=min(1.0, self.right + more))

    @classmethod
    def around(cls, places: Sequence[CropRegion]) -> CropRegion:
        """The region that holds one place or two. Raises ValueError for more."""
        if not 1 <= len(places) <= 2:
            raise ValueError(f"captions at {len(places)} places: one or two can be read")
        first, last = min(places, key=lambda place: place.top), max(places, key=lambda place: place.bottom)
        gap = (first.bottom, last.top) if first.bottom < last.top else (None, None)
        edges = min(first.left, last.left), first.top, max(first.right, last.right), last.bottom
        return cls(*edges, *gap)

    def __str__(self) -> str:
        """As `parse` reads it, to a tenth of a per mille."""
        return "+".join(
            f"{part.left:.4f},{part.top:.4f},{part.right:.4f},{part.bottom:.4f}" for part in self.parts
        )

    @classmethod
    def parse(cls, text: str) -> CropRegion:
        """Read "L,T,R,B", or two of them joined by "+". Raises ValueError saying what was expected."""
        places: list[CropRegion] = []
        for place in text.split("+"):
            try:
                left, top, right, bottom = (float(part) for part in place.split(","))
            except ValueError:
                raise ValueError(f"{place!r} is not four numbers L,T,R,B between 0 and 1") from None
            places.append(cls(left, top, right, bottom))
        return cls.around(places)


@dataclass(frozen=True, kw_only=True)
class CropPixels:
    """A crop region in displayed pixels, all even; right, bottom and gap_bottom are exclusive.

    What is cropped is the picture above the gap with the one below it underneath.
    """

    left: int
    top: int
    right: int
    bottom: int
    gap_top: int | None = None
    gap_bottom: int | None = None

    @property
    def parts(self) -> tuple[tuple[int, int, int, int], ...]:
        """(left, top, right, bottom) of the one or two rectangles, from the top."""
        if self.gap_top is None or self.gap_bottom is None:
            return ((self.left, self.top, self.right, self.bottom),)
        upper = self.left, self.top, self.right, self.gap_top
        return (upper, (self.left, self.gap_bottom, self.right, self.bottom))

    @property
    def width(self) -> int:
        """Of the cropped frames."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Of the cropped frames: the gap does not count."""
        return sum(bottom - top for _, top, _, bottom in self.parts)

    def __str__(self) -> str:
        """For people: sizes and corners of the rectangles."""
        return " and ".join(
            f"{right - left} x {bottom - top} at {left},{top}" for left, top, right, bottom in self.parts
        )
