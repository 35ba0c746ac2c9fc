"""The crop of each grid frame is the right part of the right frame."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_ops.regions import CropRegion
from gpu_ops.video import container, crop
from gpu_ops.video.crop import crop_pixels, cropped_frames
from gpu_ops.video.probe import VideoFacts, probe
from tests.broken_videos import ODD, number_of
from tests.gpu_ops.video.oracle import Oracle, luma

MakeVideo = Callable[[str], Path]

REGION = CropRegion(0, 0, 0.6, 0.3)
EXACT = [name for name in ODD if name not in ("odd_size", "ten_bit_hevc", "hdr", "full_range", "anamorphic")]
WHERE_THE_NUMBER_IS = {
    "rotated_90": CropRegion(0.6, 0, 1, 0.6),
    "rotated_180": CropRegion(0.4, 0.7, 1, 1),
    "rotated_270": CropRegion(0, 0.4, 0.4, 1),
}


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("name", ODD)
def test_grid_frames_show_what_is_on_screen(video: MakeVideo, name: str, native: bool) -> None:
    path = video(name)
    facts, oracle = probe(path), Oracle(path)
    region = WHERE_THE_NUMBER_IS.get(name, REGION)
    frames = list(cropped_frames(path, region, native=native, facts=facts))
    grid = [frame for frame in frames if frame.index is not None]
    assert [frame.index for frame in grid] == list(range(facts.grid_frame_count))
    ((left, top, right, bottom),) = crop_pixels(facts, region).parts
    turns = facts.rotation // 90
    for index, frame in enumerate(grid):
        truth = oracle.shown(index / 10)
        assert frame.y.shape == (bottom - top, right - left)
        assert frame.u.shape == frame.v.shape == ((bottom - top) // 2, (right - left) // 2)
        if name in EXACT:
            upright = np.rot90(luma(truth), -turns)
            assert np.array_equal(frame.y, upright[top:bottom, left:right]), index
        elif name != "anamorphic":
            expected = truth.reformat(format="gray").to_ndarray()
            assert number_of(frame.y) == number_of(np.asarray(expected, dtype=np.uint8))
    if native:
        assert [frame.time for frame in frames] == sorted(frame.time for frame in frames)
        following = [*oracle.times[1:], facts.duration]
        for frame in frames:
            place = int(np.abs(np.asarray(oracle.times) - frame.time).argmin())
            assert frame.time == pytest.approx(oracle.times[place], abs=1e-3)
            assert frame.until == pytest.approx(following[place], abs=1e-3)


@pytest.mark.parametrize(("name", "pixels"), [("plain", "nv12"), ("ten_bit_hevc", "p010le")])
def test_pictures_as_a_gpu_gives_them_are_cut_alike(
    video: MakeVideo, name: str, pixels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = video(name)
    expected = list(cropped_frames(path, REGION))
    monkeypatch.setattr(
        crop, "decode", lambda packet: [frame.reformat(format=pixels) for frame in container.decode(packet)]
    )
    for frame, wanted in zip(cropped_frames(path, REGION), expected, strict=True):
        assert np.array_equal(frame.y, wanted.y)
        assert np.array_equal(frame.u, wanted.u)
        assert np.array_equal(frame.v, wanted.v)


def test_crops_have_square_pixels(video: MakeVideo) -> None:
    frames = cropped_frames(video("anamorphic"), CropRegion(0, 0, 0.6, 0.3))
    numbers = [number_of(frame.y[:, ::2]) for frame in frames]
    assert numbers == [3 * index for index in range(20)]


@pytest.mark.parametrize("name", ["full_range", "hdr"])
def test_luma_is_brought_to_limited_range(video: MakeVideo, name: str) -> None:
    first = next(iter(cropped_frames(video(name), REGION)))
    assert first.y.min() >= 16
    assert first.y.max() <= 235


@given(
    st.integers(16, 4000),
    st.integers(16, 4000),
    st.lists(st.floats(0, 1), min_size=4, max_size=4, unique=True),
)
def test_crop_pixels_are_even_inside_the_frame_and_cover_the_region(
    width: int, height: int, fractions: list[float]
) -> None:
    left, right = sorted(fractions[:2])
    top, bottom = sorted(fractions[2:])
    timeline = None
    facts = VideoFacts.__new__(VideoFacts)
    for field, value in (("width", width), ("height", height), ("timeline", timeline)):
        object.__setattr__(facts, field, value)
    (box,) = crop_pixels(facts, CropRegion(left, top, right, bottom)).parts
    assert all(side % 2 == 0 for side in box)
    assert 0 <= box[0] < box[2] <= width
    assert 0 <= box[1] < box[3] <= height
    assert box[0] <= left * width
    assert box[2] >= min(right * width, width - 1) - 1e-6


@pytest.mark.parametrize("name", ["plain", "ten_bit_hevc", "rotated_90", "rotated_180", "rotated_270"])
def test_of_two_places_the_upper_lies_upon_the_lower(video: MakeVideo, name: str) -> None:
    path = video(name)
    upper, lower = CropRegion(0.1, 0.05, 0.7, 0.3), CropRegion(0.1, 0.6, 0.7, 0.9)
    both = cropped_frames(path, CropRegion.around([lower, upper]))
    apart = zip(cropped_frames(path, upper), cropped_frames(path, lower), strict=True)
    for frame, (above, below) in zip(both, apart, strict=True):
        assert np.array_equal(frame.y, np.concatenate([above.y, below.y]))
        assert np.array_equal(frame.u, np.concatenate([above.u, below.u]))
        assert np.array_equal(frame.v, np.concatenate([above.v, below.v]))
    pixels = crop_pixels(probe(path), CropRegion.around([lower, upper]))
    assert (pixels.height, pixels.width) == frame.y.shape


def test_a_gap_of_less_than_a_pixel_is_none(video: MakeVideo) -> None:
    facts = probe(video("plain"))
    assert len(crop_pixels(facts, CropRegion(0, 0, 1, 1, 0.5, 0.5001)).parts) == 1
