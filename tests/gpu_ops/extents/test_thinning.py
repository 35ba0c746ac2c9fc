from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gpu_ops.extents.letters import LETTERS, Seen
from gpu_ops.extents.model import Embeddings, PairModel
from gpu_ops.extents.predict import ExtentPredictor
from gpu_ops.extents.thinning import encode_thinned
from tests.gpu_ops.extents.plain_model import STEP, Frame, PlainModel

HEIGHT, WIDTH = 64, 912


class Counting(PairModel):
    """The pair model, which counts the frames it encodes."""

    frames_encoded = 0

    def encode(self, strips: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]) -> Embeddings:
        self.frames_encoded += len(strips)
        return super().encode(strips)


def strip(text: str, seed: int) -> NDArray[np.uint8]:
    """White letters over noise that is another one in every frame."""
    noise = np.random.default_rng(seed).normal(70, 6, (HEIGHT, WIDTH)).clip(0, 255).astype(np.uint8)
    for colour, thickness in ((0, 8), (235, 3)):
        cv2.putText(noise, text, (220, 46), cv2.FONT_HERSHEY_SIMPLEX, 1.3, colour, thickness, cv2.LINE_AA)
    return noise


@given(
    runs=st.lists(st.tuples(st.integers(0, 3), st.integers(2, 7)), min_size=1, max_size=8), calm=st.booleans()
)
def test_embeddings_are_right_wherever_what_is_shown_lasts_two_frames(
    runs: list[tuple[int, int]], calm: bool
) -> None:
    numbers = list(chain.from_iterable([number] * length for number, length in runs))
    strips = [np.full((16, 32), number * STEP, np.uint8) for number in numbers]
    model = PlainModel()
    expected = model.encode(strips)
    whole = encode_thinned(model, None, strips, calm)
    assert np.array_equal(whole.embeddings, expected)
    assert not {0, len(strips) - 1} & set(whole.passed_over)
    before = Seen(strips[0], 0.0, 0.1, expected[0])
    rest = encode_thinned(model, before, strips[1:], calm)
    assert np.array_equal(rest.embeddings, expected[1:])
    assert calm or 0 not in rest.passed_over
    for at in whole.passed_over:
        # So that no pair of frames up to three apart is told by an embedding that is not a frame's own.
        assert len(set(numbers[max(0, at - 3) : at + 4])) == 1


def test_of_a_caption_that_stays_more_than_a_third_of_the_frames_is_passed_over() -> None:
    strips = [strip("A caption that stays", seed) for seed in range(33)]
    assert len(encode_thinned(PairModel.load(), None, strips, calm=True).passed_over) > 11


@pytest.mark.parametrize("blank", [12, 13])
def test_one_frame_without_the_letters_is_noticed(blank: int) -> None:
    strips = [strip("" if at == blank else "A caption that stays", at) for at in range(33)]
    thinned = encode_thinned(PairModel.load(), None, strips, calm=True)
    assert blank not in thinned.passed_over
    assert thinned.passed_over
    holding = (thinned.embeddings[:, -1] > LETTERS).any(axis=(1, 2))
    assert np.flatnonzero(~holding).tolist() == [blank]


def test_the_same_is_found_as_if_every_frame_were_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def shown(at: int) -> str:
        return "" if at < 9 or 50 <= at < 58 else "Is it the same?" if at < 31 else "Nearly so, but no."

    frames = [Frame(at, at / 10, (at + 1) / 10, strip(shown(at), at)) for at in range(100)]
    extents, encoded = [], []
    for every in (False, True):
        if every:
            monkeypatch.setattr(PairModel, "on_gpu", True)
        model = Counting.load()
        predictor = ExtentPredictor(model)
        for frame in frames:
            predictor.add(frame)
        prediction = predictor.finish()
        extents.append([replace(extent, confidence=0.0) for extent in prediction.extents])
        encoded.append(model.frames_encoded)
    assert extents[0] == extents[1]
    assert [extent.state for extent in extents[0]] == ["gap", "predicted", "predicted", "gap", "predicted"]
    assert encoded[1] == 100
    assert encoded[0] < 75
