"""What the strokes of the letters tell where the model is in doubt whether a caption gave way to another.

Captions may differ in a letter, as "Day 17" and "Day 18": where what changes is small beside all that stays,
the model takes them for one. In one place the strokes before are then unlike those after, though before as
well as after they are like each other, and in all other places nothing changed. (Letters that shift because
another one is wider, the model sees.) And where every letter is as it was, there was no switch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_ops.extents.letters import Seen, strokes_of

FRAMES = 4  # looked at on either side
WINDOW = 14, 28  # pixels across and down that a letter fills, about
AS_STRONG = 0.5  # times the strokes of most of the writing, at least
OTHER = 0.3  # similarity of different letters, at most
STEADY = 0.95  # of one and the same
ELSEWHERE = 0.93  # of nine tenths of what is farther away
FARTHER = 21  # pixels across
# The least of one and the same over other pictures, where letters are in both frames, and in either.
UNCHANGED, NEITHER_MORE = 0.7, 0.5


def changed_letter(before: Sequence[Seen], after: Sequence[Seen]) -> float | None:
    """How alike (-1 to 1) the letter is that alone is another in the frames `after` than in those `before`.
    None where there is no such letter, or fewer than two frames on a side."""
    seen = _Comparison.of(before, after)
    if seen is None:
        return None
    alike = np.where(seen.in_both, seen.alike, 1)
    row, column = np.unravel_index(alike.argmin(), alike.shape)
    farther = np.abs(np.arange(alike.shape[1]) - column) > FARTHER
    rest = alike[:, farther][seen.in_both[:, farther]]
    if alike[row, column] > OTHER or rest.size == 0 or np.percentile(rest, 10) < ELSEWHERE:
        return None
    steady = all(within[row, column] >= STEADY for within in seen.within())
    return float(alike[row, column]) if steady else None


def letters_stay(before: Sequence[Seen], after: Sequence[Seen]) -> bool:
    """Whether all letters of the frames `before` are in those `after`, and no others."""
    seen = _Comparison.of(before, after)
    return (
        seen is not None
        and bool(seen.in_both.any())
        and float(seen.alike[seen.in_both].min()) >= UNCHANGED
        and float(seen.alike[seen.in_either].min()) >= NEITHER_MORE
    )


@dataclass(frozen=True)
class _Comparison:
    """How alike the strokes of two groups of frames are in the window around each pixel (H, W), -1 to 1, less
    so where they are fainter in one; and which windows hold much in both, and in either."""

    before: Sequence[Seen]
    after: Sequence[Seen]
    cells: NDArray[np.float32]
    alike: NDArray[np.float32]
    in_both: NDArray[np.bool_]
    in_either: NDArray[np.bool_]

    @classmethod
    def of(cls, before: Sequence[Seen], after: Sequence[Seen]) -> _Comparison | None:
        """Of the last frames before a step and the first after it; None with fewer than two of them."""
        before, after = before[-FRAMES:], after[:FRAMES]
        if min(len(before), len(after)) < 2:
            return None
        sides = [np.stack([frame.cells for frame in side]).mean(axis=0) for side in (before, after)]
        cells = np.maximum(*sides).astype(np.float32)
        both, first, second = _products(_strokes(before, cells), _strokes(after, cells))
        in_both, in_either = (_much(each) for each in (np.minimum(first, second), np.maximum(first, second)))
        return cls(before, after, cells, _similarity(both, first, second), in_both, in_either)

    def within(self) -> list[NDArray[np.float32]]:
        """How alike each group's frames are among themselves, in the same windows."""
        return [
            _similarity(*_products(_strokes(side[::2], self.cells), _strokes(side[1::2], self.cells)))
            for side in (self.before, self.after)
        ]


def _strokes(frames: Sequence[Seen], cells: NDArray[np.float32]) -> NDArray[np.float32]:
    """What these frames on average show of the letters in these cells."""
    return strokes_of(np.stack([frame.strip for frame in frames]).mean(axis=0, dtype=np.float32), cells)


def _products(one: NDArray[np.float32], other: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Means in the window around each pixel: of both pictures' product, and of each one's square."""
    products = one * other, one * one, other * other
    means = [cv2.boxFilter(each, -1, WINDOW, borderType=cv2.BORDER_CONSTANT) for each in products]
    return [np.asarray(mean, np.float32) for mean in means]


def _similarity(
    both: NDArray[np.float32], first: NDArray[np.float32], second: NDArray[np.float32]
) -> NDArray[np.float32]:
    return (2 * both / np.maximum(first + second, 1)).astype(np.float32)


def _much(strengths: NDArray[np.float32]) -> NDArray[np.bool_]:
    drawn = strengths[strengths > 1]
    usual = np.percentile(drawn, 75) if drawn.size else np.inf
    return strengths > AS_STRONG * usual
