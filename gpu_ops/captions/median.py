"""The median frame of a caption: per pixel over several frames, so that the text stays and what moves behind
it goes.

Exact, by a network of pixel-wise minima and maxima (Batcher's odd-even merge sort): for the small numbers of
frames used here several times faster than sorting along an axis.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import cv2
import numpy as np

from gpu_ops.ocr.engine import Image

# A frame further from the median than this many times the usual distance shows something else.
_OUTLIER = 1.8
_NOISE_LEVELS = 4.0


def median_frame(frames: Sequence[Image]) -> Image:
    """Per-pixel median of uint8 images of one shape; of an even number, the lower of the middle two.

    Raises ValueError without frames.
    """
    if not frames:
        raise ValueError("a median needs at least one frame")
    lanes = list(frames)
    for low, high in _network(len(lanes)):
        first, second = lanes[low], lanes[high]
        lanes[low] = cv2.min(first, second).astype(np.uint8, copy=False)
        lanes[high] = cv2.max(first, second).astype(np.uint8, copy=False)
    return lanes[(len(lanes) - 1) // 2]


def agreeing_frames(frames: Sequence[Image]) -> list[Image]:
    """The frames that show what most of them show; those caught in a fade or beyond a cut are left out."""
    if len(frames) < 4:
        return list(frames)
    small = [cv2.resize(frame, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA) for frame in frames]
    middle = np.median(np.stack(small), axis=0)
    distances = [float(np.abs(image - middle).mean()) for image in small]
    limit = _OUTLIER * float(np.median(distances)) + _NOISE_LEVELS
    return [frame for frame, distance in zip(frames, distances, strict=True) if distance <= limit]


@lru_cache
def _network(count: int) -> tuple[tuple[int, int], ...]:
    """The compare-and-swap steps that still matter for the median of `count` lanes, in order."""
    needed = {(count - 1) // 2}
    steps: list[tuple[int, int]] = []
    for low, high in reversed(list(_sorting_network(count))):
        if low in needed or high in needed:
            steps.append((low, high))
            needed |= {low, high}
    return tuple(reversed(steps))


def _sorting_network(count: int) -> Iterator[tuple[int, int]]:
    """Knuth, The Art of Computer Programming 3, 5.2.2, algorithm M."""
    power = 1 << max(0, (count - 1).bit_length() - 1)
    stride = power
    while stride > 0:
        distance, remainder, span = power, 0, stride
        while True:
            for low in range(count - span):
                if low & stride == remainder:
                    yield low, low + span
            if distance == stride:
                break
            span = distance - stride
            distance >>= 1
            remainder = stride
        stride >>= 1
