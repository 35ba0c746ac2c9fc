"""Letters drawn over leaves that blow about: moved, made larger, added to, or exchanged for others."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from gpu_ops.extents.decode import Extent, State
from gpu_ops.extents.letters import Seen
from gpu_ops.extents.motion import links_between, switches_within
from gpu_ops.extents.pieces import Link
from gpu_ops.extents.refine import Change

HEIGHT, WIDTH, CELL = 64, 800, 8


def frame(text: str, *, x: int | None = None, y: int = 44, size: float = 1.0, number: int = 0) -> Seen:
    """A frame with `text` in the middle, or from column `x` on; `number` moves the leaves. The last of
    several lines stands at row `y`."""
    letters = np.zeros((HEIGHT, WIDTH), np.uint8)
    for above, line in enumerate(reversed(text.split("\n"))):
        (width, _), _ = cv2.getTextSize(line, cv2.FONT_HERSHEY_SIMPLEX, size, 3)
        at = ((WIDTH - width) // 2 if x is None else x, y - above * round(32 * size))
        cv2.putText(letters, line, at, cv2.FONT_HERSHEY_SIMPLEX, size, 255, 3, cv2.LINE_AA)
    leaves = np.random.default_rng(3).normal(0, 60, (HEIGHT, WIDTH * 2)).astype(np.float32)
    behind = 90 + cv2.GaussianBlur(leaves, (0, 0), 3)[:, number * 5 : number * 5 + WIDTH]
    alpha = letters.astype(np.float32) / 255
    picture = np.clip(behind * (1 - alpha) + 220 * alpha, 0, 255).astype(np.uint8)
    cells: NDArray[np.uint8] = cv2.dilate(letters, np.ones((9, 9), np.uint8)).astype(np.uint8)
    cells = cv2.resize(cells, (WIDTH // CELL, HEIGHT // CELL), interpolation=cv2.INTER_AREA).astype(np.uint8)
    return Seen(picture, number / 10, 0.04, (cells > 50).astype(np.float16)[None])


def link(
    before: Seen,
    after: Seen,
    lengths: tuple[int, int],
    states: tuple[State, State] = ("predicted", "predicted"),
) -> Link | None:
    frames = [before] * lengths[0] + [after] * lengths[1]
    a = Extent(0, lengths[0] - 1, states[0], 0.95)
    b = Extent(lengths[0], len(frames) - 1, states[1], 0.95)
    found = links_between(frames, [a, b], {})
    return found[0] if found else None


LINE = "Where did you leave the keys"


def test_a_line_that_slides_is_recognised_where_it_has_got_to() -> None:
    found = link(frame(LINE, y=58), frame(LINE, number=1), (1, 20), ("issue", "predicted"))
    assert found is not None
    assert (found.at, found.adds, found.sure) == (1, 0, True)
    assert found.similarity > 0.9


@pytest.mark.parametrize("size", [0.7, 0.85, 1.15])
def test_a_line_that_zooms_is_recognised_in_another_size(size: float) -> None:
    found = link(frame(LINE, size=size), frame(LINE, number=1), (2, 20), ("issue", "predicted"))
    assert found is not None
    assert (found.adds, found.sure) == (0, True)


def test_a_centred_line_that_gets_another_word_is_the_same_line() -> None:
    found = link(frame("Where did you leave"), frame("Where did you leave the", number=1), (3, 3))
    assert found is not None
    assert (found.adds, found.sure) == (1, True)


def test_a_second_line_that_gets_another_word_moves_and_the_first_stays() -> None:
    before = frame("Where did you leave them?\nI thought", y=54, size=0.9)
    after = frame("Where did you leave them?\nI thought they", y=54, size=0.9, number=1)
    found = link(before, after, (3, 3))
    assert found is not None
    assert (found.adds, found.sure) == (1, True)
    other = frame("Where did you leave them?\nIn the kitchen", y=54, size=0.9, number=1)
    assert link(before, other, (3, 3)) is None


def test_a_line_that_stands_still_and_gets_another_word_is_the_same_line() -> None:
    before, after = frame("Where did you", x=90), frame("Where did you leave", x=90, number=1)
    found = link(before, after, (3, 3))
    assert found is not None
    assert (found.adds, found.sure) == (1, False)
    found = link(after, before, (3, 3))
    assert found is not None
    assert found.adds == -1


def test_a_line_is_found_although_what_looks_like_letters_lies_far_beside_it() -> None:
    before, after = frame("Where did you"), frame("Where did you leave the keys", number=1)
    for seen in (before, after):
        seen.embedding[0, 2:5, 1:4] = 1
    found = link(before, after, (4, 9))
    assert found is not None
    assert (found.adds, found.sure) == (1, True)


def test_other_words_are_another_caption_however_short() -> None:
    for before, after in (
        ("leave", "keys"),
        ("Where", "did you"),
        ("Run!", "Over here"),
        ("I know", "You know"),
    ):
        assert link(frame(before), frame(after, number=1), (3, 3)) is None


def test_one_letter_exchanged_for_another_makes_another_caption() -> None:
    assert link(frame("Flat 7 is free"), frame("Flat 8 is free", number=1), (4, 4)) is None


def test_a_word_added_to_a_caption_that_stood_long_enough_to_be_read_is_another_caption() -> None:
    assert link(frame("Where did you"), frame("Where did you go", number=1), (12, 12)) is None


def test_a_word_added_after_nothing_was_seen_is_another_caption() -> None:
    before, after = frame("Where did you"), frame("Where did you go", number=1)
    extents = [Extent(0, 2, "predicted", 0.95), Extent(3, 5, "predicted", 0.95)]
    frames = [before] * 3 + [after] * 3
    assert links_between(frames, extents, {2: Change(0.29, 0.24, 0.29)}) == []
    assert len(links_between(frames, extents, {2: Change(0.29, 0.29, 0.29)})) == 1


def test_letters_that_become_clearer_are_a_fade_and_no_movement() -> None:
    clear = frame(LINE, number=1)
    faint = Seen(
        (90 + (clear.strip.astype(np.float32) - 90) * 0.4).astype(np.uint8), 0.0, 0.04, clear.embedding.copy()
    )
    faint.embedding[0, :, :30] = 0
    assert link(faint, clear, (3, 20), ("issue", "predicted")) is None


def test_where_one_caption_leaves_as_the_next_comes_the_piece_between_is_cut() -> None:
    other = "I thought they were on the table"
    frames = [
        *[frame(LINE)] * 10,
        *(frame(LINE, x=300 + 60 * k, number=k) for k in (1, 2)),
        *(frame(other, x=20 + 40 * k, number=k) for k in (3, 4)),
        *[frame(other)] * 10,
    ]
    extents = [Extent(0, 9, "predicted", 0.9), Extent(10, 13, "issue", 0.1), Extent(14, 23, "predicted", 0.9)]
    links = [Link(0, 10, 13, 0.8, 0, True), Link(10, 14, 20, 0.8, 0, True)]
    assert switches_within(frames, extents, links) == [12]
    assert switches_within(frames, extents, links[:1]) == []
