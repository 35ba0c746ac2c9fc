"""One caption made of the short pieces that a caption in motion is decoded in. NumPy only."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from gpu_ops.extents.decode import Extent

# Frames of a piece that may be a step in a caption's growing, even if it is the only one, and of one too long
# to be part of a movement.
LONGEST_STEP, LONE_STEP, STEADY = 10, 5, 4
UNSURE = 0.5  # confidence of a piece
FULL = 0.85  # of the letters of the fullest piece


@dataclass(frozen=True)
class Link:
    """The extents of grid frames `first` to `at` - 1 and `at` to `last` show the same letters in motion.

    `similarity` of these letters is 0-1. `adds` is 1 if the later extent has more letters, -1 if it has
    fewer, 0 if they only move. One that is not `sure` needs another beside it.
    """

    first: int
    at: int
    last: int
    similarity: float
    adds: Literal[-1, 0, 1]
    sure: bool

    def moved(self, by: int) -> Link:
        """The same, of frames numbered from `by` less."""
        return replace(self, first=self.first + by, at=self.at + by, last=self.last + by)


@dataclass(frozen=True)
class Rest:
    """Grid frames `first` to `last` (inclusive) that show all of a moving caption, unmoved."""

    first: int
    last: int


def length(extent: Extent) -> int:
    """Grid frames of the extent."""
    return extent.end_frame_index - extent.start_frame_index + 1


def is_restless(piece: Extent) -> bool:
    """Whether a caption may never stay as it is in these frames."""
    unsure = piece.state == "issue" or piece.confidence < UNSURE
    return length(piece) == 1 or (unsure and length(piece) <= LONGEST_STEP)


def cut_at(extents: Sequence[Extent], frames: Iterable[int]) -> list[Extent]:
    """The extents, those that `frames` lie within cut before them."""
    cuts = sorted(frames)
    result: list[Extent] = []
    for extent in extents:
        first, last = extent.start_frame_index, extent.end_frame_index
        edges = [first, *(at for at in cuts if first < at <= last), last + 1]
        result += [
            replace(extent, start_frame_index=start, end_frame_index=end - 1)
            for start, end in pairwise(edges)
        ]
    return result


def joined(
    extents: Sequence[Extent], links: Iterable[Link], amounts: Sequence[float]
) -> tuple[list[Extent], list[Rest]]:
    """The extents with those that are linked made one, and where each of these is at rest.

    Args:
        extents: partition the grid.
        links: found between these, or between others that may have begun elsewhere.
        amounts: how many letters each grid frame shows, in any unit.
    """
    result: list[Extent] = []
    rests: list[Rest] = []
    for pieces in _captions(extents, _believed(links, extents)):
        if len(pieces) == 1:
            result += pieces
            continue
        main = _main(pieces, amounts)
        first, last = pieces[0].start_frame_index, pieces[-1].end_frame_index
        rests.append(Rest(main.start_frame_index, main.end_frame_index))
        result.append(replace(main, start_frame_index=first, end_frame_index=last))
    return result, rests


def _believed(links: Iterable[Link], extents: Sequence[Extent]) -> dict[int, Link]:
    """The links between these extents, by where they are, less those that may be chance: two captions may
    well have letters in common, three in a row seldom do."""
    starts = [extent.start_frame_index for extent in extents]
    linked = _at_starts(links, starts)

    def is_believed(link: Link) -> bool:
        place = bisect_left(starts, link.at)
        step = extents[place - 1 if link.adds > 0 else place]
        if link.adds == 0 or (link.sure and (length(step) <= LONE_STEP or is_restless(step))):
            return True
        beside = [linked.get(at) for at in (*starts[place - 1 : place], *starts[place + 1 : place + 2])]
        return any(other is not None and other.adds == link.adds for other in beside)

    return {at: link for at, link in linked.items() if is_believed(link)}


def _at_starts(links: Iterable[Link], starts: Sequence[int]) -> dict[int, Link]:
    """The links by the one of `starts` they are at, or next to: extents decoded anew, among more frames, may
    begin a frame sooner or later."""
    known = set(starts)
    linked: dict[int, Link] = {}
    for link in sorted(links, key=lambda link: link.at not in known):
        near = (at for at in (link.at, link.at - 1, link.at + 1) if link.first < at <= link.last)
        start = next((at for at in near if at in known), None)
        if start is not None:
            linked.setdefault(start, replace(link, at=start))
    return linked


def _captions(extents: Sequence[Extent], linked: Mapping[int, Link]) -> list[list[Extent]]:
    """The extents, the pieces of one caption together."""
    runs: list[list[Extent]] = []
    for extent in extents:
        if runs and extent.state != "gap" != runs[-1][-1].state and extent.start_frame_index in linked:
            runs[-1].append(extent)
        else:
            runs.append([extent])
    return [part for run in runs for part in _parted(run, linked)]


def _parted(run: list[Extent], linked: Mapping[int, Link]) -> list[list[Extent]]:
    """Two pieces that are no mere steps are two captions: what lies between belongs to the one it resembles
    more."""
    steady = [at for at in range(len(run)) if _is_steady(run, at, linked)]
    parts: list[list[Extent]] = []
    first = 0
    for one, other in pairwise(steady):
        cut = min(range(one + 1, other + 1), key=lambda at: linked[run[at].start_frame_index].similarity)
        parts.append(run[first:cut])
        first = cut
    return [*parts, run[first:]]


def _is_steady(run: list[Extent], at: int, linked: Mapping[int, Link]) -> bool:
    grows_on = at + 1 < len(run) and linked[run[at + 1].start_frame_index].adds > 0
    shrank = at > 0 and linked[run[at].start_frame_index].adds < 0
    return run[at].state == "predicted" and length(run[at]) >= STEADY and not grows_on and not shrank


def _main(pieces: Sequence[Extent], amounts: Sequence[float]) -> Extent:
    """The longest of the pieces that show the whole caption."""
    believed = [piece for piece in pieces if piece.state == "predicted"] or pieces
    shown = [float(np.median(amounts[p.start_frame_index : p.end_frame_index + 1])) for p in believed]
    whole = [piece for piece, amount in zip(believed, shown, strict=True) if amount >= FULL * max(shown)]
    return max(whole, key=length)
