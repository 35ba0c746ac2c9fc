"""Second thoughts about what was decoded, from distant frames and from the picture behind the letters.

What was taken for one caption may be more (see `runs`). A cut or a flash under a caption looks like a switch;
frames well to both sides of it show that it is none. And where the model is in two minds about a single step,
it matters whether the picture behind was cut there: if all but a few cells stayed as they were, it was the
letters. The letters' strokes tell, too (see `stroke_changes`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from gpu_ops.extents.corrections import Correction
from gpu_ops.extents.decode import Extent, PairEvidence
from gpu_ops.extents.labels import DIFFERENT, SAME
from gpu_ops.extents.letters import Seen
from gpu_ops.extents.model import Embeddings, PairModel, Probabilities
from gpu_ops.extents.runs import cuts_within
from gpu_ops.extents.stroke_changes import FRAMES, changed_letter, letters_stay

WITNESSES = 4  # pairs asked on each question
SAME_ABOVE = 0.75  # mean probability of "same" across a switch that shows it is false
LONGEST_FALSE_GAP = 3  # frames
DOUBTED_GAP = 0.7  # confidence under which a short gap may be a flash

# How far, in log-odds of "same", a step must fall below those around it to be a switch after all: on average,
# and the least of theirs above the most of its own. On drawn films switches fell by 3 and more, and nearly
# everything else by 1.3 at most. Where a thing passed behind letters in real footage it fell by 3 too, but
# "same" stayed at 1.3 and more, while at switches it fell to 0.6 at least.
DIP_DEPTH, DIP_CLEARANCE, DIP_BELOW = 1.4, 0.8, 1.0
DIP_MARGIN = 3  # frames at a run's ends, where fades dip too
# Probability of "same" of neighbours between which letters may change, and of those where letters that stay
# count for more.
NOT_DOUBTED, DOUBTED = 0.975, 0.3
SAME_ABOVE_AT_CUT = 0.3  # in place of SAME_ABOVE where the picture was cut
# A cut stirs the picture by so many times the frames around it, and so many luma levels more.
CUT_FACTOR, CUT_LEVELS = 2.0, 4.0


def look_again(
    model: PairModel,
    frames: Sequence[Seen],
    evidence: PairEvidence,
    stir: Sequence[float],
    extents: Sequence[Extent],
) -> list[Correction]:
    """Corrections to what was decoded of these frames, which are numbered from 0.

    Args:
        frames, evidence: what was decoded.
        stir: how much the picture behind changes in each of their pairs (see `picture_stir`).
        extents: decoded ones, in order.
    """
    embeddings = [frame.embedding for frame in frames]
    corrections: list[Correction] = []
    for extent in extents:
        if extent.state != "gap":
            start, end = extent.start_frame_index, extent.end_frame_index
            cuts = cuts_within(model, embeddings, evidence, start, end) or _dips(evidence, stir, start, end)
            cuts = [cut for cut in cuts if not _letters_stay(frames, cut, start, end)]
            corrections += cuts or _letter_changes(frames, evidence, stir, start, end)
    for left, right in _adjoining(extents):
        if _are_same(model, frames, evidence, stir, left, right):
            corrections.append(Correction(left.end_frame_index, right.start_frame_index - 1, SAME))
    return corrections


def picture_stir(
    before: Embeddings, after: Embeddings, cells: NDArray[np.uint8], later: NDArray[np.uint8]
) -> float:
    """How much the picture behind the letters changes from one frame to the next, in luma levels.

    Args:
        before, after: embeddings (C, h, w); their last channel says where letters are.
        cells, later: mean luma (h, w) of the two frames' cells.
    """
    behind = np.maximum(before[-1], after[-1]) < 0.3
    if behind.sum() <= behind.size // 8:
        behind = np.ones_like(behind)
    return float(np.median(np.abs(cells[behind].astype(np.int16) - later[behind])))


def _is_cut(stir: Sequence[float], pair: int) -> bool:
    around = [*stir[max(0, pair - 3) : pair], *stir[pair + 1 : pair + 4]]
    return stir[pair] > CUT_FACTOR * max(around, default=0.0) + CUT_LEVELS


def _letter_changes(
    frames: Sequence[Seen], evidence: PairEvidence, stir: Sequence[float], start: int, end: int
) -> list[Correction]:
    """Switches inside the run of frames `start` to `end` between captions that differ in a letter."""
    same = np.asarray(evidence.near)[:, SAME]
    alike: dict[int, float] = {}
    for pair in range(start + 1, end - 1):
        if same[pair] < NOT_DOUBTED and not _is_cut(stir, pair):
            likeness = changed_letter(frames[start : pair + 1], frames[pair + 1 : end + 1])
            if likeness is not None:
                alike[pair] = likeness
    # Of pairs in a row the one with the switch is least alike.
    switches = [
        pair
        for pair, likeness in alike.items()
        if likeness == min(alike.get(near, 1.0) for near in range(pair - FRAMES, pair + FRAMES + 1))
    ]
    return [Correction(pair, pair, DIFFERENT) for pair in switches]


def _letters_stay(frames: Sequence[Seen], cut: Correction, start: int, end: int) -> bool:
    """Whether a supposed switch inside the run of frames `start` to `end` is none."""
    after = cut.first_pair + 1
    return cut.label == DIFFERENT and letters_stay(frames[start:after], frames[after : end + 1])


def _dips(evidence: PairEvidence, stir: Sequence[float], start: int, end: int) -> list[Correction]:
    """Switches inside the run of frames `start` to `end`, where "same" dips alone and the picture behind does
    not stir."""
    near, two, three = (
        _log_odds(np.asarray(rows)[:, SAME])
        for rows in (evidence.near, evidence.two_apart, evidence.three_apart)
    )
    dips: list[Correction] = []
    for pair in range(start + DIP_MARGIN, end - DIP_MARGIN):
        across = np.array([near[pair], *two[pair - 1 : pair + 1], *three[pair - 2 : pair + 1]])
        beside = np.array([*near[pair - 2 : pair], two[pair - 2], *near[pair + 1 : pair + 3], two[pair + 1]])
        deep = beside.mean() - across.mean() > DIP_DEPTH and beside.min() - across.max() > DIP_CLEARANCE
        if deep and across.mean() < DIP_BELOW and not _is_cut(stir, pair):
            dips.append(Correction(pair, pair, DIFFERENT))
    return dips


def _adjoining(extents: Sequence[Extent]) -> Iterator[tuple[Extent, Extent]]:
    """Captions that follow each other, at once or after a gap that may be a flash."""
    for place, left in enumerate(extents[:-1]):
        right = extents[place + 1]
        if right.state == "gap" and place + 2 < len(extents) and _doubtful_gap(right):
            right = extents[place + 2]
        if left.state != "gap" and right.state != "gap":
            yield left, right


def _doubtful_gap(gap: Extent) -> bool:
    length = gap.end_frame_index - gap.start_frame_index + 1
    return length <= LONGEST_FALSE_GAP and gap.confidence < DOUBTED_GAP


def _are_same(
    model: PairModel,
    frames: Sequence[Seen],
    evidence: PairEvidence,
    stir: Sequence[float],
    left: Extent,
    right: Extent,
) -> bool:
    """Whether two extents that adjoin are one caption."""
    last, first = left.end_frame_index, right.start_frame_index
    before = frames[left.start_frame_index : last + 1]
    after = frames[first : right.end_frame_index + 1]
    is_cut = _is_cut(stir, last)
    if _same_across(model, before, after) > (SAME_ABOVE_AT_CUT if is_cut else SAME_ABOVE):
        return is_cut or changed_letter(before, after) is None
    doubted = first == last + 1 and evidence.near[last, SAME] > DOUBTED
    return bool(doubted) and letters_stay(before, after)


def _compared(model: PairModel, a: Sequence[Embeddings], b: Sequence[Embeddings]) -> Probabilities:
    return model.compare(np.stack(a), np.stack(b))


def _log_odds(probabilities: NDArray[np.floating]) -> NDArray[np.floating]:
    clipped = np.clip(probabilities, 0.005, 0.995)
    return np.log(clipped / (1 - clipped))


def _same_across(model: PairModel, before: Sequence[Seen], after: Sequence[Seen]) -> float:
    """Mean probability of "same" between frames before a switch and frames after it."""
    # The frames at the switch itself are what misled.
    skipped = min(2, (min(len(before), len(after)) - 1) // 2)
    reach = min(WITNESSES, len(before) - skipped, len(after) - skipped)
    earlier = [before[-1 - skipped - step].embedding for step in range(reach)]
    later = [after[skipped + step].embedding for step in range(reach)]
    both = _compared(model, earlier + later, later + earlier)
    return float(both[:, SAME].mean())
