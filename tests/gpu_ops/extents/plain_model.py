"""A pair model that reads a caption's number from a strip's brightness, so tests know every answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpu_ops.extents.labels import DIFFERENT, EMPTY_EMPTY, EMPTY_VALID, SAME, VALID_EMPTY
from gpu_ops.extents.model import Embeddings, PairModel, Probabilities

STEP = 10


@dataclass(frozen=True)
class Frame:
    index: int | None
    time: float
    until: float
    y: NDArray[np.uint8]


def strip(caption: int) -> NDArray[np.uint8]:
    """A strip that shows this caption number (0: none)."""
    return np.full((120, 1700), caption * STEP, np.uint8)


class PlainModel(PairModel):
    """Sure of everything."""

    def __init__(self) -> None:
        self.version = "plain"
        self.checkpoint_path = "plain"
        self.frames_encoded = 0
        self.largest_batch = 0

    @property
    def on_gpu(self) -> bool:
        return False

    def encode(self, strips: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]) -> Embeddings:
        self.frames_encoded += len(strips)
        self.largest_batch = max(self.largest_batch, len(strips))
        numbers = [round(float(s.mean()) / STEP) for s in strips]
        return np.array(numbers, np.float16).reshape(-1, 1, 1, 1)

    def compare(self, a: Embeddings, b: Embeddings) -> Probabilities:
        table = np.full((len(a), 5), 0.01, np.float32)
        for row, (left, right) in enumerate(zip(a.reshape(-1), b.reshape(-1), strict=True)):
            if left == right:
                label = SAME if left else EMPTY_EMPTY
            else:
                label = DIFFERENT if left and right else EMPTY_VALID if right else VALID_EMPTY
            table[row, label] = 0.96
        return table
