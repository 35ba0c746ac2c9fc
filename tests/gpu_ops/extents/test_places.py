"""Two places of captions: each is followed by itself, and both make one time line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_ops.extents.labels import DIFFERENT, EMPTY_EMPTY, EMPTY_VALID, SAME, VALID_EMPTY
from gpu_ops.extents.places import PlacesPredictor, joined_extents, joined_probabilities
from gpu_ops.extents.predict import Prediction
from gpu_ops.extents.timing import TimedExtent
from tests.gpu_ops.extents.plain_model import Frame, PlainModel, strip

FPS = 30
Script = Callable[[float], int]


def predicted(above: Script, below: Script, seconds: float = 8.0) -> Prediction:
    upper, lower = strip(0), strip(0)[:60]
    predictor = PlacesPredictor(PlainModel(), [len(upper), len(lower)])
    index = 0
    for number in range(round(seconds * FPS)):
        time, until = number / FPS, (number + 1) / FPS
        picture = np.concatenate([strip(above(time)), strip(below(time))[:60]])
        on_grid = index / 10 < until - 1e-9
        predictor.add(Frame(index if on_grid else None, time, until, picture))
        index += on_grid
    return predictor.finish()


def shown(prediction: Prediction) -> list[tuple[float, float]]:
    return [
        (pytest.approx(e.start_s, abs=1e-3), pytest.approx(e.end_s, abs=1e-3))
        for e in prediction.extents
        if e.state == "predicted"
    ]


def between(*captions: tuple[float, float]) -> Script:
    """Caption number k + 1 from its start to its end."""
    return lambda t: next(
        (k + 1 for k, (start, end) in enumerate(captions) if start - 1e-6 <= t < end - 1e-6), 0
    )


def test_captions_that_change_places_are_all_found() -> None:
    prediction = predicted(between((1, 2), (4, 5.5)), between((2, 3.4), (5.5, 7)))
    assert shown(prediction) == [(1, 2), (2, 3.4), (4, 5.5), (5.5, 7)]
    forward = prediction.forward.argmax(axis=1)
    assert [forward[10 * second - 1] for second in (1, 2, 4)] == [EMPTY_VALID, DIFFERENT, EMPTY_VALID]


def test_a_line_that_stays_while_another_comes_and_goes_is_three_captions() -> None:
    prediction = predicted(between((1, 6)), between((2.5, 4)))
    assert shown(prediction) == [(1, 2.5), (2.5, 4), (4, 6)]
    assert prediction.label_counts["different"] == 2


@pytest.mark.parametrize(("late_s", "early_s"), [(0.0, 0.0), (1 / FPS, 1 / FPS), (2 / FPS, 2 / FPS)])
def test_both_places_changing_within_a_tenth_of_a_second_change_at_once(
    late_s: float, early_s: float
) -> None:
    prediction = predicted(between((1.07, 3)), between((1.07 + late_s, 3 - early_s)))
    assert len(shown(prediction)) == 1
    (caption,) = [e for e in prediction.extents if e.state == "predicted"]
    assert caption.start_s == pytest.approx(33 / FPS)
    assert caption.end_s == pytest.approx(3.0)


def test_one_place_is_what_the_plain_predictor_says() -> None:
    prediction = PlacesPredictor(PlainModel(), [120])
    for index in range(30):
        prediction.add(Frame(index, index / 10, (index + 1) / 10, strip(1 if 8 <= index < 20 else 0)))
    assert [(e.start_frame_index, e.end_frame_index, e.state) for e in prediction.finish().extents] == [
        (0, 7, "gap"),
        (8, 19, "predicted"),
        (20, 29, "gap"),
    ]


@st.composite
def partitions(draw: st.DrawFn) -> list[TimedExtent]:
    cuts = [0, *sorted(draw(st.sets(st.integers(1, 59), max_size=12))), 60]
    showing = draw(st.booleans())
    extents: list[TimedExtent] = []
    for start, end in pairwise(cuts):
        showing = draw(st.booleans()) if showing else True
        extents.append(
            TimedExtent(start, end - 1, "predicted" if showing else "gap", 0.9, start / 10, end / 10)
        )
    return extents


def captions_of(extents: Sequence[TimedExtent]) -> set[int]:
    return {
        index
        for e in extents
        if e.state == "predicted"
        for index in range(e.start_frame_index, e.end_frame_index + 1)
    }


@given(partitions(), partitions())
def test_joined_extents_partition_the_grid_and_miss_no_caption(
    first: list[TimedExtent], second: list[TimedExtent]
) -> None:
    extents = joined_extents(first, second)
    assert [e.start_frame_index for e in extents] == [0, *(e.end_frame_index + 1 for e in extents[:-1])]
    assert extents[-1].end_frame_index == 59
    assert all(a.end_s <= b.start_s + 1e-9 for a, b in pairwise(extents))
    assert all(e.start_s <= e.end_s for e in extents)
    wanted = captions_of(first) | captions_of(second)
    # Where both change within a frame, that frame may go with the gap beside it, and with nothing else.
    assert captions_of(extents) <= wanted | {0}
    for extent in (*first, *second):
        if extent.state == "predicted" and extent.end_frame_index - extent.start_frame_index >= 2:
            inner = set(range(extent.start_frame_index + 1, extent.end_frame_index))
            assert inner <= captions_of(extents)


@given(st.lists(st.integers(0, 4), min_size=1), st.data())
def test_joined_probabilities_are_of_the_label_that_both_together_have(
    labels: list[int], data: st.DataObject
) -> None:
    others = data.draw(st.lists(st.integers(0, 4), min_size=len(labels), max_size=len(labels)))
    first, second = np.eye(5, dtype=np.float32)[labels], np.eye(5, dtype=np.float32)[others]
    both = joined_probabilities(first, second)
    assert both.sum(axis=1) == pytest.approx(1)
    assert np.array_equal(both, joined_probabilities(second, first))
    for row, pair in zip(both, zip(labels, others, strict=True), strict=True):
        one, other = sorted(pair)
        expected = {
            (SAME, SAME): SAME,
            (SAME, EMPTY_EMPTY): SAME,
            (EMPTY_EMPTY, EMPTY_EMPTY): EMPTY_EMPTY,
            (EMPTY_EMPTY, EMPTY_VALID): EMPTY_VALID,
            (EMPTY_EMPTY, VALID_EMPTY): VALID_EMPTY,
            (EMPTY_VALID, EMPTY_VALID): EMPTY_VALID,
            (VALID_EMPTY, VALID_EMPTY): VALID_EMPTY,
        }.get((one, other), DIFFERENT)
        assert row.argmax() == expected
