"""Captions that come or go in motion: that slide, zoom, or grow letter by letter or word by word.

From frame to frame such a caption is another one, so it is decoded in short pieces. Two of them show the same
letters where those of one are found in the other, elsewhere, of another size, or among more letters. Found by
normalised correlation (Lewis, 1995) of strokes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_ops.extents.decode import Extent
from gpu_ops.extents.letters import Seen, strokes
from gpu_ops.extents.pieces import LONGEST_STEP, Link, is_restless, length
from gpu_ops.extents.refine import Change

BRIEF = 3  # frames of a piece that may have caught a caption moving
ALIKE = 0.62  # correlation of the same letters
FEW_PIXELS, ALIKE_FEW = 4500, 0.75  # few other letters are as much alike by chance as 0.75
UNLIKE = 0.5  # of other letters
GROWN, MOST_GROWN = 1.05, 4.0  # times the letters that one step adds
AS_CLEAR = 1.25  # times the contrast, at most, of letters that do not fade
AS_MANY = 1.4  # times the letters, at most, that one size of them differs by from another
MOVED = 3  # pixels
SCALES = np.exp(np.arange(-25, 26) * 0.02)
FEWEST_PIXELS = 50
MARGIN = 24  # pixels by which letters may reach out of the strip
BEFORE = 20  # pixels left of a line's beginning that hold nothing
NOTHING = 0.35  # of the strokes of the line itself


def links_between(
    frames: Sequence[Seen], extents: Sequence[Extent], changes: Mapping[int, Change]
) -> list[Link]:
    """Which of the extents, which partition `frames` numbered from 0, are one caption with those before.

    `changes`, by the frame before, say where nothing was seen in between.
    """
    links: list[Link] = []
    for a, b in pairwise(extents):
        change = changes.get(a.end_frame_index)
        blank = change is not None and change.left < change.entered
        if "gap" in (a.state, b.state) or blank or min(length(a), length(b)) > LONGEST_STEP:
            continue
        link = _link(frames, a, b)
        if link is not None:
            links.append(link)
    return links


def switches_within(frames: Sequence[Seen], extents: Sequence[Extent], links: Iterable[Link]) -> list[int]:
    """The frames from which on extents that are linked on both sides show the caption after them, where one
    caption leaves as the next comes."""
    linked = {link.at for link in links}
    switches: list[int] = []
    for piece, following in pairwise(extents):
        start, end = piece.start_frame_index, piece.end_frame_index
        if not {start, following.start_frame_index} <= linked or not 2 <= length(piece) <= LONGEST_STEP:
            continue
        drawn = [strokes(frame) for frame in frames[start : end + 1]]
        alike = [_find(one, other, SCALES).similarity for one, other in pairwise(drawn)]
        least = int(np.argmin(alike))
        if alike[least] < UNLIKE:
            switches.append(start + least + 1)
    return switches


def _link(frames: Sequence[Seen], a: Extent, b: Extent) -> Link | None:
    before, after = strokes(frames[a.end_frame_index]), strokes(frames[b.start_frame_index])
    amounts = np.count_nonzero(before), np.count_nonzero(after)
    if min(amounts) < FEWEST_PIXELS:
        return None
    growing = amounts[0] <= amounts[1]
    fewer, more = (before, after) if growing else (after, before)
    growth = max(amounts) / min(amounts)
    restless = is_restless(a) or is_restless(b)
    brief = min(length(a), length(b)) <= BRIEF
    found = _find(fewer, more, SCALES if restless or brief else ())
    if found.similarity < (ALIKE_FEW if min(amounts) < FEW_PIXELS and not restless else ALIKE):
        return None
    is_step = length(a if growing else b) <= LONGEST_STEP and GROWN <= growth <= MOST_GROWN
    if is_step and found.begins and 1 / AS_CLEAR <= found.contrast <= AS_CLEAR:
        return Link(b.start_frame_index, found.similarity, 1 if growing else -1, found.moved)
    as_many = 1 / AS_MANY <= growth / found.scale**2 <= AS_MANY
    if found.moved and as_many and (restless or brief):
        return Link(b.start_frame_index, found.similarity, 0, found.moved)
    return None


@dataclass(frozen=True)
class _Found:
    """Letters found among others, `scale` times as large and `shift` (x, y) pixels from where they were.
    `begins` says that they are as large as before and nothing is written to the left of them; `contrast` is
    theirs there, as against here."""

    similarity: float
    scale: float
    shift: tuple[int, int]
    begins: bool
    contrast: float

    @property
    def moved(self) -> bool:
        return self.scale != 1 or max(map(abs, self.shift)) >= MOVED


def _find(letters: NDArray[np.float32], among: NDArray[np.float32], scales: Iterable[float]) -> _Found:
    """Where the strokes `letters` (H, W) are among those of another frame; at other scales only if they are
    not found as they are."""
    left, top, width, height = cv2.boundingRect(np.asarray(letters != 0, np.uint8))
    template = letters[top : top + height, left : left + width]
    wide = np.pad(among, MARGIN)
    best = _Found(-1.0, 1.0, (0, 0), False, 1.0)
    for scale in (1.0, *scales):
        across, down = max(1, round(width * scale)), max(1, round(height * scale))
        if scale != 1 and best.scale == 1 and best.similarity >= ALIKE_FEW:
            break
        if across > wide.shape[1] or down > wide.shape[0]:
            continue
        scaled = cv2.resize(template, (across, down), interpolation=cv2.INTER_LINEAR)
        _, similarity, _, (x, y) = cv2.minMaxLoc(cv2.matchTemplate(wide, scaled, cv2.TM_CCORR_NORMED))
        if similarity > best.similarity:
            shift = x - MARGIN - left, y - MARGIN - top
            lines = wide[y : y + down]
            there = float(np.vdot(scaled, lines[:, x : x + across]))
            contrast = there / max(1.0, float(np.square(scaled).sum()))
            begins = scale == 1 and _begin(lines, x, across)
            best = _Found(similarity, scale, shift, begins, contrast)
    return best


def _begin(lines: NDArray[np.float32], x: int, width: int) -> bool:
    """Whether these lines of strokes, `width` pixels wide, begin at column `x`."""
    written = float(np.abs(lines[:, x : x + width]).mean())
    before = lines[:, max(0, x - BEFORE) : max(0, x - 2)]
    return before.size == 0 or float(np.abs(before).mean()) < NOTHING * written
