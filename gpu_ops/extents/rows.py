"""A growing table of probabilities: rows are appended in blocks, and any part is read as one array."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gpu_ops.extents.labels import LABELS


class ProbabilityRows:
    """Rows float32 (n, 5); `len()` is n. Appending is amortised by doubling."""

    def __init__(self) -> None:
        self._room = np.zeros((1024, len(LABELS)), np.float32)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, block: NDArray[np.float32]) -> None:
        """Add the rows of `block` (k, 5) at the end."""
        needed = self._count + len(block)
        if needed > len(self._room):
            larger = np.zeros((max(needed, 2 * len(self._room)), len(LABELS)), np.float32)
            larger[: self._count] = self._room[: self._count]
            self._room = larger
        self._room[self._count : needed] = block
        self._count = needed

    def part(self, start: int = 0, end: int | None = None) -> NDArray[np.float32]:
        """Rows `start` to `end` (exclusive; None: the last), a view that later appends do not change."""
        return self._room[max(0, start) : self._count if end is None else min(max(0, end), self._count)]
