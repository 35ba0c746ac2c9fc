from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gpu_ops.extents.fades import FadedEnds
from gpu_ops.extents.timing import TimedExtent, with_faded_ends

FRAMES = 60


def gap(start: int, end: int) -> TimedExtent:
    return TimedExtent(start, end, "gap", 0.8, start / 10, (end + 1) / 10)


def caption(start: int, end: int) -> TimedExtent:
    return TimedExtent(start, end, "predicted", 0.9, start / 10, (end + 1) / 10)


@st.composite
def partitions(draw: st.DrawFn) -> list[TimedExtent]:
    cuts = [0, *sorted(draw(st.sets(st.integers(1, FRAMES - 1), max_size=9))), FRAMES]
    extents: list[TimedExtent] = []
    for start, end in pairwise(cuts):
        after_gap = extents and extents[-1].state == "gap"
        make = caption if after_gap or draw(st.booleans()) else gap
        extents.append(make(start, end - 1))
    return extents


def moved(data: st.DataObject, time: float) -> float | None:
    by = data.draw(st.none() | st.floats(-0.6, 0.6))
    return None if by is None else min(FRAMES / 10, max(0.0, time + by))


@given(partitions(), st.data())
def test_extents_with_moved_ends_still_partition_the_grid(
    extents: list[TimedExtent], data: st.DataObject
) -> None:
    faded = {
        (e.start_frame_index, e.end_frame_index): FadedEnds(moved(data, e.start_s), moved(data, e.end_s))
        for e in extents
        if e.state == "predicted" and e.end_frame_index - e.start_frame_index >= 4
    }
    result = with_faded_ends(extents, faded)
    assert [e.start_frame_index for e in result] == [0, *(e.end_frame_index + 1 for e in result[:-1])]
    assert result[-1].end_frame_index == FRAMES - 1
    assert all(e.start_frame_index <= e.end_frame_index and e.start_s <= e.end_s for e in result)
    assert all(a.end_s <= b.start_s + 1e-9 for a, b in pairwise(result))


@given(partitions())
def test_without_faded_ends_nothing_changes(extents: list[TimedExtent]) -> None:
    assert with_faded_ends(extents, {}) == extents


def test_a_caption_takes_the_frames_of_the_gap_that_it_is_seen_in() -> None:
    extents = [gap(0, 9), caption(10, 29), gap(30, 59)]
    (before, shown, after) = with_faded_ends(extents, {(10, 29): FadedEnds(0.72, 3.15)})
    assert (before.end_frame_index, shown.start_frame_index, shown.start_s) == (7, 8, 0.72)
    assert (shown.end_frame_index, after.start_frame_index, after.start_s) == (31, 32, 3.15)


def test_what_was_seen_to_begin_takes_its_frames_from_a_neighbour_that_was_not_seen_to_end() -> None:
    extents = [caption(0, 19), caption(20, 39), gap(40, 59)]
    left, right, _ = with_faded_ends(extents, {(20, 39): FadedEnds(1.62, None)})
    assert (left.end_frame_index, left.end_s, right.start_s) == (16, 1.62, 1.62)


def test_captions_that_dissolve_into_each_other_change_half_way() -> None:
    extents = [caption(0, 19), caption(20, 39), gap(40, 59)]
    ends = {(0, 19): FadedEnds(None, 2.2), (20, 39): FadedEnds(1.8, None)}
    left, right, _ = with_faded_ends(extents, ends)
    assert (left.end_s, right.start_s) == (2.0, 2.0)
    assert (left.end_frame_index, right.start_frame_index) == (19, 20)
