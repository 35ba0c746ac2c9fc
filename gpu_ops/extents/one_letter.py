"""Captions that follow each other and differ in a letter: "Day 17", "Day 18".

The model takes them for one where what changes is small beside all that stays. The strokes tell: in one place
those before are unlike those after, though before as well as after they are like each other, and in all other
places nothing changed. Letters that shift because another is wider, the model sees.
"""

from __future__ import annotations

from collections.abc import Sequence

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


def changed_letter(before: Sequence[Seen], after: Sequence[Seen]) -> float | None:
    """How alike (-1 to 1) the letter is that alone is another in the frames `after` than in those `before`.
    None where there is no such letter, or fewer than two frames on a side."""
    before, after = before[-FRAMES:], after[:FRAMES]
    if min(len(before), len(after)) < 2:
        return None
    cells = np.stack([frame.cells for frame in (*before, *after)]).mean(axis=0, dtype=np.float32)
    alike, strong = _similarity(_strokes(before, cells), _strokes(after, cells))
    if not strong.any():
        return None
    alike = np.where(strong, alike, 1)
    row, column = np.unravel_index(alike.argmin(), alike.shape)
    if alike[row, column] > OTHER:
        return None
    farther = np.abs(np.arange(alike.shape[1]) - column) > FARTHER
    rest = alike[:, farther][strong[:, farther]]
    if rest.size == 0 or np.percentile(rest, 10) < ELSEWHERE:
        return None
    for side in (before, after):
        within, _ = _similarity(_strokes(side[::2], cells), _strokes(side[1::2], cells))
        if within[row, column] < STEADY:
            return None
    return float(alike[row, column])


def _strokes(frames: Sequence[Seen], cells: NDArray[np.float32]) -> NDArray[np.float32]:
    """What these frames on average show of the letters in these cells."""
    return strokes_of(np.stack([frame.strip for frame in frames]).mean(axis=0, dtype=np.float32), cells)


def _similarity(
    one: NDArray[np.float32], other: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """How alike the windows around each pixel of two pictures of strokes (H, W) are, -1 to 1, less so if one
    is fainter; and which windows hold much in both."""
    both, first, second = (_in_windows(product) for product in (one * other, one * one, other * other))
    fainter = np.minimum(first, second)
    drawn = fainter[fainter > 1]
    usual = np.percentile(drawn, 75) if drawn.size else np.inf
    return (2 * both / np.maximum(first + second, 1)).astype(np.float32), fainter > AS_STRONG * usual


def _in_windows(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(cv2.boxFilter(picture, -1, WINDOW, borderType=cv2.BORDER_CONSTANT), np.float32)
