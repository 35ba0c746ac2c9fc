"""Compares distant frames where neighbours can mislead: hidden switches and false ones.

Two captions that differ in one character, one right after the other, look alike from one frame to the next;
the two ends of what was taken for one caption do not. A cut or a flash under a caption looks like a switch;
frames well to both sides of it show that it is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from gpu_ops.extents.decode import Extent, PairEvidence
from gpu_ops.extents.labels import DIFFERENT, LABELS, SAME
from gpu_ops.extents.model import Embeddings, PairModel, Probabilities

WITNESSES = 4  # pairs asked on each question
SHORTEST_WITH_SWITCH = 6  # frames
SWITCH_ABOVE = 0.65  # mean probability of "different" between the ends that shows a hidden switch
SAME_ABOVE = 0.75  # mean probability of "same" across a switch that shows it is false
LONGEST_FALSE_GAP = 3  # frames
DOUBTED_GAP = 0.7  # confidence under which a short gap may be a flash
CORRECTED = 0.98


@dataclass(frozen=True)
class Correction:
    """The pairs `first_pair` to `last_pair` (inclusive; pair i is frames i and i + 1) have this label after
    all."""

    first_pair: int
    last_pair: int
    label: int


def look_again(
    model: PairModel, embeddings: Sequence[Embeddings], offset: int, extents: Sequence[Extent]
) -> list[Correction]:
    """Corrections to what was decoded.

    Args:
        embeddings: of the frames from `offset` on, one (C, h, w) each.
        extents: decoded ones, in order, all of whose frames have embeddings.
    """
    corrections: list[Correction] = []
    for extent in extents:
        if extent.state != "gap":
            own = embeddings[extent.start_frame_index - offset : extent.end_frame_index + 1 - offset]
            switches = _hidden_switches(model, own)
            corrections += [
                Correction(extent.start_frame_index + at, extent.start_frame_index + at, DIFFERENT)
                for at in switches
            ]
    for place, left in enumerate(extents[:-1]):
        right = extents[place + 1]
        if right.state == "gap" and place + 2 < len(extents) and _doubtful_gap(right):
            right = extents[place + 2]
        if left.state == "gap" or right.state == "gap":
            continue
        if _same_across(model, embeddings, offset, left, right):
            corrections.append(Correction(left.end_frame_index, right.start_frame_index - 1, SAME))
    return corrections


def corrected(evidence: PairEvidence, corrections: Iterable[Correction]) -> PairEvidence:
    """The evidence with the corrected pairs settled and the wider pairs across them silenced."""
    near, two, three = (
        np.array(rows, np.float32) for rows in (evidence.near, evidence.two_apart, evidence.three_apart)
    )
    for correction in corrections:
        first, end = correction.first_pair, correction.last_pair + 1
        near[first:end] = (1 - CORRECTED) / (len(LABELS) - 1)
        near[first:end, correction.label] = CORRECTED
        two[max(0, first - 1) : end] = 1 / len(LABELS)
        three[max(0, first - 2) : end] = 1 / len(LABELS)
    return PairEvidence(near, two, three)


def _doubtful_gap(gap: Extent) -> bool:
    length = gap.end_frame_index - gap.start_frame_index + 1
    return length <= LONGEST_FALSE_GAP and gap.confidence < DOUBTED_GAP


def _compared(model: PairModel, a: Sequence[Embeddings], b: Sequence[Embeddings]) -> Probabilities:
    return model.compare(np.stack(a), np.stack(b))


def _hidden_switches(model: PairModel, frames: Sequence[Embeddings]) -> list[int]:
    """Pairs (numbers inside `frames`) at which a run taken for one caption switches to another."""
    count = len(frames)
    if count < SHORTEST_WITH_SWITCH:
        return []
    witnesses = min(WITNESSES, count // 3)
    starts, ends = frames[1 : 1 + witnesses], frames[-1 - witnesses : -1]
    if _compared(model, starts, ends)[:, DIFFERENT].mean() < SWITCH_ABOVE:
        return []
    like_first = _log_same(_compared(model, [frames[1]] * count, frames))
    like_last = _log_same(_compared(model, frames, [frames[-2]] * count))
    balance = np.cumsum(like_first - like_last)
    at = int(np.argmax(balance[:-1]))
    left = _hidden_switches(model, frames[: at + 1])
    right = _hidden_switches(model, frames[at + 1 :])
    return [*left, at, *(at + 1 + place for place in right)]


def _log_same(probabilities: Probabilities) -> Probabilities:
    return np.log(np.clip(probabilities[:, SAME], 0.02, 0.98))


def _same_across(
    model: PairModel, embeddings: Sequence[Embeddings], offset: int, left: Extent, right: Extent
) -> bool:
    left_length = left.end_frame_index - left.start_frame_index + 1
    right_length = right.end_frame_index - right.start_frame_index + 1
    # The frames at the switch itself are what misled.
    skipped = min(2, (min(left_length, right_length) - 1) // 2)
    reach = min(WITNESSES, left_length - skipped, right_length - skipped)
    before = [embeddings[left.end_frame_index - offset - skipped - step] for step in range(reach)]
    after = [embeddings[right.start_frame_index - offset + skipped + step] for step in range(reach)]
    both = _compared(model, before + after, after + before)
    return float(both[:, SAME].mean()) > SAME_ABOVE
