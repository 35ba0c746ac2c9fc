"""The one size rule for what the pair model sees, the same in training and at run time."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

MIN_HEIGHT = 64
MAX_HEIGHT = 96
MAX_WIDTH = 960
PIXELS = 64 * 912
STEP = 16


def model_size(height: int, width: int) -> tuple[int, int]:
    """Height and width, both multiples of 16, at which a strip of `height` x `width` pixels is looked at.

    About PIXELS pixels whatever the shape, so a two-line strip gets more height and every strip costs the
    same.
    """
    aspect = width / height
    tall = min(MAX_HEIGHT, max(MIN_HEIGHT, (PIXELS / aspect) ** 0.5))
    tall = int(tall / STEP + 0.5) * STEP
    wide = int(min(MAX_WIDTH, tall * aspect) / STEP + 0.5) * STEP
    return tall, max(STEP * 2, wide)


def normalised(strip: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The luma strip (H x W) resized to `size` (height, width)."""
    height, width = size
    if strip.shape == size:
        return strip
    while strip.shape[0] >= 2 * height and strip.shape[1] >= 2 * width:
        halved = (strip.shape[1] // 2, strip.shape[0] // 2)
        strip = cv2.resize(strip, halved, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    # Under a factor of two, two taps skip next to nothing, at a tenth of the cost of averaging areas.
    return cv2.resize(strip, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)
