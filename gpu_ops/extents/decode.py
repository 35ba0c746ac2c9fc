"""From pair probabilities to extents, over the whole sequence at once.

A hidden Markov model whose hidden step from one frame to the next is one of the five labels. Neighbouring
frames are weak witnesses when a caption fades or the picture is cut, so pairs two and three frames apart
speak too: the state remembers the last three steps, which says what those wider pairs ought to show. The best
path is found by Viterbi's algorithm (1967). NumPy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gpu_ops.extents.labels import DIFFERENT, EMPTY_EMPTY, EMPTY_VALID, SAME, VALID_EMPTY

State = Literal["predicted", "gap", "issue"]
Floats = NDArray[np.floating]

# How much pairs one, two and three frames apart count. They are not independent, so they do not count fully.
STEP_WEIGHTS = (1.0, 0.6, 0.6)
FLOOR = 1e-3  # no single pair may forbid a path
CHANGE_COST = 1.5  # beginning, ending or switching, in nats
SHORT_CAPTION_COSTS = (8.0, 6.0, 4.0)  # more, for a caption of one, two, three frames
SHORT_GAP_COSTS = (2.0, 0.5)  # more, for a gap of one, two frames
UNBELIEVED = 0.3  # confidence under which a short caption is an issue: no such one was right on drawn films
UNBELIEVED_FRAMES = 9  # a longer one stands, for much of it is sure whatever its ends
ISSUE_BELOW = 0.35  # mean probability of the chosen labels under which an extent explains nothing

EITHER = 5  # column for "same or different": a caption before and after a gap may be the same one
_FOLLOWS = {
    SAME: (SAME, DIFFERENT, VALID_EMPTY),
    DIFFERENT: (SAME, DIFFERENT, VALID_EMPTY),
    EMPTY_VALID: (SAME, DIFFERENT, VALID_EMPTY),
    EMPTY_EMPTY: (EMPTY_EMPTY, EMPTY_VALID),
    VALID_EMPTY: (EMPTY_EMPTY, EMPTY_VALID),
}
_BEGINS_EMPTY = frozenset((EMPTY_EMPTY, EMPTY_VALID))
_ENDS_EMPTY = frozenset((EMPTY_EMPTY, VALID_EMPTY))


@dataclass(frozen=True)
class Extent:
    """Frames `start_frame_index` to `end_frame_index` INCLUSIVE in one state; confidence 0-1 that it is
    right."""

    start_frame_index: int
    end_frame_index: int
    state: State
    confidence: float


@dataclass(frozen=True)
class PairEvidence:
    """Probabilities (rows, 5) of the labels of frames (i, i+1), (i, i+2) and (i, i+3), row i. Of n frames,
    `near` has n - 1 rows; the wider ones have n - 2 and n - 3, or none at all if they were not looked at."""

    near: Floats
    two_apart: Floats
    three_apart: Floats


def composed_label(steps: Sequence[int]) -> int:
    """What a pair of frames shows if the steps between them are these labels (EITHER: captions around a
    gap)."""
    empty_first, empty_last = steps[0] in _BEGINS_EMPTY, steps[-1] in _ENDS_EMPTY
    if empty_first:
        return EMPTY_EMPTY if empty_last else EMPTY_VALID
    if empty_last:
        return VALID_EMPTY
    if all(step == SAME for step in steps):
        return SAME
    return EITHER if VALID_EMPTY in steps else DIFFERENT


def _price(steps: Sequence[int]) -> float:
    """Cost in nats of the last of these steps, given the ones before it."""
    now = steps[-1]
    if now in (SAME, EMPTY_EMPTY):
        return 0.0
    price = CHANGE_COST
    for length, before in enumerate(reversed(steps[:-1]), start=1):
        if before in (EMPTY_VALID, DIFFERENT) and length <= len(SHORT_CAPTION_COSTS):
            price += SHORT_CAPTION_COSTS[length - 1]
        if before == VALID_EMPTY and length <= len(SHORT_GAP_COSTS):
            price += SHORT_GAP_COSTS[length - 1]
        if before not in (SAME, EMPTY_EMPTY):
            break
    return price


def _paths(length: int) -> list[tuple[int, ...]]:
    """All sequences of `length` steps in which each can follow the one before."""
    paths: list[tuple[int, ...]] = [(label,) for label in range(5)]
    for _ in range(length - 1):
        paths = [(*path, label) for path in paths for label in _FOLLOWS[path[-1]]]
    return paths


# A state is the last three steps: as many as the widest pair spans and the shortest captions are priced by.
MEMORY = 3
_STATES = _paths(MEMORY)
_MOVES = _paths(MEMORY + 1)
_MOVE_FROM = np.array([_STATES.index(move[:-1]) for move in _MOVES])
_MOVE_NEAR = np.array([move[-1] for move in _MOVES])
_MOVE_TWO = np.array([composed_label(move[-2:]) for move in _MOVES])
_MOVE_THREE = np.array([composed_label(move[-3:]) for move in _MOVES])
_MOVE_PRICE = np.array([_price(move) for move in _MOVES])
_INCOMING = np.full((len(_STATES), 3), -1)
for _place, _state in enumerate(_STATES):
    _into = [number for number, move in enumerate(_MOVES) if move[1:] == _state]
    _INCOMING[_place, : len(_into)] = _into


def _log_with_either(probabilities: Floats, weight: float) -> NDArray[np.float64]:
    """Weighted log probabilities (rows, 6): the five labels and EITHER."""
    logs = np.log(np.clip(np.asarray(probabilities, np.float64), FLOOR, 1.0)) * weight
    either = np.maximum(logs[:, SAME], logs[:, DIFFERENT])
    return np.concatenate([logs, either[:, None]], axis=1)


def best_steps(evidence: PairEvidence) -> NDArray[np.int8]:
    """The most likely label of every step (n - 1,) of n frames, each able to follow the one before."""
    near = _log_with_either(evidence.near, STEP_WEIGHTS[0])
    two = _log_with_either(evidence.two_apart, STEP_WEIGHTS[1])
    three = _log_with_either(evidence.three_apart, STEP_WEIGHTS[2])
    count = len(near)
    if count <= MEMORY:
        return _best_of_few(near, two, three)
    scores = np.array([_score_of(state, near, two, three) for state in _STATES])
    gains = near[MEMORY:, _MOVE_NEAR] - _MOVE_PRICE
    if len(two):
        gains += two[MEMORY - 1 :, _MOVE_TWO]
    if len(three):
        gains += three[MEMORY - 2 :, _MOVE_THREE]
    came_from = np.zeros((count, len(_STATES)), np.int8)
    rows = np.arange(len(_STATES))
    impossible = np.where(_INCOMING < 0, -np.inf, 0.0)
    for step in range(MEMORY, count):
        through = scores[_MOVE_FROM] + gains[step - MEMORY]
        candidates = through[_INCOMING] + impossible
        pick = candidates.argmax(axis=1)
        scores = candidates[rows, pick]
        came_from[step] = _MOVE_FROM[_INCOMING[rows, pick]]
    steps = np.zeros(count, np.int8)
    state = int(scores.argmax())
    for step in range(count - 1, MEMORY - 1, -1):
        steps[step] = _STATES[state][-1]
        state = int(came_from[step, state])
    steps[:MEMORY] = _STATES[state]
    return steps


def _best_of_few(near: Floats, two: Floats, three: Floats) -> NDArray[np.int8]:
    """The best path of at most MEMORY steps, by trying all."""
    if len(near) == 0:
        return np.zeros(0, np.int8)
    best = max(_paths(len(near)), key=lambda path: _score_of(path, near, two, three))
    return np.array(best, np.int8)


def _score_of(path: Sequence[int], near: Floats, two: Floats, three: Floats) -> float:
    """Score of a path that begins with the first step."""
    score = 0.0
    for step, label in enumerate(path):
        # What came before the video is unknown, so nothing at its start counts as short.
        score += float(near[step, label]) - _price(path[: step + 1])
        if step >= 1 and len(two):
            score += float(two[step - 1, composed_label(path[step - 1 : step + 1])])
        if step >= 2 and len(three):
            score += float(three[step - 2, composed_label(path[step - 2 : step + 1])])
    return score


def extents_of_steps(steps: NDArray[np.int8], evidence: PairEvidence) -> list[Extent]:
    """Cut the n frames between n - 1 steps into extents, in order and without holes."""
    starts = [0, *(int(step) + 1 for step in np.flatnonzero((steps != SAME) & (steps != EMPTY_EMPTY)))]
    ends = [start - 1 for start in starts[1:]] + [len(steps)]
    chosen = np.asarray(evidence.near)[np.arange(len(steps)), steps]
    extents: list[Extent] = []
    for start, end in zip(starts, ends, strict=True):
        empty = steps[start] in _BEGINS_EMPTY if start < len(steps) else steps[start - 1] in _ENDS_EMPTY
        sides = [
            _change_confidence(steps, evidence, step) for step in (start - 1, end) if 0 <= step < len(steps)
        ]
        length = end - start
        inside = float(chosen[start:end].mean()) if length else 1.0
        confidence = min([inside, *sides])
        mean = (inside * length + sum(sides)) / (length + len(sides))
        state: State = "gap" if empty else "predicted"
        doubted = not empty and confidence < UNBELIEVED and length < UNBELIEVED_FRAMES
        if mean < ISSUE_BELOW or doubted:
            state = "issue"
        extents.append(Extent(start, end, state, round(confidence, 4)))
    return extents


def _change_confidence(steps: NDArray[np.int8], evidence: PairEvidence, step: int) -> float:
    """How sure the change at this step is: a fade may be clear only from the frames around it."""
    near = float(evidence.near[step, steps[step]])
    if not 0 < step < len(steps) - 1 or len(evidence.three_apart) == 0:
        return near
    label = composed_label([int(label) for label in steps[step - 1 : step + 2]])
    return near if label == EITHER else max(near, float(evidence.three_apart[step - 1, label]))


def decode(evidence: PairEvidence) -> list[Extent]:
    """Extents that partition the n >= 2 frames this evidence speaks of, the most likely ones over the whole
    sequence."""
    return extents_of_steps(best_steps(evidence), evidence)


def single_frame(same_as_itself: Floats) -> list[Extent]:
    """The extent of a one-frame video, from the probabilities (5,) of the pair of that frame with itself."""
    shown, empty = float(same_as_itself[SAME]), float(same_as_itself[EMPTY_EMPTY])
    return [Extent(0, 0, "predicted" if shown > empty else "gap", round(max(shown, empty), 4))]
