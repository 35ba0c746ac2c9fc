"""Embeddings of successive frames, for little more than half of what it costs to encode them all.

Every second frame is encoded. Where two of these surely show the same, so does the frame between them, unless
the letters are gone from it: how well strokes correlate with those beside them tells that at a tenth of the
cost. Of 12,151 such frames in films for trying 75 % were surely so, and 2 should not have been. Near a change
every frame is encoded, for there the wider pairs matter too. What is given up is a caption of one grid frame
between frames that show none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_ops.extents.labels import EMPTY_EMPTY, SAME
from gpu_ops.extents.letters import Seen, held
from gpu_ops.extents.model import Embeddings, PairModel, Probabilities

SURE = 0.9  # probability that frames show the same from which nothing more is asked about them
# By how much less than the frames beside it with each other a frame may correlate with either of them. Frames
# that show the letters did so by 0.17 at most, frames in which they were gone by 0.53 at least.
GONE = 0.3
BROADEST = 9  # pixels of a strip of half the size: what is broader than that is no stroke


@dataclass(frozen=True)
class Thinned:
    """Embeddings (N, C, h, w) of N frames. Those `passed_over`, by number, have the embedding of the frame
    before them; the label probabilities (5,) are of the pair of frames around each."""

    embeddings: Embeddings
    passed_over: Mapping[int, Probabilities]


def encode_thinned(
    model: PairModel, before: Seen | None, strips: Sequence[NDArray[np.uint8]], calm: bool
) -> Thinned:
    """Embeddings of one or more successive strips uint8 (H, W).

    `before` is the frame before them, if any, and `calm` says that nothing changed just before it. The first
    frame of all and the last ones of these are always encoded. A GPU encodes all, which takes it no longer.
    """
    if model.on_gpu:
        return Thinned(model.encode(strips), {})
    start = 1 if before else 0
    frames = [before.strip, *strips] if before else list(strips)
    embedded = {0: before.embedding} if before else {}

    def encode(chosen: Sequence[int]) -> None:
        if chosen:
            embedded.update(zip(chosen, model.encode([frames[at] for at in chosen]), strict=True))

    between = range(1, len(frames) - 1, 2)
    encode([at for at in range(start, len(frames)) if at not in between])
    passed_over = _passed_over(model, frames, embedded, between, calm)
    embedded.update((at, embedded[at - 1]) for at in passed_over)
    encode([at for at in between if at not in passed_over])
    return Thinned(
        np.stack([embedded[at] for at in range(start, len(frames))]),
        {at - start: answer for at, answer in passed_over.items()},
    )


def surely_unchanged(answers: Probabilities) -> NDArray[np.bool_]:
    """Which pairs, label probabilities (N, 5), surely show the same caption or surely none."""
    return unchanged(answers) >= SURE


def unchanged(answers: Probabilities) -> NDArray[np.float32]:
    """Probability (N,) that a pair shows the same caption, or that it shows none, whichever is greater."""
    return answers[:, [SAME, EMPTY_EMPTY]].max(axis=1)


def _passed_over(
    model: PairModel,
    frames: Sequence[NDArray[np.uint8]],
    embedded: Mapping[int, Embeddings],
    between: Sequence[int],
    calm: bool,
) -> dict[int, Probabilities]:
    """The frames `between` others that show what those do, with the answer to the pair around each."""
    if not between:
        return {}
    earlier, later = (np.stack([embedded[at + step] for at in between]) for step in (-1, 1))
    around = model.compare(earlier, later)
    cells = np.maximum(earlier[:, -1], later[:, -1])
    sure = np.array([calm, *surely_unchanged(around), False])
    far_from_changes = sure[:-2] & sure[1:-1] & sure[2:]
    return {
        at: answer
        for at, answer, far, letters in zip(between, around, far_from_changes, cells, strict=True)
        if far and (answer[EMPTY_EMPTY] > answer[SAME] or _keeps(frames[at - 1 : at + 2], letters))
    }


def _keeps(three: Sequence[NDArray[np.uint8]], cells: NDArray[np.floating]) -> bool:
    """Whether the middle one of three strips (H, W) shows the letters that the others have in these cells."""
    strokes = [_strokes(strip) for strip in three]
    letters = held(cells, strokes[0].shape)
    before, middle, after = (each[letters] for each in strokes)
    if not letters.any():
        return False
    least = min(_correlation(middle, before), _correlation(middle, after))
    return least >= _correlation(before, after) - GONE


def _strokes(strip: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What is narrow in the strip (H, W), at half its size."""
    half = cv2.resize(strip, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.subtract(half, cv2.blur(half, (BROADEST, BROADEST)), dtype=cv2.CV_32F), np.float32)


def _correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    strengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(np.vdot(one, other)) / max(strengths, 1.0)
