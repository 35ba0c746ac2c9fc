"""Finds the native frame at which a caption changes, between two grid frames that differ.

The grid says only that something changed within 0.1 s. The native frames between are few, so every place the
change could be is tried: frames before it must look like the first grid frame, frames after it like the
second, and where one caption follows another an empty stretch may lie between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpu_ops.extents.labels import EMPTY_EMPTY, EMPTY_VALID, SAME, VALID_EMPTY
from gpu_ops.extents.model import Embeddings, PairModel, Probabilities

FLOOR = 1e-3


@dataclass(frozen=True)
class Change:
    """Source-frame times in seconds: `at`, the first frame after the change; and, for one caption following
    another, `left`, the first frame that no longer shows the earlier one, and `entered`, the first that shows
    the later one."""

    at: float
    left: float
    entered: float


def _logs(probabilities: Probabilities, *columns: int) -> Probabilities:
    return np.log(np.clip(probabilities[:, list(columns)].sum(axis=1), FLOOR, 1.0))


def find_change(
    model: PairModel, before: Embeddings, after: Embeddings, between: Embeddings, times: Sequence[float]
) -> Change:
    """Where the change lies between two grid frames.

    Args:
        before, after: embeddings (C, h, w) of the two grid frames.
        between: embeddings (K, C, h, w) of the K native frames between them.
        times: K + 1 times in seconds, of those native frames and of the second grid frame.
    """
    count = len(between)
    if count == 0:
        return Change(times[0], times[0], times[0])
    from_before = model.compare(np.repeat(before[None], count, axis=0), between)
    to_after = model.compare(between, np.repeat(after[None], count, axis=0))
    like_before = _logs(from_before, SAME, EMPTY_EMPTY)
    like_after = _logs(to_after, SAME, EMPTY_EMPTY)
    empty = (_logs(from_before, VALID_EMPTY) + _logs(to_after, EMPTY_VALID)) / 2
    sums = [np.concatenate([[0.0], np.cumsum(part)]) for part in (like_before, empty, like_after)]
    once = [sums[0][cut] + sums[2][count] - sums[2][cut] for cut in range(count + 1)]
    cut = int(np.argmax(once))
    pairs = [(left, entered) for left in range(count + 1) for entered in range(left, count + 1)]
    twice = [
        sums[0][left] + sums[1][entered] - sums[1][left] + sums[2][count] - sums[2][entered]
        for left, entered in pairs
    ]
    left, entered = pairs[int(np.argmax(twice))]
    return Change(times[cut], times[left], times[entered])
