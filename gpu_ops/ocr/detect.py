"""Where text lines lie in an image: the detection model and what turns its probability map into boxes.

Method: Liao et al., "Real-time Scene Text Detection with Differentiable Binarization" (2020); the map shows
the shrunken core of every line, which is grown back in proportion to its area.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_ops.ocr.engine import Image
from gpu_ops.ocr.models import DETECTION, open_model

# Measured on 1080p frames: at a long side of 960 text of 16 px is still found, for 0.29 CPU-s (0.83 at 1536);
# at 768 text below 24 px is lost.
FRAME_LONG_SIDE = 960

_THRESHOLD = 0.3
_BOX_THRESHOLD = 0.5
_GROWTH = 1.6
_LARGEST_ENLARGEMENT = 2.0
_STEP = 32  # the network halves its input five times


@dataclass(frozen=True)
class TextArea:
    """A rectangle around one line or a part of one, in pixels; right and bottom exclusive; score 0-1."""

    left: int
    top: int
    right: int
    bottom: int
    score: float

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top


class LineDetector:
    """Finds horizontal text. One instance per thread."""

    def __init__(self, threads: int = 1) -> None:
        self._session = open_model(DETECTION, threads, keeps_memory=True)

    def find(self, image: Image, long_side: int = FRAME_LONG_SIDE) -> list[TextArea]:
        """Text areas of a uint8 HxWx3 BGR image, scaled so that its long side is `long_side` pixels for
        the model.
        """
        height, width = image.shape[:2]
        scale = min(long_side / max(height, width), _LARGEST_ENLARGEMENT)
        columns, rows = (max(_STEP, round(side * scale / _STEP) * _STEP) for side in (width, height))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        scaled = cv2.resize(image, (columns, rows), interpolation=method).astype(np.float32)
        pixels = np.ascontiguousarray((scaled / 127.5 - 1).transpose(2, 0, 1)[None])
        (maps,) = self._session.run(None, {"x": pixels})
        return _areas(np.asarray(maps)[0, 0], width, height)


def _areas(probability: NDArray[np.float32], width: int, height: int) -> list[TextArea]:
    mask = cv2.dilate((probability > _THRESHOLD).astype(np.uint8), np.ones((2, 2), np.uint8))
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    across, down = width / mask.shape[1], height / mask.shape[0]
    areas: list[TextArea] = []
    for number in range(1, count):
        x, y, columns, rows, pixels = (int(value) for value in boxes[number])
        if min(columns, rows) < 3:
            continue
        window = np.s_[y : y + rows, x : x + columns]
        score = float(probability[window][labels[window] == number].mean())
        if score < _BOX_THRESHOLD:
            continue
        grown = pixels * _GROWTH / (2 * (columns + rows))
        left, right = max(0, round((x - grown) * across)), min(width, round((x + columns + grown) * across))
        top, bottom = max(0, round((y - grown) * down)), min(height, round((y + rows + grown) * down))
        areas.append(TextArea(left, top, right, bottom, score))
    return areas
