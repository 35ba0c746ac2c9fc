"""Re-runs meet annotators' work: what survives, what moves, and that the grid stays partitioned."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_ops.captions.rows import (
    CaptionRow,
    PredictedState,
    State,
    apply_readings,
    frames_to_read,
    merge_extents,
    merge_same_text,
)
from gpu_ops.contract import CaptionOcrResult, FrameRange

NOW = "2026-01-01T00:00:00.000Z"
LATER = "2026-02-01T00:00:00.000Z"


@dataclass(frozen=True)
class Extent:
    start_frame_index: int
    end_frame_index: int
    state: PredictedState = "predicted"
    confidence: float = 0.9
    start_s: float | None = None
    end_s: float | None = None


def reading(text: str, confidence: float = 0.95, error: str | None = None) -> CaptionOcrResult:
    return CaptionOcrResult(ocr_text=text, confidence=confidence, frame_count=9, error=error)


def merged(extents: list[Extent], existing: list[CaptionRow], frame_count: int = 100, **options: object):
    settings: dict[str, object] = {"same_frames": True, "now": NOW} | options
    return merge_extents(extents, existing, frame_count=frame_count, **settings).rows  # type: ignore[arg-type]


def ranges(rows: list[CaptionRow]) -> list[tuple[int, int, State]]:
    return [(row.start_frame_index, row.end_frame_index, row.state) for row in rows]


def stored(rows: list[CaptionRow]) -> list[CaptionRow]:
    """The rows as the database hands them back: each with an id."""
    taken = max((row.id or 0 for row in rows), default=0)
    return [row if row.id else replace(row, id=taken + number) for number, row in enumerate(rows, 1)]


def test_a_first_run_gives_a_row_for_every_extent_and_gaps_between():
    rows = merged([Extent(10, 29), Extent(40, 59), Extent(60, 69, "issue")], [])
    assert ranges(rows) == [
        (0, 9, "gap"),
        (10, 29, "predicted"),
        (30, 39, "gap"),
        (40, 59, "predicted"),
        (60, 69, "issue"),
        (70, 99, "gap"),
    ]
    assert [row.needs_reading for row in rows] == [False, True, False, True, False, False]


def test_a_confirmed_caption_keeps_its_range_and_predictions_are_fitted_around_it():
    confirmed = CaptionRow(id=7, start_frame_index=20, end_frame_index=39, state="confirmed", text="mine")
    rows = merged([Extent(0, 24), Extent(25, 37), Extent(38, 99)], [confirmed])
    assert ranges(rows) == [(0, 19, "predicted"), (20, 39, "confirmed"), (40, 99, "predicted")]
    assert replace(rows[1], start_s=None, end_s=None) == confirmed


def test_what_a_confirmed_caption_leaves_of_its_own_prediction_is_a_gap():
    confirmed = CaptionRow(id=7, start_frame_index=20, end_frame_index=39, state="confirmed")
    assert ranges(merged([Extent(15, 45)], [confirmed])) == [
        (0, 19, "gap"),
        (20, 39, "confirmed"),
        (40, 99, "gap"),
    ]


def test_an_annotated_text_moves_to_the_prediction_that_took_its_place():
    old = CaptionRow(
        id=3, start_frame_index=20, end_frame_index=39, text="edited", text_status="ok", created_at=NOW
    )
    row = merged([Extent(18, 41)], [old], now=LATER)[1]
    assert (row.id, row.start_frame_index, row.end_frame_index) == (3, 18, 41)
    assert (row.text, row.text_status, row.created_at) == ("edited", "ok", NOW)
    assert row.needs_reading


@pytest.mark.parametrize(
    "extents", [[], [Extent(20, 29), Extent(30, 39)], [Extent(0, 99)], [Extent(20, 39, "issue")]]
)
def test_an_annotated_row_without_a_clear_successor_stays_as_it_is(extents: list[Extent]):
    old = CaptionRow(id=3, start_frame_index=20, end_frame_index=39, text_notes="see this", caption_ocr="x")
    assert old in merged(extents, [old])


def test_an_unchanged_caption_is_not_read_again_but_new_frames_are():
    rows = stored(merged([Extent(10, 29)], []))
    read = apply_readings(rows, {(10, 29): reading("hello")}, NOW)
    assert [row.needs_reading for row in merged([Extent(10, 29)], read)] == [False, False, False]
    again = merged([Extent(10, 29)], read, same_frames=False)
    assert [row.needs_reading for row in again] == [False, True, False]
    assert [row.id for row in again] == [row.id for row in read]


def test_new_frames_leave_confirmed_text_alone_and_queue_its_reading():
    old = CaptionRow(
        id=1, start_frame_index=0, end_frame_index=9, state="confirmed", text="t", ocr_status="completed"
    )
    row = merged([Extent(0, 9)], [old], same_frames=False)[0]
    assert (row.text, row.state, row.needs_reading) == ("t", "confirmed", True)


def test_a_prediction_in_which_nothing_is_legible_becomes_a_gap_and_stays_one():
    read = apply_readings(stored(merged([Extent(10, 29)], [])), {(10, 29): reading("", 0.0)}, NOW)
    assert ranges(read)[1] == (10, 29, "gap")
    assert merged([Extent(10, 29)], read) == read


def test_a_failed_reading_is_an_error_and_is_tried_again():
    rows = stored(merged([Extent(10, 29)], []))
    row = apply_readings(rows, {(10, 29): reading("", 0.0, "chunk is damaged")}, NOW)[1]
    assert (row.state, row.ocr_status, row.ocr_error) == ("predicted", "error", "chunk is damaged")
    assert row.needs_reading


def test_an_annotated_caption_is_not_made_a_gap_by_an_empty_reading():
    row = CaptionRow(id=1, start_frame_index=0, end_frame_index=9, text="mine", ocr_status="queued")
    assert apply_readings([row], {(0, 9): reading("", 0.0)}, NOW)[0].state == "predicted"


def test_a_doubtful_reading_is_left_pending_for_a_person():
    rows = [
        CaptionRow(start_frame_index=0, end_frame_index=9),
        CaptionRow(start_frame_index=10, end_frame_index=19),
    ]
    read = apply_readings(rows, {(0, 9): reading("sure", 0.99), (10, 19): reading("s0rne", 0.55)}, NOW)
    assert [row.text_pending for row in read] == [False, True]


def test_a_caption_split_by_mistake_is_joined_and_stays_joined():
    extents = [Extent(10, 29, start_s=1.02, end_s=3.0), Extent(30, 49, start_s=3.0, end_s=4.97)]
    rows = stored(merged(extents, []))
    read = apply_readings(rows, {(10, 29): reading("Same text"), (30, 49): reading("Same  text", 0.99)}, NOW)
    joined = merge_same_text(read, (), NOW)
    assert ranges(joined.rows)[1] == (10, 49, "predicted")
    assert (joined.rows[1].id, joined.rows[1].start_s, joined.rows[1].end_s) == (rows[1].id, 1.02, 4.97)
    assert merged(extents, joined.rows, seams=joined.seams) == joined.rows


def test_a_new_boundary_elsewhere_is_not_hidden_by_an_earlier_join():
    rows = [
        CaptionRow(id=1, start_frame_index=0, end_frame_index=99, caption_ocr="a", ocr_status="completed")
    ]
    assert len(merged([Extent(0, 49), Extent(50, 99)], rows, seams={30})) == 2


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {"start_frame_index": 31}),
        ({}, {"caption_ocr": "Other text"}),
        ({"text": "edited"}, {}),
        ({}, {"state": "confirmed"}),
        ({}, {"ocr_status": "error"}),
    ],
)
def test_captions_with_a_gap_another_text_or_an_annotation_are_not_joined(first: dict, second: dict):
    a = CaptionRow(start_frame_index=10, end_frame_index=29, caption_ocr="Text", ocr_status="completed")
    b = CaptionRow(start_frame_index=30, end_frame_index=49, caption_ocr="Text", ocr_status="completed")
    assert len(merge_same_text([replace(a, **first), replace(b, **second)], (), NOW).rows) == 2


def test_exact_times_are_kept_only_for_boundaries_that_are_predicted_ones():
    confirmed = CaptionRow(id=1, start_frame_index=10, end_frame_index=24, state="confirmed")
    rows = merged([Extent(10, 29, start_s=0.98, end_s=2.97)], [confirmed])
    assert (rows[1].start_s, rows[1].end_s) == (0.98, None)


@pytest.mark.parametrize(
    ("rests", "read"),
    [
        ([], (10, 30)),
        ([(14, 28)], (14, 29)),
        ([(2, 5), (11, 13), (20, 40), (50, 60)], (20, 30)),
        ([(2, 9), (30, 40)], (10, 30)),
    ],
)
def test_a_caption_in_motion_is_read_where_it_is_longest_at_rest(
    rests: list[tuple[int, int]], read: tuple[int, int]
):
    row = CaptionRow(start_frame_index=10, end_frame_index=29)
    assert frames_to_read(row, rests) == FrameRange(start_frame=read[0], end_frame=read[1])


def test_overlapping_extents_are_refused():
    with pytest.raises(ValueError, match="overlap at frame 20"):
        merged([Extent(0, 20), Extent(20, 30)], [])


@st.composite
def partitions(draw: st.DrawFn, frame_count: int) -> list[tuple[int, int]]:
    cuts = sorted(draw(st.sets(st.integers(1, frame_count - 1), max_size=8)))
    return list(zip([0, *cuts], [cut - 1 for cut in [*cuts, frame_count]], strict=True))


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, list[Extent], list[CaptionRow]]:
    """A grid, new extents, and rows that an annotator has been at."""
    frame_count = draw(st.integers(2, 60))
    states = st.sampled_from(["predicted", "predicted", "gap", "issue"])
    extents = [
        Extent(a, b, draw(states), 0.9, a / 10, (b + 1) / 10) for a, b in draw(partitions(frame_count))
    ]
    spans = extents_spans(extents) if draw(st.booleans()) else draw(partitions(frame_count))
    rows = [
        CaptionRow(
            id=number,
            start_frame_index=a,
            end_frame_index=b,
            state=draw(st.sampled_from(["predicted", "predicted", "confirmed", "gap", "issue"])),
            text=draw(st.sampled_from([None, None, f"text {number}"])),
            text_notes=draw(st.sampled_from([None, None, f"note {number}"])),
            ocr_status=draw(st.sampled_from([None, "queued", "completed", "error"])),
            caption_ocr=draw(st.sampled_from([None, "a", "b"])),
            created_at=NOW,
        )
        for number, (a, b) in enumerate(spans, 1)
        if draw(st.integers(0, 3))
    ]
    return frame_count, extents, rows


def extents_spans(extents: list[Extent]) -> list[tuple[int, int]]:
    return [(extent.start_frame_index, extent.end_frame_index) for extent in extents]


@settings(max_examples=120, deadline=None)
@given(histories(), st.booleans(), st.sets(st.integers(0, 60), max_size=4))
def test_rows_always_partition_the_grid_and_keep_every_annotation(history, same_frames, seams):
    frame_count, extents, existing = history
    rows = merged(extents, existing, frame_count, same_frames=same_frames, seams=seams)

    covered = [frame for row in rows for frame in range(row.start_frame_index, row.end_frame_index + 1)]
    assert covered == list(range(frame_count))
    ids = [row.id for row in rows if row.id is not None]
    assert len(ids) == len(set(ids))
    by_id = {row.id: row for row in rows}
    for old in existing:
        if old.state == "confirmed" or old.annotated:
            new = by_id[old.id]
            assert (new.text, new.text_notes) == (old.text, old.text_notes)
            assert new.state == old.state
        if old.state == "confirmed":
            assert (new.start_frame_index, new.end_frame_index) == (
                old.start_frame_index,
                old.end_frame_index,
            )


@settings(max_examples=120, deadline=None)
@given(histories(), st.booleans(), st.sets(st.integers(0, 60), max_size=4))
def test_merging_the_same_extents_again_changes_nothing(history, same_frames, seams):
    frame_count, extents, existing = history
    once = merge_extents(
        extents, existing, frame_count=frame_count, same_frames=same_frames, now=NOW, seams=seams
    )
    rows = stored(once.rows)
    twice = merge_extents(
        extents, rows, frame_count=frame_count, same_frames=True, now=LATER, seams=once.seams
    )
    assert twice.rows == rows


@settings(max_examples=80, deadline=None)
@given(histories(), st.lists(st.sampled_from(["", "a", "a", "b"]), min_size=40, max_size=40))
def test_reading_joining_and_merging_again_changes_nothing(history, texts):
    frame_count, extents, existing = history
    rows = merged(extents, existing, frame_count)
    wanted = [row for row in rows if row.needs_reading]
    readings = {
        (row.start_frame_index, row.end_frame_index): reading(text)
        for row, text in zip(wanted, texts, strict=False)
    }
    settled = merge_same_text(apply_readings(stored(rows), readings, NOW), (), NOW)
    again = merge_extents(
        extents, settled.rows, frame_count=frame_count, same_frames=True, now=LATER, seams=settled.seams
    )
    assert merge_same_text(again.rows, again.seams, LATER).rows == settled.rows
