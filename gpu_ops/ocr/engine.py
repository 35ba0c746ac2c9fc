"""What every OCR engine answers, so that nothing else knows which one is at work. Imports no pixel
library.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
class Strip:
    """Pictures of one caption (uint8 HxWx3 BGR): its median frame, one of its frames to fall back on where
    the median has lost the text, and what stands still behind the text, where that is known.
    """

    median: Image
    frame: Image
    behind: Image | None = None


@dataclass(frozen=True)
class StripText:
    """Lines joined with newlines, confidence 0-1 that all of it is exact; illegible: text that could not
    be read.
    """

    text: str
    confidence: float
    illegible: bool = False


class OcrFailed(Exception):
    """The engine could not process an image (which is not the same as an image without text)."""


class OcrEngine(Protocol):
    """Reads text. Not safe for use by two threads at once.

    Both methods answer in order, one for one, and may draw many pictures before the first answer: an engine
    that is paid for by the image puts several into one. A picture that cannot be processed is answered with
    an OcrFailed; contract.ComputeError is raised where no picture can be.
    """

    @property
    def name(self) -> str:
        """Engine and model version, recorded with every result."""
        ...

    @property
    def billed_images(self) -> int:
        """How many images a paid service was asked to read so far; 0 on one's own machine."""
        ...

    def read_frames(self, frames: Iterable[Image]) -> Iterator[list[OcrBox] | OcrFailed]:
        """Find and read every line of each frame (uint8 HxWx3 BGR)."""
        ...

    def read_strips(self, strips: Iterable[Strip]) -> Iterator[StripText | OcrFailed]:
        """Read each caption."""
        ...
