"""Whether a run of frames that passes for one caption shows one caption all along.

From frame to frame a slow change looks like none: one caption fades out while the next fades in, or a caption
fades out over grass that looks like letters itself. So the frames of a run are compared with the one of them
that shows the most letters, however far away. Where they do not show its caption, the run is cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpu_ops.extents.corrections import Correction
from gpu_ops.extents.decode import STEP_WEIGHTS, PairEvidence
from gpu_ops.extents.labels import DIFFERENT, EMPTY_EMPTY, EMPTY_VALID, REVERSED, SAME, VALID_EMPTY
from gpu_ops.extents.model import Embeddings, PairModel, Probabilities
from gpu_ops.extents.refine import best_parts, log_of

SHORTEST = 6  # frames of a run that may be more than one caption
STRIDE = 3  # frames from one that is looked at to the next
UNLIKE_BELOW = 0.3  # probability of "same" that speaks against one caption
DIFFERENT_ABOVE = 0.65  # probability of "different" that does
SHORTEST_UNLIKE = 3  # frames that do not show the caption
ANOTHER_ABOVE = 0.4  # mean probability of "different" that shows another caption, not none
CAPTION_ABOVE = 0.9  # mean probability of "same" between frames that surely show a caption
SHORTEST_EMPTY = 6  # frames without the caption at a run's end; fewer may be a fade
AROUND = 2  # frames on either side that speak with one
FADE_REACH = 3  # frames by which the faint end of a fade may be taken for nothing
FLOOR = 1e-3


@dataclass(frozen=True)
class _Run:
    """Frames `start` to `end` (inclusive) of `embeddings`, to which `evidence` belongs."""

    model: PairModel
    embeddings: Sequence[Embeddings]
    evidence: PairEvidence
    start: int
    end: int

    def between(self, start: int, end: int) -> _Run:
        return _Run(self.model, self.embeddings, self.evidence, start, end)

    def around(self, frame: int) -> range:
        return range(max(self.start, frame - AROUND), min(self.end, frame + AROUND) + 1)

    def fullest(self) -> int:
        """The frame with the most letters."""
        return max(
            range(self.start, self.end + 1), key=lambda at: float(self.embeddings[at][-1].sum(dtype=float))
        )

    def compared(self, with_frame: int, frames: Sequence[int]) -> Probabilities:
        """Labels (N, 5) of the pairs (with_frame, frame), asked in both directions."""
        one = np.stack([self.embeddings[with_frame]] * len(frames))
        other = np.stack([self.embeddings[at] for at in frames])
        both = self.model.compare(one, other) + self.model.compare(other, one)[:, REVERSED]
        return both / np.float32(2)


def cuts_within(
    model: PairModel, embeddings: Sequence[Embeddings], evidence: PairEvidence, start: int, end: int
) -> list[Correction]:
    """Corrections that cut the run of frames `start` to `end` (inclusive), decoded as one caption, into what
    it shows; none if that is one caption.

    Args:
        embeddings: of frames 0 to n - 1, one (C, h, w) each.
        evidence: on the same frames.
    """
    return _cuts(_Run(model, embeddings, evidence, start, end))


def _cuts(run: _Run) -> list[Correction]:
    if run.end - run.start + 1 < SHORTEST:
        return []
    core = run.fullest()
    return [*_cuts_before(run, core), *_cuts_after(run, core)]


def _cuts_after(run: _Run, core: int) -> list[Correction]:
    unlike = _unlike(run, core, [*range(core + STRIDE, run.end, STRIDE), run.end])
    if unlike is None:
        return []
    other = unlike.fullest()
    if _is_another(run, core, other, unlike):
        changes = _changes(run, core, other)
        return [*_switches(changes), *_cuts(run.between(changes[-1][1] + 1, run.end))]
    if unlike.end < run.end or unlike.end - unlike.start + 1 < SHORTEST_EMPTY:
        return []
    left = _last_like(run, core, range(core, other + 1))
    left = _turn(run, left - 1, min(left + FADE_REACH, run.end - 1))
    return [Correction(left, left, VALID_EMPTY), *_steps(left + 1, run.end - 1, EMPTY_EMPTY)]


def _cuts_before(run: _Run, core: int) -> list[Correction]:
    unlike = _unlike(run, core, [*range(core - STRIDE, run.start, -STRIDE), run.start])
    if unlike is None:
        return []
    other = unlike.fullest()
    if _is_another(run, core, other, unlike):
        changes = _changes(run, other, core)
        return [*_cuts(run.between(run.start, changes[0][0])), *_switches(changes)]
    if unlike.start > run.start or unlike.end - unlike.start + 1 < SHORTEST_EMPTY:
        return []
    entered = _last_like(run, core, range(core, other - 1, -1)) - 1
    entered = _turn(run, max(run.start, entered - FADE_REACH), entered + 1)
    return [*_steps(run.start, entered - 1, EMPTY_EMPTY), Correction(entered, entered, EMPTY_VALID)]


def _unlike(run: _Run, core: int, frames: Sequence[int]) -> _Run | None:
    """The first stretch of `frames`, seen from `core` outwards, that do not show its caption."""
    if frames[0] == core:
        return None
    labels = run.compared(core, frames)
    unlike = (labels[:, SAME] < UNLIKE_BELOW) | (labels[:, DIFFERENT] > DIFFERENT_ABOVE)
    first = 0
    while first < len(frames):
        last = first
        while last < len(frames) and unlike[last]:
            last += 1
        if last > first:
            low, high = sorted((frames[first], frames[last - 1]))
            if high - low + 1 >= SHORTEST_UNLIKE:
                return run.between(low, high)
        first = last + 1
    return None


def _is_another(run: _Run, core: int, other: int, unlike: _Run) -> bool:
    """Whether `other`, of the frames `unlike` the core, shows another caption."""
    if _is_caption(other, unlike):
        return True
    labels = run.compared(core, unlike.around(other)).mean(axis=0)
    return bool(
        labels[DIFFERENT] >= ANOTHER_ABOVE and labels[DIFFERENT] > labels[VALID_EMPTY] + labels[EMPTY_VALID]
    )


def _is_caption(frame: int, among: _Run) -> bool:
    """Whether the frame surely shows a caption: what merely looks like one seldom looks so in every frame."""
    return float(among.compared(frame, among.around(frame))[:, SAME].mean()) >= CAPTION_ABOVE


def _changes(run: _Run, a: int, b: int) -> list[tuple[int, int]]:
    """The changes (see `_change`) from the caption of frame `a` to that of the later frame `b`, more than one
    where a short caption lies between."""
    left, entered = _change(run, a, b)
    between = run.between(left + 1, entered)
    if entered - left >= SHORTEST_EMPTY:
        short = between.fullest()
        if a < short < b and _is_caption(short, between):
            return [*_changes(run, a, short), *_changes(run, short, b)]
    return [(left, entered)]


def _change(run: _Run, a: int, b: int) -> tuple[int, int]:
    """The pair that leaves the caption of frame `a` and the one that enters that of the later frame `b`; one
    and the same where nothing lies between."""
    inner = range(a + 1, b)
    if not inner:
        return a, a
    from_a = run.compared(a, inner)
    to_b = run.compared(b, inner)[:, REVERSED]
    empty = (log_of(from_a, VALID_EMPTY) + log_of(to_b, EMPTY_VALID)) / 2
    parts = best_parts(log_of(from_a, SAME, EMPTY_EMPTY), empty, log_of(to_b, SAME, EMPTY_EMPTY))
    left, entered = (a + first for first in parts)
    if left == entered:
        return left, left
    middle = (left + entered) // 2
    leaves = _turn(run, max(a, left - 1), max(left, min(left + FADE_REACH, middle)))
    enters = _turn(run, min(entered, max(entered - FADE_REACH, middle + 1)), min(entered + 1, b - 1))
    return leaves, max(leaves + 1, enters)


def _last_like(run: _Run, core: int, frames: range) -> int:
    """The last of `frames`, which lead away from `core`, that shows its caption."""
    same = np.clip(run.compared(core, frames)[:, [SAME, EMPTY_EMPTY]].sum(axis=1), FLOOR, 1 - FLOOR)
    return frames[int(np.cumsum(np.log(same / (1 - same))).argmax())]


def _turn(run: _Run, first: int, last: int) -> int:
    """The pair, of `first` to `last`, around which neighbouring frames change most."""
    return max(range(max(run.start, first), last + 1), key=lambda pair: _stir(run.evidence, pair))


def _stir(evidence: PairEvidence, pair: int) -> float:
    """Log-odds, summed over the pairs of frames that this step lies between, that they show a change."""
    rows = (evidence.near, evidence.two_apart, evidence.three_apart)
    stir = 0.0
    for apart, (weight, labels) in enumerate(zip(STEP_WEIGHTS, rows, strict=True), 1):
        across = np.asarray(labels)[max(0, pair - apart + 1) : pair + 1]
        unchanged = np.clip(across[:, [SAME, EMPTY_EMPTY]].sum(axis=1), FLOOR, 1 - FLOOR)
        stir += weight * float(np.log((1 - unchanged) / unchanged).sum())
    return stir


def _switches(changes: Sequence[tuple[int, int]]) -> list[Correction]:
    corrections: list[Correction] = []
    for left, entered in changes:
        if left == entered:
            corrections.append(Correction(left, left, DIFFERENT))
        else:
            corrections.append(Correction(left, left, VALID_EMPTY))
            corrections += _steps(left + 1, entered - 1, EMPTY_EMPTY)
            corrections.append(Correction(entered, entered, EMPTY_VALID))
    return corrections


def _steps(first: int, last: int, label: int) -> list[Correction]:
    return [Correction(first, last, label)] if first <= last else []
