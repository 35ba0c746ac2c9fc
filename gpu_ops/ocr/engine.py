"""What every OCR engine answers, so that nothing else knows which one is at work. Imports no pixel
library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]
else:
    Image = Any


@dataclass(frozen=True)
class OcrBox:
    """One line of text in a frame: confidence 0-1, edges as fractions of the frame, origin at the TOP
    left.
    """

    text: str
    confidence: float
    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def center_x(self) -> float:
        return (self.left + self.right) / 2

    @property
    def center_y(self) -> float:
        return (self.top + self.bottom) / 2


@dataclass(frozen=True)
class Line:
    """What one line image says. Empty text means nothing legible; confidence is 0-1."""

    text: str
    confidence: float


class OcrFailed(Exception):
    """The engine could not process an image (which is not the same as an image without text)."""


class OcrEngine(Protocol):
    """Reads text. Not safe for use by two threads at once."""

    @property
    def name(self) -> str:
        """Engine and model version, recorded with every result."""
        ...

    def read(self, image: Image) -> list[OcrBox]:
        """Find and read every line of a frame (uint8 HxWx3 BGR). Raises OcrFailed."""
        ...

    def find_lines(self, strip: Image) -> list[tuple[int, int, int, int]]:
        """Where the text lines of a caption strip lie: (left, top, right, bottom) in pixels. Raises
        OcrFailed.
        """
        ...

    def read_lines(self, lines: Sequence[Image]) -> list[Line]:
        """Read images (uint8 HxWx3 BGR) that each hold one line of text, in order. Raises OcrFailed."""
        ...
