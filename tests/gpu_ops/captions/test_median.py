"""Median frames: exact, and only over frames that show the same."""

import numpy as np
import pytest

from gpu_ops.captions.median import agreeing_frames, median_frame


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 9, 13, 15])
def test_the_median_is_exact_for_every_pixel(count: int):
    frames = list(np.random.default_rng(count).integers(0, 256, (count, 7, 11, 3), dtype=np.uint8))
    expected = np.sort(np.stack(frames), axis=0)[(count - 1) // 2]
    assert np.array_equal(median_frame(frames), expected)


def test_the_frames_given_are_not_changed():
    frames = list(np.random.default_rng(1).integers(0, 256, (5, 7, 11, 3), dtype=np.uint8))
    copies = [frame.copy() for frame in frames]
    median_frame(frames)
    assert all(np.array_equal(frame, copy) for frame, copy in zip(frames, copies, strict=True))


def test_no_frames_have_no_median():
    with pytest.raises(ValueError, match="at least one"):
        median_frame([])


def test_a_frame_caught_in_a_fade_is_left_out():
    noise = np.random.default_rng(2)
    shown = [(120 + noise.integers(-4, 5, (40, 80, 3))).astype(np.uint8) for _ in range(7)]
    faded = np.full((40, 80, 3), 40, np.uint8)
    assert len(agreeing_frames([*shown, faded])) == 7
    assert len(agreeing_frames(shown)) == 7
