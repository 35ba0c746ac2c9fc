"""Which chunk holds which frame of the 10 Hz grid: pure arithmetic, standard library only.

Three levels hold each frame exactly once: multiples of 16, other multiples of 4, and the rest. A reader that
needs every 16th frame, say, fetches and decodes one chunk for 512 grid frames.
"""

from __future__ import annotations

from typing import Literal

Modulo = Literal[16, 4, 1]

MODULOS: tuple[Modulo, ...] = (16, 4, 1)
WINDOW_STEPS = 32


def modulo_of(index: int) -> Modulo:
    """The level that holds the grid frame."""
    return 16 if index % 16 == 0 else 4 if index % 4 == 0 else 1


def window_start(index: int) -> int:
    """The first index of the aligned window whose chunk holds the grid frame; it names the chunk's file."""
    width = WINDOW_STEPS * modulo_of(index)
    return index // width * width


def position_in_chunk(index: int) -> int:
    """How many frames of its chunk come before the grid frame."""
    modulo = modulo_of(index)
    offset = index - window_start(index)
    coarser = 0 if modulo == 16 else -(-offset // (4 * modulo))
    return offset // modulo - coarser


def indices_in_chunk(modulo: Modulo, start: int, frame_count: int) -> list[int]:
    """The frames of one chunk, in order, of a video of `frame_count` grid frames; empty: no such chunk."""
    end = min(start + WINDOW_STEPS * modulo, frame_count)
    return [index for index in range(start, end, modulo) if modulo_of(index) == modulo]


def chunk_path(modulo: Modulo, start: int) -> str:
    """Where a chunk lies below its version's prefix."""
    return f"modulo_{modulo}/chunk_{start:010d}.webm"


def cheap_indices(start: int, end: int, wanted: int, enough: int) -> list[int]:
    """At most `wanted` evenly spread frames of start <= index < end, ascending.

    Taken from the coarsest levels that have `enough`, so that few chunks need to be read.
    """
    candidates = range(start, end)
    for modulo in (16, 4):
        coarse = range(-(-start // modulo) * modulo, end, modulo)
        if len(coarse) >= enough:
            candidates = coarse
            break
    if len(candidates) <= wanted:
        return list(candidates)
    return [candidates[(2 * k + 1) * len(candidates) // (2 * wanted)] for k in range(wanted)]
