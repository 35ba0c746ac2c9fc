from __future__ import annotations

import cv2
import numpy as np

from gpu_ops.extents.decode import State
from gpu_ops.extents.timeline import GAP, ISSUE, MAX_BYTES, timeline_jpeg
from gpu_ops.extents.timing import TimedExtent


def extents(states: list[State], seconds: float) -> list[TimedExtent]:
    return [
        TimedExtent(
            int(i * seconds * 10),
            int((i + 1) * seconds * 10) - 1,
            state,
            0.95,
            i * seconds,
            (i + 1) * seconds,
        )
        for i, state in enumerate(states)
    ]


def has_colour(image: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((np.abs(image.astype(int) - colour).max(axis=2) < 25).sum() > 50)


def test_states_are_told_apart_by_colour() -> None:
    image = cv2.imdecode(
        np.frombuffer(timeline_jpeg(extents(["predicted", "gap", "issue"], 10)), np.uint8), 1
    )
    assert image is not None
    assert has_colour(image, GAP)
    assert has_colour(image, ISSUE)
    without = cv2.imdecode(np.frombuffer(timeline_jpeg(extents(["predicted", "gap"], 10)), np.uint8), 1)
    assert without is not None
    assert not has_colour(without, ISSUE)


def test_a_ten_hour_video_full_of_captions_still_fits() -> None:
    states: list[State] = ["predicted", "gap"] * 9000
    assert 0 < len(timeline_jpeg(extents(states, 2.0))) <= MAX_BYTES


def test_nothing_is_drawn_without_extents() -> None:
    assert timeline_jpeg([]) == b""
