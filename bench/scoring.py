"""Scores captions found against the ground truth: when they are on screen, and what they say."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gpu_ops.contract import GRID_HZ

TOLERANCE_S = 0.1
_SLACK = 1e-3
_SAME_CAPTION_IOU = 0.5

Item = Mapping[str, Any]  # start_s, end_s (exclusive), text


@dataclass(frozen=True)
class Score:
    """Sums over captions; adding two scores gives the micro-average of both."""

    expected: int = 0
    found: int = 0
    on_time: int = 0  # both ends within TOLERANCE_S
    within_a_sample: int = 0  # first and last grid index both off by at most one
    on_the_sample: int = 0  # first and last grid index both exact
    overlapping: int = 0  # matched with at least half of their joint time in common
    boundary_error_s: float = 0.0  # summed over both ends of the overlapping
    worst_error_s: float = 0.0
    edits: int = 0
    characters: int = 0
    exact: int = 0

    def __add__(self, other: Score) -> Score:
        sums: dict[str, Any] = {name: value + getattr(other, name) for name, value in vars(self).items()}
        sums["worst_error_s"] = max(self.worst_error_s, other.worst_error_s)
        return Score(**sums)

    def f1(self, hits: int) -> float:
        """F1 for a number of hits. With nothing to find, finding nothing is 1 and anything else 0."""
        if self.expected + self.found == 0:
            return 1.0
        return 2 * hits / (self.expected + self.found)

    @property
    def extents_f1(self) -> float:
        return self.f1(self.on_time)

    @property
    def character_error_rate(self) -> float | None:
        """Edits per expected character of the overlapping captions."""
        return self.edits / self.characters if self.characters else None

    @property
    def exact_rate(self) -> float | None:
        return self.exact / self.overlapping if self.overlapping else None

    @property
    def mean_error_s(self) -> float | None:
        return self.boundary_error_s / (2 * self.overlapping) if self.overlapping else None


@dataclass(frozen=True)
class Comparison:
    """A score and what it is made of: index pairs (expected, found), and what is left over on either side."""

    score: Score
    on_time: Sequence[tuple[int, int]] = ()
    overlapping: Sequence[tuple[int, int]] = ()
    wrong_text: Sequence[tuple[int, int]] = field(default=())


def compare(expected: Sequence[Item], found: Sequence[Item]) -> Comparison:
    """Match captions one to one and score them. Times in seconds after the first frame."""
    on_time = _most_pairs(
        len(expected),
        len(found),
        lambda e, f: all(
            abs(expected[e][end] - found[f][end]) <= TOLERANCE_S + _SLACK for end in ("start_s", "end_s")
        ),
    )
    samples = [_samples(item) for item in found]

    def off_by(samples_off: int) -> int:
        def close(e: int, f: int) -> bool:
            want = expected[e]["first_frame_10hz"], expected[e]["last_frame_10hz"]
            return all(abs(a - b) <= samples_off for a, b in zip(want, samples[f], strict=True))

        return len(_most_pairs(len(expected), len(found), close))

    overlapping = _by_overlap(expected, found)
    errors = [abs(expected[e][end] - found[f][end]) for e, f in overlapping for end in ("start_s", "end_s")]
    wanted = [normal(expected[e]["text"]) for e, _ in overlapping]
    read = [normal(found[f].get("text") or "") for _, f in overlapping]
    score = Score(
        expected=len(expected),
        found=len(found),
        on_time=len(on_time),
        within_a_sample=off_by(1),
        on_the_sample=off_by(0),
        overlapping=len(overlapping),
        boundary_error_s=sum(errors),
        worst_error_s=max(errors, default=0.0),
        edits=sum(edit_distance(a, b) for a, b in zip(wanted, read, strict=True)),
        characters=sum(map(len, wanted)),
        exact=sum(a == b for a, b in zip(wanted, read, strict=True)),
    )
    wrong = [pair for pair, a, b in zip(overlapping, wanted, read, strict=True) if a != b]
    return Comparison(score, on_time, overlapping, wrong)


def normal(text: str) -> str:
    """Text as it is compared: NFKC, without any white space."""
    return "".join(unicodedata.normalize("NFKC", text).split())


def edit_distance(a: str, b: str) -> int:
    """Levenshtein distance in characters."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            best = min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right))
            diagonal, row[j] = row[j], best
    return row[-1]


def _samples(item: Item) -> tuple[int, int]:
    """First and last grid index inside [start_s, end_s)."""
    first, beyond = (math.ceil(item[end] * GRID_HZ - 1e-6) for end in ("start_s", "end_s"))
    return first, beyond - 1


def _most_pairs(left: int, right: int, fits: Callable[[int, int], bool]) -> list[tuple[int, int]]:
    """A largest one-to-one matching, by augmenting paths (Kuhn's algorithm)."""
    choices = [[r for r in range(right) if fits(item, r)] for item in range(left)]
    partner: dict[int, int] = {}

    def place(item: int, tried: set[int]) -> bool:
        for r in choices[item]:
            if r in tried:
                continue
            tried.add(r)
            if r not in partner or place(partner[r], tried):
                partner[r] = item
                return True
        return False

    for item in range(left):
        place(item, set())
    return sorted((item, r) for r, item in partner.items())


def _by_overlap(expected: Sequence[Item], found: Sequence[Item]) -> list[tuple[int, int]]:
    """Pairs with at least half of their joint time in common, the most alike first."""
    ranked = sorted(
        ((_overlap(a, b), e, f) for e, a in enumerate(expected) for f, b in enumerate(found)), reverse=True
    )
    pairs: list[tuple[int, int]] = []
    for share, e, f in ranked:
        if share < _SAME_CAPTION_IOU:
            break
        if all(e != one and f != other for one, other in pairs):
            pairs.append((e, f))
    return pairs


def _overlap(a: Item, b: Item) -> float:
    """Intersection over union of two time spans."""
    shared = min(a["end_s"], b["end_s"]) - max(a["start_s"], b["start_s"])
    joint = max(a["end_s"], b["end_s"]) - min(a["start_s"], b["start_s"])
    return max(0.0, shared) / (joint or 1.0)
