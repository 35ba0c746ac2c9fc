"""Pieces of a moving caption become one; captions that merely follow each other stay apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gpu_ops.extents.decode import Extent, State
from gpu_ops.extents.pieces import Link, Rest, cut_at, joined


def extents(*lengths: int, states: Sequence[State] = (), confidence: float = 0.95) -> list[Extent]:
    """Extents of these lengths, one after the other; "predicted" where no state is given."""
    result: list[Extent] = []
    first = 0
    for number, frames in enumerate(lengths):
        state: State = states[number] if number < len(states) else "predicted"
        result.append(Extent(first, first + frames - 1, state, confidence))
        first += frames
    return result


def spans(found: Sequence[Extent]) -> list[tuple[int, int]]:
    return [(extent.start_frame_index, extent.end_frame_index) for extent in found]


def amounts(pieces: Sequence[Extent], *letters: float) -> list[float]:
    return [
        amount
        for piece, amount in zip(pieces, letters, strict=True)
        for _ in range(piece.start_frame_index, piece.end_frame_index + 1)
    ]


def around(at: int) -> tuple[int, int, int]:
    """Of a link between a single frame before `at` and one from there."""
    return at - 1, at, at


def test_a_caption_that_grows_word_by_word_is_one_and_at_rest_when_it_is_whole() -> None:
    pieces = extents(2, 3, 3, 20)
    links = [Link(*around(at), 0.9, 1, True) for at in (2, 5, 8)]
    found, rests = joined(pieces, links, amounts(pieces, 10, 20, 30, 40))
    assert spans(found) == [(0, 27)]
    assert rests == [Rest(8, 27)]


def test_a_caption_spoken_to_its_very_end_is_at_rest_only_there() -> None:
    pieces = extents(9, 9, 3)
    links = [Link(*around(at), 0.9, 1, False) for at in (9, 18)]
    found, rests = joined(pieces, links, amounts(pieces, 10, 20, 30))
    assert spans(found) == [(0, 20)]
    assert rests == [Rest(18, 20)]


def test_two_captions_of_which_one_begins_like_the_other_are_two() -> None:
    pieces = extents(9, 15)
    found, rests = joined(pieces, [Link(*around(9), 0.95, 1, True)], amounts(pieces, 10, 20))
    assert (found, rests) == (pieces, [])


def test_likeness_that_may_be_chance_counts_only_beside_more_of_it() -> None:
    pieces = extents(3, 3, 3)
    unsure = [Link(*around(3), 0.72, 1, False), Link(*around(6), 0.72, 1, False)]
    assert joined(pieces, unsure[:1], [30.0] * 9) == (pieces, [])
    assert joined(pieces, [unsure[0], Link(*around(6), 0.72, -1, False)], [30.0] * 9) == (pieces, [])
    assert spans(joined(pieces, unsure, amounts(pieces, 10, 20, 30))[0]) == [(0, 8)]


def test_what_slides_in_after_a_gap_belongs_to_the_caption_it_becomes() -> None:
    pieces = extents(10, 2, 2, 20, 10, states=("gap", "issue", "issue", "predicted", "gap"))
    links = [Link(*around(at), 0.8, 0, True) for at in (12, 14)]
    found, rests = joined(pieces, links, amounts(pieces, 0, 30, 30, 30, 0))
    assert spans(found) == [(0, 9), (10, 33), (34, 43)]
    assert [extent.state for extent in found] == ["gap", "predicted", "gap"]
    assert rests == [Rest(14, 33)]


def test_what_moves_between_two_captions_belongs_to_the_one_it_resembles_more() -> None:
    pieces = extents(20, 2, 20, states=("predicted", "issue", "predicted"))
    links = [Link(*around(20), 0.8, 0, True), Link(*around(22), 0.7, 0, True)]
    found, _ = joined(pieces, links, amounts(pieces, 30, 30, 30))
    assert spans(found) == [(0, 21), (22, 41)]


def test_pieces_are_cut_where_one_caption_leaves_as_the_next_comes() -> None:
    pieces = extents(20, 4, 20, states=("predicted", "issue", "predicted"))
    links = [Link(*around(20), 0.8, 0, True), Link(*around(24), 0.7, 0, True)]
    found, _ = joined(cut_at(pieces, [22]), links, [30.0] * 44)
    assert spans(found) == [(0, 21), (22, 43)]


def test_links_of_extents_that_are_no_longer_there_do_nothing() -> None:
    pieces = extents(10, 10)
    links = [Link(*around(4), 0.9, 1, True), Link(*around(25), 0.9, 0, True)]
    assert joined(pieces, links, [30.0] * 20) == (pieces, [])


def test_links_hold_where_extents_begin_a_frame_sooner_or_later_unless_one_of_them_is_gone() -> None:
    pieces = extents(3, 3, 20)
    later = [Link(0, 4, 6, 0.9, 1, True), Link(4, 7, 26, 0.9, 1, True)]
    assert spans(joined(pieces, later, amounts(pieces, 10, 20, 30))[0]) == [(0, 25)]
    sooner = [Link(0, 2, 4, 0.9, 1, True), Link(2, 5, 26, 0.9, 1, True)]
    assert spans(joined(pieces, sooner, amounts(pieces, 10, 20, 30))[0]) == [(0, 25)]
    gone = [Link(3, 4, 6, 0.9, 1, True)]
    assert joined(pieces, gone, amounts(pieces, 10, 20, 30)) == (pieces, [])


@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=12),
    states=st.lists(st.sampled_from(["predicted", "gap", "issue"]), min_size=12, max_size=12),
    data=st.data(),
)
def test_whatever_is_linked_the_grid_stays_partitioned_and_rests_lie_inside(
    lengths: list[int], states: list[State], data: st.DataObject
) -> None:
    pieces = extents(*lengths, states=states, confidence=data.draw(st.floats(0, 1)))
    starts = [piece.start_frame_index for piece in pieces]
    links = [
        Link(
            *around(at),
            data.draw(st.floats(0, 1)),
            data.draw(st.sampled_from((-1, 0, 1))),
            data.draw(st.booleans()),
        )
        for at in data.draw(st.lists(st.sampled_from(starts), unique=True))
    ]
    cuts = data.draw(st.lists(st.integers(0, sum(lengths)), max_size=4))
    found, rests = joined(cut_at(pieces, cuts), links, [1.0] * sum(lengths))
    assert (found[0].start_frame_index, found[-1].end_frame_index) == (0, sum(lengths) - 1)
    assert all(a.end_frame_index + 1 == b.start_frame_index for a, b in pairwise(found))
    for rest in rests:
        holding = [e for e in found if e.start_frame_index <= rest.first and rest.last <= e.end_frame_index]
        assert len(holding) == 1
        assert holding[0].state != "gap"
    gaps = [replace(piece, confidence=0) for piece in cut_at(pieces, cuts) if piece.state == "gap"]
    assert [replace(extent, confidence=0) for extent in found if extent.state == "gap"] == gaps
