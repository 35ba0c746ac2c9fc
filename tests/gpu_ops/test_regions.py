"""The region as people write it and as it crosses to another process."""

import json
import re

import pytest

from gpu_ops.contract import from_json, to_json
from gpu_ops.regions import CropPixels, CropRegion

BELOW = CropRegion(0.1, 0.8, 0.9, 0.95)
ABOVE = CropRegion(0.2, 0.05, 0.8, 0.125)
BOTH = CropRegion(0.1, 0.05, 0.9, 0.95, gap_top=0.125, gap_bottom=0.8)


@pytest.mark.parametrize("region", [BELOW, ABOVE, BOTH])
def test_a_region_is_read_as_it_is_written_and_crosses_as_json(region: CropRegion):
    assert CropRegion.parse(str(region)) == region
    assert from_json(CropRegion, json.loads(json.dumps(to_json(region)))) == region


def test_two_places_in_any_order_are_one_region_with_a_gap():
    assert CropRegion.around([BELOW, ABOVE]) == CropRegion.around([ABOVE, BELOW]) == BOTH
    assert [part.top for part in BOTH.parts] == [0.05, 0.8]
    assert [part.bottom for part in BOTH.parts] == [0.125, 0.95]


def test_places_that_overlap_are_one():
    assert CropRegion.parse("0.1,0.7,0.9,0.9+0.2,0.8,0.8,0.95") == CropRegion(0.1, 0.7, 0.9, 0.95)
    assert CropRegion.parse("0.1,0.5,0.9,0.9+0.2,0.6,0.8,0.7") == CropRegion(0.1, 0.5, 0.9, 0.9)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0.1,0.8,0.9", "not four numbers"),
        ("0.1,0.8,0.9,0.95+", "not four numbers"),
        ("0.9,0.8,0.1,0.95", "not left,top,right,bottom"),
        ("0,0,1,0.1+0,0.2,1,0.3+0,0.4,1,0.5", "3 places: one or two"),
    ],
)
def test_what_is_no_region_is_refused_with_a_reason(text: str, said: str):
    with pytest.raises(ValueError, match=re.escape(said)):
        CropRegion.parse(text)


@pytest.mark.parametrize("gap", [(0.2, None), (0.05, 0.8), (0.2, 0.95), (0.5, 0.4)])
def test_a_gap_lies_inside_the_region(gap: tuple[float, float | None]):
    with pytest.raises(ValueError, match="no gap"):
        CropRegion(0.1, 0.05, 0.9, 0.95, *gap)


def test_pixels_of_two_places():
    pixels = CropPixels(left=10, top=20, right=110, bottom=400, gap_top=40, gap_bottom=370)
    assert (pixels.width, pixels.height) == (100, 50)
    assert str(pixels) == "100 x 20 at 10,20 and 100 x 30 at 10,370"
    assert from_json(CropPixels, to_json(pixels)) == pixels


def test_a_wider_region_stays_inside_the_frame():
    assert CropRegion(0.25, 0.8, 0.75, 0.9).widened() == CropRegion(0.125, 0.8, 0.875, 0.9)
    assert BOTH.widened() == CropRegion(0, 0.05, 1, 0.95, gap_top=0.125, gap_bottom=0.8)
