"""Which frames show the picture behind a caption."""

import numpy as np
import pytest

from gpu_ops.captions.behind import behind, frames_beside
from gpu_ops.contract import FrameRange


def span(start: int, end: int) -> FrameRange:
    return FrameRange(start_frame=start, end_frame=end)


@pytest.mark.parametrize(
    ("gaps", "expected"),
    [
        ([span(0, 40), span(60, 90)], [36, 64]),  # of the coarse levels, and not at the edge of the gap
        ([span(37, 40), span(60, 62)], [38, 60]),  # short gaps have only these
        ([span(0, 39), span(61, 90)], []),  # other captions lie between
        ([], []),
    ],
)
def test_frames_beside_a_caption_are_those_of_the_gaps_that_touch_it(
    gaps: list[FrameRange], expected: list[int]
) -> None:
    assert frames_beside(span(40, 60), gaps) == expected


def test_the_stiller_frame_shows_what_is_behind_and_another_scene_does_not() -> None:
    caption = np.full((20, 100, 3), 90, np.uint8)
    caption[8:12, 30:70] = 255
    scene, cut = np.full_like(caption, 92), np.full_like(caption, 10)
    assert behind(caption, [cut, scene]) is scene
    assert behind(caption, [cut]) is None
    assert behind(caption, []) is None
