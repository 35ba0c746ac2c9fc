"""Covering what is not to be looked at in a strip, such as a watermark."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_ops.regions import CropPixels
from gpu_ops.video.manifest import Rectangle
from gpu_ops.video.probe import VideoFacts

Place = tuple[float, float, float, float]  # left, top, right, bottom in fractions of the displayed frame

_BESIDE_PX = 4  # whose mean colour goes on under the cover
_SMOOTH_PX = 9


def in_strip(places: Sequence[Place], facts: VideoFacts, crop: CropPixels) -> tuple[Rectangle, ...]:
    """Where places of the frame lie in its cropped strip; those outside are left out."""
    rectangles: list[Rectangle] = []
    for left, top, right, bottom in places:
        above = 0
        for part_left, part_top, part_right, part_bottom in crop.parts:
            columns = max(part_left, int(left * facts.width)), min(part_right, -int(-right * facts.width))
            rows = max(part_top, int(top * facts.height)), min(part_bottom, -int(-bottom * facts.height))
            if columns[0] < columns[1] and rows[0] < rows[1]:
                down = above - part_top
                rectangles.append(
                    (columns[0] - part_left, rows[0] + down, columns[1] - part_left, rows[1] + down)
                )
            above += part_bottom - part_top
    return tuple(rectangles)


def covered(image: NDArray[np.uint8], rectangles: Sequence[Rectangle]) -> NDArray[np.uint8]:
    """A copy of the image (H x W, or H x W x 3) whose rectangles go on from what is left and right of them.

    The image itself where there are none.
    """
    if not rectangles:
        return image
    result = image.copy()
    for left, top, right, bottom in rectangles:
        rows = image[top:bottom]
        sides = [
            cv2.blur(side.mean(axis=1, keepdims=True, dtype=np.float32), (1, _SMOOTH_PX)).reshape(
                bottom - top, 1, *image.shape[2:]
            )
            for side in (rows[:, max(0, left - _BESIDE_PX) : left], rows[:, right : right + _BESIDE_PX])
            if side.shape[1]
        ]
        if not sides:
            continue
        share = np.linspace(0, 1, right - left, dtype=np.float32).reshape(1, -1, *[1] * (image.ndim - 2))
        result[top:bottom, left:right] = (1 - share) * sides[0] + share * sides[-1] + 0.5
    return result
