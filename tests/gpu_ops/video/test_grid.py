"""Every frame of the grid has exactly one place among the chunks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gpu_ops.video.grid import (
    MODULOS,
    WINDOW_STEPS,
    cheap_indices,
    indices_in_chunk,
    modulo_of,
    position_in_chunk,
    window_start,
)


@given(st.integers(1, 3000))
def test_every_frame_is_in_exactly_one_chunk(frame_count: int) -> None:
    held: list[int] = []
    for modulo in MODULOS:
        for start in range(0, frame_count, WINDOW_STEPS * modulo):
            held += indices_in_chunk(modulo, start, frame_count)
    assert sorted(held) == list(range(frame_count))


@given(st.integers(0, 10**7))
def test_a_frame_stands_in_its_chunk_where_arithmetic_says(index: int) -> None:
    chunk = indices_in_chunk(modulo_of(index), window_start(index), index + 10_000)
    assert chunk[position_in_chunk(index)] == index
    assert len(chunk) == (32 if modulo_of(index) == 16 else 24)


@given(st.integers(0, 5000), st.integers(0, 2000), st.integers(1, 40), st.integers(1, 40))
def test_cheap_indices_are_spread_within_the_range(start: int, length: int, wanted: int, enough: int) -> None:
    chosen = cheap_indices(start, start + length, wanted, enough)
    assert min(wanted, enough, length) <= len(chosen) <= wanted
    assert chosen == sorted(set(chosen))
    assert all(start <= index < start + length for index in chosen)


def test_a_long_caption_is_read_from_one_level() -> None:
    assert {modulo_of(index) for index in cheap_indices(10, 400, 12, 12)} == {16}


def test_a_usual_caption_needs_nothing_of_the_finest_level() -> None:
    assert cheap_indices(103, 122, 9, 5) == [104, 108, 112, 116, 120]
    assert cheap_indices(103, 119, 9, 5) != [104, 108, 112, 116]
