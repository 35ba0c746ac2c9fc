"""The letters of a frame in pixels: where the model sees them, freed of what lies behind them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_ops.extents.model import Embeddings

LETTERS = 0.5  # probability of a cell that holds some
STROKES = 4.0  # pixels: what is wider than strokes is taken out


@dataclass(frozen=True)
class Seen:
    """A grid frame: its luma strip uint8 (H, W), the seconds at which what it shows came on screen and until
    the next frame of the video, and its embedding."""

    strip: NDArray[np.uint8]
    time: float
    lasts: float
    embedding: Embeddings

    @property
    def cells(self) -> NDArray[np.float32]:
        """Probability (h, w) that a cell of the strip holds letters."""
        return self.embedding[-1]


def held(cells: NDArray[np.floating], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The pixels, bool of `shape` (H, W), of the cells (h, w) that hold letters."""
    size = shape[1], shape[0]
    chosen = np.asarray(cells > LETTERS, np.uint8)
    return cv2.resize(chosen, size, interpolation=cv2.INTER_NEAREST).astype(bool)


def without_areas(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """The image less what is wider than strokes."""
    return (image - cv2.GaussianBlur(image, (0, 0), STROKES)).astype(np.float32)


def strokes(frame: Seen) -> NDArray[np.float32]:
    """The letters' strokes, float32 (H, W): how much brighter than what is around them; 0 where there are no
    letters."""
    return strokes_of(frame.strip.astype(np.float32), frame.cells)


def strokes_of(strip: NDArray[np.float32], cells: NDArray[np.floating]) -> NDArray[np.float32]:
    """The same of a strip (H, W) and its cells (h, w)."""
    return np.where(held(cells, strip.shape), without_areas(strip), np.float32(0))
