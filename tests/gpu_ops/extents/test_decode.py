from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gpu_ops.extents.decode import Extent, PairEvidence, composed_label, decode, single_frame
from gpu_ops.extents.labels import DIFFERENT, EMPTY_EMPTY, EMPTY_VALID, SAME, VALID_EMPTY

Shown = list[int]  # caption number a frame, 0 for none


def label(a: int, b: int) -> int:
    if a == b:
        return SAME if a else EMPTY_EMPTY
    return DIFFERENT if a and b else EMPTY_VALID if b else VALID_EMPTY


def evidence_of(shown: Shown, sure: float = 0.96) -> PairEvidence:
    """What a model that is `sure` of every pair would say of these frames."""

    def rows(apart: int) -> NDArray[np.float32]:
        table = np.full((max(0, len(shown) - apart), 5), (1 - sure) / 4, np.float32)
        for i in range(len(table)):
            table[i, label(shown[i], shown[i + apart])] = sure
        return table

    return PairEvidence(rows(1), rows(2), rows(3))


def spans(shown: Shown) -> list[tuple[int, int, str]]:
    cuts = [0, *(i for i in range(1, len(shown)) if shown[i] != shown[i - 1]), len(shown)]
    return [(a, b - 1, "predicted" if shown[a] else "gap") for a, b in itertools.pairwise(cuts)]


def found(extents: list[Extent]) -> list[tuple[int, int, str]]:
    return [(e.start_frame_index, e.end_frame_index, e.state) for e in extents]


@st.composite
def films(draw: st.DrawFn) -> Shown:
    """Stretches of at least three frames, each another caption or none."""
    shown: Shown = []
    for number, (length, empty) in enumerate(
        draw(st.lists(st.tuples(st.integers(3, 12), st.booleans()), min_size=1, max_size=8))
    ):
        shown += [0 if empty else number + 1] * length
    return shown


@settings(max_examples=60, deadline=None)
@given(films())
def test_a_sure_model_is_decoded_exactly(shown: Shown) -> None:
    assert found(decode(evidence_of(shown))) == spans(shown)


@settings(max_examples=40, deadline=None)
@given(films(), st.integers(0, 2**32 - 1))
def test_single_wrong_pairs_do_not_change_what_is_found(shown: Shown, seed: int) -> None:
    evidence = evidence_of(shown)
    rng = np.random.default_rng(seed)
    wrong = evidence.near.copy()
    inside = [i for i in range(3, len(shown) - 4) if len(set(shown[i - 3 : i + 5])) == 1]
    for i in inside[:: max(6, len(inside))]:
        wrong[i] = rng.permutation(wrong[i])
    assert found(decode(PairEvidence(wrong, evidence.two_apart, evidence.three_apart))) == spans(shown)


@settings(max_examples=80, deadline=None)
@given(st.integers(2, 60), st.integers(0, 2**32 - 1), st.floats(0.05, 5))
def test_extents_partition_the_grid_whatever_the_model_says(count: int, seed: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    near, two, three = (
        rng.dirichlet([spread] * 5, size=max(0, count - apart)).astype(np.float32) for apart in (1, 2, 3)
    )
    evidence = PairEvidence(near, two, three)
    extents = decode(evidence)
    assert extents[0].start_frame_index == 0
    assert extents[-1].end_frame_index == count - 1
    for before, after in itertools.pairwise(extents):
        assert after.start_frame_index == before.end_frame_index + 1
        assert not (before.state == after.state == "gap")
    assert all(e.start_frame_index <= e.end_frame_index and 0 <= e.confidence <= 1 for e in extents)
    assert decode(evidence) == extents


def test_wider_pairs_find_a_boundary_that_neighbours_miss_in_a_fade() -> None:
    shown = [0] * 10 + [1] * 10
    evidence = evidence_of(shown)
    near = evidence.near.copy()
    near[8:11] = [0.3, 0.02, 0.3, 0.36, 0.02]  # no neighbouring pair says clearly that anything appears
    assert found(decode(PairEvidence(near, evidence.two_apart, evidence.three_apart))) == spans(shown)


def test_neighbouring_pairs_alone_are_enough() -> None:
    shown = [0] * 6 + [1] * 6 + [2] * 6
    none = np.zeros((0, 5), np.float32)
    assert found(decode(PairEvidence(evidence_of(shown).near, none, none))) == spans(shown)


def test_the_same_caption_after_a_gap_is_two_captions() -> None:
    shown = [1] * 8 + [0] * 5 + [1] * 8
    assert found(decode(evidence_of(shown))) == [(0, 7, "predicted"), (8, 12, "gap"), (13, 20, "predicted")]


def test_a_stretch_no_label_explains_is_an_issue() -> None:
    near = np.full((20, 5), 0.2, np.float32)
    none = np.zeros((0, 5), np.float32)
    assert {e.state for e in decode(PairEvidence(near, none, none))} == {"issue"}


def test_two_frames_and_one_frame_have_extents_too() -> None:
    none = np.zeros((0, 5), np.float32)
    assert found(decode(evidence_of([0, 1]))) == [(0, 0, "gap"), (1, 1, "predicted")]
    assert found(decode(PairEvidence(evidence_of([1, 1]).near, none, none))) == [(0, 1, "predicted")]
    assert found(single_frame(np.array([0.9, 0.0, 0.1, 0.0, 0.0]))) == [(0, 0, "predicted")]
    assert found(single_frame(np.array([0.1, 0.0, 0.9, 0.0, 0.0]))) == [(0, 0, "gap")]


def test_steps_compose_to_what_their_outer_frames_show() -> None:
    assert composed_label((SAME, SAME, SAME)) == SAME
    assert composed_label((SAME, DIFFERENT)) == DIFFERENT
    assert composed_label((EMPTY_VALID, DIFFERENT)) == EMPTY_VALID
    assert composed_label((EMPTY_VALID, SAME, VALID_EMPTY)) == EMPTY_EMPTY
    assert composed_label((SAME, VALID_EMPTY, EMPTY_EMPTY)) == VALID_EMPTY
