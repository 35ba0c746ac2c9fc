"""Finds the native frame at which a caption changes, between two grid frames that differ.

The grid says only that something changed within 0.1 s. The native frames between are few, so every place the
change could be is tried: frames before it must look like the first grid frame, frames after it like the
second, and where one caption follows another an empty stretch may lie between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpu_ops.extents.decode import Floats
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


def log_of(probabilities: Probabilities, *columns: int) -> Probabilities:
    """Logarithms (N,) of the probability of any of these labels."""
    return np.log(np.clip(probabilities[:, list(columns)].sum(axis=1), FLOOR, 1.0))


def best_parts(first: Floats, nothing: Floats, second: Floats) -> tuple[int, int]:
    """How N frames in order are parted best into some of a first caption, of nothing, and of a second one:
    the number of the first frame after the first caption, and of the first of the second; 0 to N.

    Args:
        first, nothing, second: log-likelihoods (N,) of each frame showing that.
    """
    sums = [np.append(0.0, np.cumsum(part)) for part in (first, nothing, second)]
    scores = sums[0][:, None] + sums[1] - sums[1][:, None] + sums[2][-1] - sums[2]
    in_order = np.triu(np.ones_like(scores, bool))
    left, entered = np.unravel_index(np.where(in_order, scores, -np.inf).argmax(), scores.shape)
    return int(left), int(entered)


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
    like_before = log_of(from_before, SAME, EMPTY_EMPTY)
    like_after = log_of(to_after, SAME, EMPTY_EMPTY)
    empty = (log_of(from_before, VALID_EMPTY) + log_of(to_after, EMPTY_VALID)) / 2
    sums = [np.append(0.0, np.cumsum(part)) for part in (like_before, like_after)]
    cut = int(np.argmax([sums[0][at] + sums[1][count] - sums[1][at] for at in range(count + 1)]))
    left, entered = best_parts(like_before, empty, like_after)
    return Change(times[cut], times[left], times[entered])
