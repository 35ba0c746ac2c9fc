"""What neighbouring frames hide, and distant ones show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from gpu_ops.extents.corrections import Correction
from gpu_ops.extents.decode import PairEvidence
from gpu_ops.extents.labels import DIFFERENT, EMPTY_EMPTY, EMPTY_VALID, SAME, VALID_EMPTY
from gpu_ops.extents.model import Embeddings, Probabilities
from gpu_ops.extents.runs import cuts_within
from tests.gpu_ops.extents.plain_model import PlainModel

GRASS = -1  # looks like letters to its neighbours, and like nothing beside letters


class FramesModel(PlainModel):
    """Embeddings are (caption, how much of it is there); compared by caption."""

    def compare(self, a: Embeddings, b: Embeddings) -> Probabilities:
        pairs = zip(a[:, 0, 0, 0], b[:, 0, 0, 0], strict=True)
        return np.stack([self._labels(int(left), int(right)) for left, right in pairs])

    def _labels(self, left: int, right: int) -> NDArray[np.float32]:
        if left == right:
            certain = {0: EMPTY_EMPTY}.get(left, SAME)
            return _sure(certain, 0.85 if left == GRASS else 0.97)
        if left > 0 and right > 0:
            return _sure(DIFFERENT)
        return _sure(VALID_EMPTY if left > 0 else EMPTY_VALID if right > 0 else EMPTY_EMPTY)


def _sure(label: int, probability: float = 0.97) -> NDArray[np.float32]:
    labels = np.full(5, (1 - probability) / 4, np.float32)
    labels[label] = probability
    return labels


def embeddings(captions: Sequence[int]) -> list[Embeddings]:
    amount = {0: 0.0, GRASS: 0.3}
    return [np.array([c, amount.get(c, 0.8)], np.float16).reshape(2, 1, 1) for c in captions]


def blind_evidence(captions: Sequence[int]) -> PairEvidence:
    """Neighbours look the same all along, and only a little less so where something changes."""

    def rows(apart: int) -> NDArray[np.float32]:
        table = [
            _sure(SAME, 0.99 if len(set(captions[at : at + apart + 1])) == 1 else 0.8)
            for at in range(len(captions) - apart)
        ]
        return np.stack(table)

    return PairEvidence(rows(1), rows(2), rows(3))


def cuts(captions: Sequence[int]) -> list[Correction]:
    last = len(captions) - 1
    return cuts_within(FramesModel(), embeddings(captions), blind_evidence(captions), 0, last)


@pytest.mark.parametrize(
    "captions", [[1] * 30, [1] * 27 + [GRASS] * 3, [1] * 10 + [0] * 2 + [1] * 10, [1] * 5]
)
def test_one_caption_stays_one(captions: list[int]) -> None:
    """Also where it fades at an end, or is hidden for a moment."""
    assert cuts(captions) == []


def test_a_caption_right_after_another_is_cut_off() -> None:
    assert cuts([1] * 12 + [2] * 14) == [Correction(11, 11, DIFFERENT)]


def test_captions_with_a_moment_of_nothing_between_are_cut_apart() -> None:
    assert cuts([1] * 12 + [0] * 3 + [2] * 14) == [
        Correction(11, 11, VALID_EMPTY),
        Correction(12, 13, EMPTY_EMPTY),
        Correction(14, 14, EMPTY_VALID),
    ]


def test_a_run_of_many_captions_is_cut_everywhere() -> None:
    found = cuts([3] * 12 + [1] * 9 + [2] * 14 + [4] * 10)
    assert sorted(c.first_pair for c in found) == [11, 20, 34]
    assert {c.label for c in found} == {DIFFERENT}


def test_a_short_caption_between_two_is_not_taken_for_nothing() -> None:
    found = cuts([1] * 12 + [0] * 2 + [5] * 7 + [0] * 2 + [2] * 14)
    assert [c for c in found if c.label == EMPTY_VALID] == [
        Correction(13, 13, EMPTY_VALID),
        Correction(22, 22, EMPTY_VALID),
    ]


def test_what_looks_like_letters_after_a_caption_is_not_the_caption() -> None:
    assert cuts([1] * 20 + [GRASS] * 10) == [Correction(19, 19, VALID_EMPTY), Correction(20, 28, EMPTY_EMPTY)]


def test_what_looks_like_letters_before_a_caption_is_not_the_caption() -> None:
    assert cuts([GRASS] * 10 + [1] * 20) == [Correction(0, 8, EMPTY_EMPTY), Correction(9, 9, EMPTY_VALID)]
