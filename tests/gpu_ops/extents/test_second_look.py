from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gpu_ops.extents.corrections import Correction
from gpu_ops.extents.decode import Extent, PairEvidence
from gpu_ops.extents.labels import DIFFERENT, EMPTY_EMPTY, EMPTY_VALID, SAME, VALID_EMPTY
from gpu_ops.extents.letters import Seen
from gpu_ops.extents.model import Embeddings, Probabilities
from gpu_ops.extents.predict import ExtentPredictor
from gpu_ops.extents.second_look import look_again
from tests.gpu_ops.extents.plain_model import STEP, Frame, PlainModel, strip

NEAR = 3


class MisledModel(PlainModel):
    """Knows which grid frame it sees, and errs on frames at most NEAR apart: it misses the switch after frame
    `missed`, or sees one after frame `imagined` that is none."""

    def __init__(self, missed: int | None = None, imagined: int | None = None) -> None:
        super().__init__()
        self._missed, self._imagined = missed, imagined
        self._next = 0

    def encode(self, strips: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]) -> Embeddings:
        numbers = range(self._next, self._next + len(strips))
        self._next += len(strips)
        pairs = [(round(float(s.mean()) / STEP), number) for s, number in zip(strips, numbers, strict=True)]
        return np.array(pairs, np.float16).reshape(-1, 2, 1, 1)

    def compare(self, a: Embeddings, b: Embeddings) -> Probabilities:
        table = np.full((len(a), 5), 0.01, np.float32)
        for row, ((shown_a, at_a), (shown_b, at_b)) in enumerate(
            zip(a.reshape(-1, 2), b.reshape(-1, 2), strict=True)
        ):
            first, last = sorted((int(at_a), int(at_b)))
            near = last - first <= NEAR
            same = shown_a == shown_b
            if near and self._missed is not None and first <= self._missed < last:
                same = True
            if near and self._imagined is not None and first <= self._imagined < last:
                same = False
            if shown_a and shown_b:
                label = SAME if same else DIFFERENT
            else:
                label = VALID_EMPTY if shown_a else EMPTY_VALID if shown_b else EMPTY_EMPTY
            table[row, label] = 0.96
        return table


def captions_found(model: PlainModel, shown: list[int]) -> list[tuple[int, int]]:
    predictor = ExtentPredictor(model)
    for i, caption in enumerate(shown):
        predictor.add(Frame(i, i / 10, (i + 1) / 10, strip(caption)))
    extents = predictor.finish().extents
    return [(e.start_frame_index, e.end_frame_index) for e in extents if e.state == "predicted"]


def test_a_switch_that_neighbouring_frames_hide_is_found_from_the_ends_of_the_run() -> None:
    shown = [0] * 8 + [1] * 12 + [2] * 14 + [0] * 8
    assert captions_found(MisledModel(missed=19), shown) == [(8, 19), (20, 33)]


def test_a_switch_hidden_in_an_early_part_of_a_long_video_is_found_too() -> None:
    shown = [0] * 8 + [1] * 12 + [2] * 14 + [0] * 600
    assert captions_found(MisledModel(missed=19), shown) == [(8, 19), (20, 33)]


def test_a_cut_under_a_caption_does_not_split_it() -> None:
    shown = [0] * 8 + [1] * 24 + [0] * 8
    assert captions_found(MisledModel(imagined=18), shown) == [(8, 31)]


def test_a_true_switch_stays_one() -> None:
    shown = [0] * 8 + [1] * 10 + [2] * 10 + [0] * 8
    assert captions_found(MisledModel(), shown) == [(8, 17), (18, 27)]


def dipping_evidence(frames: int, pair: int, same: float) -> PairEvidence:
    """A model sure of "same" everywhere but across `pair`, where it says so with probability `same`."""

    def rows(apart: int) -> NDArray[np.float32]:
        table = np.tile(np.array([0.99, 0.01, 0, 0, 0], np.float32), (frames - apart, 1))
        table[max(0, pair - apart + 1) : pair + 1] = [same, 1 - same, 0, 0, 0]
        return table

    return PairEvidence(rows(1), rows(2), rows(3))


def corrections_for(stir_at_pair: float, same: float = 0.6) -> list[Correction]:
    (embedding,) = PlainModel().encode([strip(1)])
    frames = [Seen(strip(1), n / 10, 0.1, embedding) for n in range(30)]
    stir = [1.0] * 29
    stir[14] = stir_at_pair
    run = [Extent(0, 29, "predicted", 0.9)]
    return look_again(PlainModel(), frames, dipping_evidence(30, 14, same), stir, run)


def test_a_doubtful_step_over_a_quiet_picture_is_a_switch() -> None:
    assert corrections_for(stir_at_pair=1.0) == [Correction(14, 14, DIFFERENT)]


def test_a_step_that_is_only_less_sure_than_its_neighbours_is_none() -> None:
    """Something dark passes behind bright letters."""
    assert corrections_for(stir_at_pair=1.0, same=0.85) == []


def test_a_doubtful_step_at_a_cut_is_none() -> None:
    assert corrections_for(stir_at_pair=60.0) == []
