"""Sampling by seeking gives the very pixels that decoding everything gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gpu_ops.contract import BadVideo
from gpu_ops.video.probe import probe
from gpu_ops.video.sample import displayed, full_frame_times, sample_frames
from tests.broken_videos import EDIT_LIST_FIRST_FRAME, ODD, number_of
from tests.gpu_ops.video.oracle import Oracle

MakeVideo = Callable[[str], Path]


@pytest.mark.parametrize("name", ODD)
def test_sampled_frames_equal_a_sequential_decode(video: MakeVideo, name: str) -> None:
    path = video(name)
    facts, oracle = probe(path), Oracle(path)
    dense = [index / 10 for index in range(facts.grid_frame_count)]
    for times in (dense, [0.0, 0.7, 1.9], [max(0.0, facts.duration - 0.01)]):
        samples = list(sample_frames(path, times, facts=facts))
        assert [sample.time for sample in samples] == times
        for sample in samples:
            assert sample.image.shape == (facts.height, facts.width, 3)
            assert np.array_equal(sample.image, displayed(oracle.shown(sample.time), facts)), sample.time


@pytest.mark.parametrize(("name", "first"), [("plain", 0), ("edit_list", EDIT_LIST_FIRST_FRAME), ("hdr", 0)])
def test_time_zero_is_the_first_displayed_frame(video: MakeVideo, name: str, first: int) -> None:
    numbers = [number_of(sample.image[..., 1]) for sample in sample_frames(video(name), [0.0, 0.25])]
    assert numbers == [first, first + 7]


@pytest.mark.parametrize(("name", "turns"), [("rotated_90", 1), ("rotated_180", 2), ("rotated_270", 3)])
def test_rotated_videos_come_out_upright(video: MakeVideo, name: str, turns: int) -> None:
    (sample,) = sample_frames(video(name), [1.0])
    assert number_of(np.rot90(sample.image[..., 1], turns)) == 30


def test_full_frames_are_taken_every_ten_seconds_from_the_start(video: MakeVideo) -> None:
    facts = probe(video("plain"))
    assert full_frame_times(facts) == [0.0]
    assert full_frame_times(facts, rate=1.0) == [0.0, 1.0, 2.0]


def test_nothing_to_sample_is_bad_video(video: MakeVideo) -> None:
    with pytest.raises(BadVideo):
        list(sample_frames(video("cut_before_first_frame"), [0.0]))
