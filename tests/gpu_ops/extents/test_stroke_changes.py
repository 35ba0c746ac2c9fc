"""Outlined captions over leaves that blow about, of which each differs in a letter from the last."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from gpu_ops.extents.corrections import Correction
from gpu_ops.extents.decode import Extent, PairEvidence
from gpu_ops.extents.labels import DIFFERENT, SAME
from gpu_ops.extents.letters import Seen
from gpu_ops.extents.model import Embeddings, Probabilities
from gpu_ops.extents.second_look import look_again
from gpu_ops.extents.stroke_changes import changed_letter, letters_stay
from tests.gpu_ops.extents.plain_model import PlainModel

HEIGHT, WIDTH, CELL = 64, 640, 8
LEAVES = np.random.default_rng(3).normal(0, 60, (HEIGHT, WIDTH * 2)).astype(np.float32)


def film(texts: Sequence[str], speed: int = 3, cut_at: int | None = None) -> list[Seen]:
    """One frame for each text; the leaves move by `speed` pixels a frame, and others are there from the cut
    on."""
    frames: list[Seen] = []
    for number, text in enumerate(texts):
        letters, outline = np.zeros((2, HEIGHT, WIDTH), np.uint8)
        for picture, width in ((letters, 3), (outline, 8)):
            cv2.putText(picture, text, (90, 44), cv2.FONT_HERSHEY_SIMPLEX, 1.1, 255, width, cv2.LINE_AA)
        leaves = cv2.GaussianBlur(LEAVES, (0, 0), 3)[:, number * speed :][:, :WIDTH]
        behind = 90 + (leaves[::-1] if cut_at is not None and number >= cut_at else leaves)
        strip = behind * (1 - outline / 255) + 220 * (letters / 255)
        cells = cv2.resize(outline, (WIDTH // CELL, HEIGHT // CELL), interpolation=cv2.INTER_AREA) > 50
        frames.append(
            Seen(np.clip(strip, 0, 255).astype(np.uint8), number / 10, 0.1, cells.astype(np.float16)[None])
        )
    return frames


def changed(before: str, after: str, cut: bool = False) -> float | None:
    frames = film([before] * 5 + [after] * 5, cut_at=5 if cut else None)
    return changed_letter(frames[:5], frames[5:])


@pytest.mark.parametrize(
    ("before", "after"),
    [("Day 17 of 30", "Day 18 of 30"), ("Page 5", "Page 6"), ("What's in the bat?", "What's in the bag?")],
)
def test_a_letter_that_is_another_one_is_seen(before: str, after: str) -> None:
    likeness = changed(before, after)
    assert likeness is not None
    assert likeness < 0.3


@pytest.mark.parametrize("cut", [False, True])
def test_letters_that_stay_are_the_same_whatever_is_behind_them(cut: bool) -> None:
    assert changed("Day 17 of 30", "Day 17 of 30", cut) is None


def test_more_than_a_letter_is_not_looked_for() -> None:
    assert changed("Day 17 of 30", "Rest and drink") is None


def test_a_letter_that_flickers_is_not_another_one() -> None:
    frames = film(["Day 17 of 30", "Day 18 of 30"] * 4)
    assert changed_letter(frames[:4], frames[4:]) is None


def test_a_single_frame_tells_nothing() -> None:
    frames = film(["Day 17 of 30", *["Day 18 of 30"] * 5])
    assert changed_letter(frames[:1], frames[1:]) is None


def test_frames_without_letters_have_none_that_changes() -> None:
    assert changed("", "") is None


@pytest.mark.parametrize("cut", [False, True])
def test_letters_stay_where_the_text_is_the_same(cut: bool) -> None:
    frames = film(["Day 17 of 30"] * 10, cut_at=5 if cut else None)
    assert letters_stay(frames[:5], frames[5:])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Day 17 of 30", "Day 18 of 30"),
        ("Day 17", "Day 17 of 30"),
        ("Day 17 of 30", "Rest and drink"),
        ("Day 17 of 30", ""),
        ("", ""),
    ],
)
def test_letters_do_not_stay_where_any_goes_or_comes(before: str, after: str) -> None:
    frames = film([before] * 5 + [after] * 5)
    assert not letters_stay(frames[:5], frames[5:])


class Opinionated(PlainModel):
    """Takes any two captions for the same, with this probability."""

    def __init__(self, same: float) -> None:
        super().__init__()
        self._same = same

    def compare(self, a: Embeddings, b: Embeddings) -> Probabilities:
        return evidence(len(a), dict.fromkeys(range(len(a)), self._same))


def evidence(pairs: int, doubted: dict[int, float]) -> NDArray[np.float32]:
    """Pairs that are "same" with these probabilities, by number, or else surely."""
    table = np.tile(np.array([0.99, 0.01, 0, 0, 0], np.float32), (pairs, 1))
    for pair, same in doubted.items():
        table[pair, [SAME, DIFFERENT]] = same, 1 - same
    return table


COUNTED = ["Day 17 of 30"] * 12 + ["Day 18 of 30"] * 10
RUN = [Extent(0, 21, "predicted", 0.9)]
SWITCHED = [Extent(0, 11, "predicted", 0.6), Extent(12, 21, "predicted", 0.6)]


def corrections(frames: Sequence[Seen], extents: Sequence[Extent], stir_at_switch: float) -> list[Correction]:
    near = evidence(21, {10: 0.96, 11: 0.95, 12: 0.96})
    stir = [1.0] * 21
    stir[11] = stir_at_switch
    both = PairEvidence(near, evidence(20, {}), evidence(19, {}))
    return look_again(Opinionated(same=0.99), frames, both, stir, extents)


def test_a_run_is_cut_where_the_model_doubts_a_little_and_a_letter_changed() -> None:
    assert corrections(film(COUNTED), RUN, stir_at_switch=1.0) == [Correction(11, 11, DIFFERENT)]
    assert corrections(film([COUNTED[0]] * 22), RUN, stir_at_switch=1.0) == []


def test_a_run_is_not_cut_where_the_picture_behind_was() -> None:
    assert corrections(film(COUNTED), RUN, stir_at_switch=60.0) == []


def test_a_switch_at_which_a_letter_changed_is_not_taken_back() -> None:
    assert corrections(film(COUNTED), SWITCHED, stir_at_switch=1.0) == []
    same = film([COUNTED[0]] * 22)
    assert corrections(same, SWITCHED, stir_at_switch=1.0) == [Correction(11, 11, SAME)]


def test_a_doubted_switch_is_none_where_all_letters_stay() -> None:
    def corrected(texts: Sequence[str], same: float) -> list[Correction]:
        rows = [evidence(21, {11: same}), evidence(20, {10: same, 11: same}), evidence(19, {})]
        return look_again(Opinionated(same=0.5), film(texts), PairEvidence(*rows), [1.0] * 21, SWITCHED)

    assert corrected([COUNTED[0]] * 22, same=0.45) == [Correction(11, 11, SAME)]
    assert corrected([COUNTED[0]] * 22, same=0.1) == []
    assert corrected(COUNTED, same=0.45) == []
