"""A covered rectangle shows what is beside it, and nothing else changes."""

import numpy as np
import pytest

from gpu_ops.regions import CropPixels
from gpu_ops.video.cover import covered, in_strip
from gpu_ops.video.probe import VideoFacts


def facts(width: int, height: int) -> VideoFacts:
    made = VideoFacts.__new__(VideoFacts)
    for name, value in (("width", width), ("height", height), ("timeline", None)):
        object.__setattr__(made, name, value)
    return made


def test_places_of_the_frame_are_cut_to_the_strip():
    crop = CropPixels(left=100, top=800, right=900, bottom=900)
    inside, across_the_edge = (0.2, 0.82, 0.3, 0.86), (0.05, 0.7, 0.15, 0.85)
    assert in_strip([inside, across_the_edge, (0.2, 0.1, 0.3, 0.2)], facts(1000, 1000), crop) == (
        (100, 20, 200, 60),
        (0, 0, 50, 50),
    )


def test_places_above_and_below_a_gap_lie_under_each_other():
    crop = CropPixels(left=0, top=100, right=1000, bottom=900, gap_top=200, gap_bottom=800)
    places = [(0.2, 0.12, 0.3, 0.15), (0.5, 0.82, 0.6, 0.85), (0.2, 0.4, 0.3, 0.5)]
    assert in_strip(places, facts(1000, 1000), crop) == ((200, 20, 300, 50), (500, 120, 600, 150))


@pytest.mark.parametrize("shape", [(40, 100), (40, 100, 3)])
def test_what_is_covered_goes_on_from_both_sides(shape: tuple[int, ...]):
    image = np.full(shape, 60, np.uint8)
    image[:, 50:] = 100
    image[10:20, 40:60] = 255
    before = image.copy()
    result = covered(image, [(38, 8, 62, 22)])
    assert np.array_equal(image, before)
    assert result[8:22, 38:62].max() <= 100
    assert result[15, 38].max() <= 61
    assert result[15, 61].min() >= 99
    middle = result[15, 50] if len(shape) == 2 else result[15, 50, 0]
    assert 75 <= middle <= 85
    result[8:22, 38:62] = image[8:22, 38:62]
    assert np.array_equal(result, image)


@pytest.mark.parametrize("rectangle", [(0, 10, 30, 20), (70, 10, 100, 20)])
def test_at_the_edge_the_other_side_goes_on(rectangle: tuple[int, int, int, int]):
    image = np.full((40, 100), 60, np.uint8)
    left, top, right, bottom = rectangle
    image[top:bottom, left:right] = 255
    assert np.array_equal(covered(image, [rectangle]), np.full((40, 100), 60, np.uint8))


def test_nothing_to_cover_costs_nothing():
    image = np.zeros((4, 4), np.uint8)
    assert covered(image, ()) is image
    assert np.array_equal(covered(image, [(0, 0, 4, 4)]), image)
