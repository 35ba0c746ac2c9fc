"""Captions drawn over a moving picture, with what is known of their opacity."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gpu_ops.extents.fades import FadedEnds, faded_ends
from gpu_ops.extents.letters import Seen

HEIGHT, WIDTH, CELL = 64, 640, 8
LASTS = 0.04


def written(text: str, across: float = 0, down: float = 0) -> NDArray[np.float32]:
    """How much of each pixel the letters cover, 0-1, so many pixels from their place."""
    picture = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.putText(
        picture,
        text,
        (round(60 + across), round(44 + down)),
        cv2.FONT_HERSHEY_SIMPLEX,
        1.1,
        255,
        3,
        cv2.LINE_AA,
    )
    return picture.astype(np.float32) / 255


def film(
    opacity: Callable[[float], float],
    count: int = 40,
    text: str = "Good night, and good luck",
    brightness: Callable[[float], float] = lambda time: 90.0,
    off: Callable[[float], tuple[float, float]] = lambda time: (0.0, 0.0),
) -> list[Seen]:
    """`count` grid frames of grey letters over leaves that blow about."""
    rng = np.random.default_rng(7)
    leaves = cv2.GaussianBlur(rng.normal(0, 120, (HEIGHT, WIDTH * 2)).astype(np.float32), (0, 0), 3)
    size = WIDTH // CELL, HEIGHT // CELL
    frames: list[Seen] = []
    for index in range(count):
        time = index / 10
        letters = written(text, *off(time))
        cells = cv2.resize(cv2.dilate(letters, np.ones((9, 9))), size, interpolation=cv2.INTER_AREA)
        behind = brightness(time) + leaves[:, index * 5 : index * 5 + WIDTH]
        alpha = letters * opacity(time)
        picture = np.clip(behind * (1 - alpha) + 200 * alpha, 0, 255).astype(np.uint8)
        held = (cells > 0.2) & (opacity(time) > 0.2)
        frames.append(Seen(picture, time, LASTS, held.astype(np.float16)[None]))
    return frames


def ramp(start_s: float, end_s: float, fade_s: float) -> Callable[[float], float]:
    return lambda time: float(np.clip(min(time - start_s, end_s - time) / fade_s, 0, 1))


@settings(max_examples=30, deadline=None)
@given(start=st.floats(0.8, 1.3), end=st.floats(2.6, 3.1), fade=st.floats(0.25, 0.7))
def test_a_fade_is_seen_from_a_tenth_of_its_opacity_on(start: float, end: float, fade: float) -> None:
    first, last = int((start + fade / 2) * 10), int((end - fade / 2) * 10)
    ends = faded_ends(film(ramp(start, end, fade)), first, last)
    assert ends.entered == pytest.approx(start + 0.1 * fade + LASTS / 2, abs=0.05)
    assert ends.left == pytest.approx(end - 0.1 * fade + LASTS / 2, abs=0.05)


def test_ends_that_are_cut_are_left_to_the_native_frames() -> None:
    assert faded_ends(film(lambda time: float(1 <= time < 3)), 10, 29) == FadedEnds()


@pytest.mark.parametrize("pixels", [24, -24])
def test_letters_that_rise_or_sink_while_they_fade_are_followed(pixels: int) -> None:
    """What the pair model decodes begins late: at first such letters are faint, then elsewhere each time."""
    opacity = ramp(1.02, 2.98, 0.4)
    ends = faded_ends(film(opacity, off=lambda time: (0, pixels * (1 - opacity(time)))), 13, 26)
    assert ends.entered == pytest.approx(1.06 + LASTS / 2, abs=0.08)
    assert ends.left == pytest.approx(2.94 + LASTS / 2, abs=0.08)


def test_letters_that_rise_without_fading_are_there_from_the_first_frame_that_shows_them() -> None:
    def off(time: float) -> tuple[float, float]:
        return 0, max(0.0, 24 * (1.3 - time) / 0.3)

    ends = faded_ends(film(lambda time: float(1 <= time < 3), off=off), 13, 29)
    assert ends == FadedEnds(pytest.approx(0.95 + LASTS / 2), None)


def test_the_same_letters_beside_their_place_are_other_words() -> None:
    opacity = ramp(1, 3, 0.0001)
    assert faded_ends(film(opacity, off=lambda time: (0 if time > 1.25 else 60, 0)), 13, 29) == FadedEnds()


def test_letters_that_outlast_what_was_decoded_are_found() -> None:
    ends = faded_ends(film(lambda time: float(1 <= time < 3)), 10, 26)
    assert ends.entered is None
    assert ends.left == pytest.approx(2.95 + LASTS / 2)


def test_a_bright_picture_that_hides_letters_for_a_moment_does_not_end_them() -> None:
    def brightness(time: float) -> float:
        return 200.0 if 2.2 <= time < 2.7 else 90.0

    assert faded_ends(film(lambda time: float(1 <= time < 3), brightness=brightness), 10, 29) == FadedEnds()


def test_letters_before_a_picture_brighter_than_they_are_do_not_end() -> None:
    def brightness(time: float) -> float:
        return 250.0 if time >= 2.5 else 90.0

    assert faded_ends(film(lambda time: float(1 <= time < 3), brightness=brightness), 10, 29) == FadedEnds()


def test_a_caption_of_few_pixels_or_frames_is_left_alone() -> None:
    assert faded_ends(film(ramp(1, 3, 0.4), text="."), 12, 27) == FadedEnds()
    assert faded_ends(film(ramp(1, 3, 0.4)), 12, 15) == FadedEnds()
