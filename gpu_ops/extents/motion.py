"""Captions that come or go in motion: that slide, zoom, or grow letter by letter or word by word.

From frame to frame such a caption is another one, so it is decoded in short pieces. Two of them show the same
letters where those of one are found in the other, elsewhere, of another size, or among more letters. Found by
normalised correlation (Lewis, 1995) of strokes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_ops.extents.decode import Extent
from gpu_ops.extents.letters import Seen, strokes
from gpu_ops.extents.pieces import LONGEST_STEP, Link, is_restless, length
from gpu_ops.extents.refine import Change

BRIEF = 3  # frames of a piece that may have caught a caption moving
# Correlation of the same letters: for one of many steps of a growing caption, for pieces in which it never
# stays, and by itself. Words that follow each other reach 0.82 by chance, mostly 0.65.
ALIKE_STEP, ALIKE, SURELY_ALIKE = 0.7, 0.62, 0.82
UNLIKE = 0.5  # of other letters
CLEARLY = 0.03  # more alike
GROWN, MOST_GROWN = 1.05, 4.0  # times the letters that one step adds
AS_CLEAR = 1.25  # times the contrast, at most, of letters that do not fade
AS_MANY = 1.4  # times the letters, at most, that one size of them differs by from another
MOVED, FAR = 3, 10  # pixels
SCALES = np.exp(np.arange(-25, 26) * 0.02)
FEWEST_PIXELS = 50
MARGIN = 24  # pixels by which letters may reach out of the strip above or below
BEFORE = 20  # pixels left of a line's beginning that hold nothing
NOTHING = 0.6  # of the strokes of the line itself
BETWEEN_LINES = 0.15  # of the strokes that a row has on average


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
    linked = {link.at for link in links if link.adds == 0}
    switches: list[int] = []
    for piece, following in pairwise(extents):
        start, end = piece.start_frame_index, piece.end_frame_index
        if not {start, following.start_frame_index} <= linked or not 2 <= length(piece) <= LONGEST_STEP:
            continue
        drawn = [strokes(frame) for frame in frames[start : end + 1]]
        alike = [_likeness(one, other) for one, other in pairwise(drawn)]
        least = int(np.argmin(alike))
        if alike[least] < UNLIKE:
            switches.append(start + least + 1)
    return switches


def _link(frames: Sequence[Seen], a: Extent, b: Extent) -> Link | None:
    before, after = strokes(frames[a.end_frame_index]), strokes(frames[b.start_frame_index])
    if min(np.count_nonzero(before), np.count_nonzero(after)) < FEWEST_PIXELS:
        return None
    growth = np.count_nonzero(after) / np.count_nonzero(before)
    forward, backward = _find_lines(before, after), _find_lines(after, before)
    clearly = abs(forward.similarity - backward.similarity) >= CLEARLY
    restless = is_restless(a) or is_restless(b)
    place = a.start_frame_index, b.start_frame_index, b.end_frame_index
    # Of letters among more letters all are found; of more letters among some, only some.
    if forward.similarity >= backward.similarity:
        is_step = length(a) <= LONGEST_STEP and _adds(forward, growth, clearly or is_restless(a))
        found, adds = forward, 1
    else:
        is_step = length(b) <= LONGEST_STEP and _adds(backward, 1 / growth, clearly or is_restless(b))
        found, adds = backward, -1
    if is_step:
        sure = found.moved and found.similarity >= SURELY_ALIKE
        return Link(*place, found.similarity, adds, sure)
    if not restless and min(length(a), length(b)) > BRIEF:
        return None
    found = forward if found.similarity >= SURELY_ALIKE else _find_resized(before, after)
    as_many = 1 / AS_MANY <= growth / found.scale**2 <= AS_MANY
    if found.moved and as_many and found.similarity >= (ALIKE if restless else SURELY_ALIKE):
        return Link(*place, found.similarity, 0, True)
    return None


def _likeness(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    similarity = _find(before, after).similarity
    return similarity if similarity >= UNLIKE else _find_resized(before, after).similarity


def _adds(found: _Found, growth: float, likely: bool) -> bool:
    """Whether letters `found` among others got more: `growth` times as many, or somewhere else, or `likely`
    for another reason."""
    more = likely or growth >= GROWN or max(map(abs, found.shift)) >= FAR
    unfaded = 1 / AS_CLEAR <= found.contrast <= AS_CLEAR
    return more and unfaded and found.begins and growth <= MOST_GROWN and found.similarity >= ALIKE_STEP


@dataclass(frozen=True)
class _Found:
    """Letters found among others, `scale` times as large and `shift` (x, y) pixels from where they were.
    `begins` says that nothing is written to the left of them; `contrast` is theirs there, as against here."""

    similarity: float
    scale: float
    shift: tuple[int, int]
    begins: bool
    contrast: float

    @property
    def moved(self) -> bool:
        return self.scale != 1 or max(map(abs, self.shift)) >= MOVED


def _find(letters: NDArray[np.float32], among: NDArray[np.float32], scale: float = 1.0) -> _Found:
    """Where the strokes `letters` (H, W), made `scale` times as large, are among those of another frame,
    whatever there is besides them."""
    left, top, width, height = cv2.boundingRect(np.asarray(letters != 0, np.uint8))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    template = cv2.resize(
        letters[top : top + height, left : left + width], size, interpolation=cv2.INTER_LINEAR
    )
    down, across = MARGIN, among.shape[1] // 4
    wide = np.pad(among, ((down, down), (across, across)))
    if size[0] > wide.shape[1] or size[1] > wide.shape[0]:
        return _Found(0.0, scale, (0, 0), False, 1.0)
    mask = np.asarray(template != 0, np.float32) if scale == 1 else None
    alike = cv2.matchTemplate(wide, template, cv2.TM_CCORR_NORMED, mask=mask)
    _, _, _, (x, y) = cv2.minMaxLoc(np.where(np.isfinite(alike), alike, 0))
    lines = wide[y : y + size[1]]
    there = np.where(template, lines[:, x : x + size[0]], np.float32(0))
    strengths = max(1.0, float(np.linalg.norm(template))), max(1.0, float(np.linalg.norm(there)))
    similarity = float(np.vdot(template, there)) / (strengths[0] * strengths[1])
    shift = x - across - left, y - down - top
    return _Found(similarity, scale, shift, _begin(lines, x, size[0]), strengths[1] / strengths[0])


def _find_lines(letters: NDArray[np.float32], among: NDArray[np.float32]) -> _Found:
    """The same, but of two lines each for itself if they are not found together, and so how alike the less
    alike one is: a centred line moves as it grows, the other stays."""
    whole = _find(letters, among)
    row = None if whole.similarity >= SURELY_ALIKE else _row_between_lines(letters)
    if row is None:
        return whole
    below = np.arange(len(letters))[:, None] >= row
    lines = [np.where(below == is_lower, letters, np.float32(0)) for is_lower in (False, True)]
    upper, lower = (_find(line, among) for line in lines)
    if abs(upper.shift[1] - lower.shift[1]) >= MOVED:
        return replace(whole, similarity=0.0)
    worse = min(upper, lower, key=lambda line: line.similarity)
    farther = max(upper.shift, lower.shift, key=lambda shift: max(map(abs, shift)))
    return replace(worse, shift=farther, begins=upper.begins and lower.begins)


def _row_between_lines(letters: NDArray[np.float32]) -> int | None:
    """The row that parts two lines of strokes (H, W); None where there is but one."""
    _, top, _, height = cv2.boundingRect(np.asarray(letters != 0, np.uint8))
    energy = np.square(letters[top : top + height]).sum(axis=1)
    middle = slice(height * 3 // 10, height * 7 // 10)
    if energy[middle].size == 0 or energy[middle].min() > BETWEEN_LINES * energy.mean():
        return None
    return top + middle.start + int(energy[middle].argmin())


def _find_resized(letters: NDArray[np.float32], among: NDArray[np.float32]) -> _Found:
    """The same at whatever scale they are most alike, which half the pixels tell."""
    small, small_among = _halved(letters), _halved(among)
    alike = [_find(small, small_among, scale).similarity for scale in SCALES]
    return _find(letters, among, float(SCALES[int(np.argmax(alike))]))


def _halved(image: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.float32)


def _begin(lines: NDArray[np.float32], x: int, width: int) -> bool:
    """Whether these lines of strokes, `width` pixels wide, begin at column `x`."""
    written = float(np.abs(lines[:, x : x + width]).mean())
    before = lines[:, max(0, x - BEFORE) : max(0, x - 2)]
    return before.size == 0 or float(np.abs(before).mean()) < NOTHING * written
