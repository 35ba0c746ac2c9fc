"""What a file really holds, however odd; and a sentence for its owner where it holds nothing."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from gpu_ops.contract import BadVideo
from gpu_ops.video.probe import probe
from tests.broken_videos import HOSTILE_NAMES, UNUSABLE

MakeVideo = Callable[[str], Path]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("empty_file", "is empty"),
        ("text_file", "not a video"),
        ("playlist_file", "not a video"),
        ("cut_without_index", "cut short"),
        ("cut_before_first_frame", "no video frames"),
        ("audio_only", "no video stream"),
        ("sound_with_cover", "no video stream"),
    ],
)
def test_a_file_without_video_is_refused_with_a_sentence(video: MakeVideo, name: str, sentence: str) -> None:
    assert name in UNUSABLE
    with pytest.raises(BadVideo, match=sentence):
        probe(video(name))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadVideo, match="no such video"):
        probe(tmp_path / "nothing.mp4")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", {"codec": "h264", "width": 320, "height": 240, "duration": 3.0, "grid_frame_count": 30}),
        ("one_frame", {"frame_count": 1, "grid_frame_count": 1}),
        ("three_tenths", {"duration": pytest.approx(0.3), "grid_frame_count": 3}),
        ("odd_size", {"width": 321, "height": 241}),
        ("ten_bit_hevc", {"codec": "hevc", "pixel_format": "yuv420p10le", "is_hdr": False}),
        ("hdr", {"is_hdr": True}),
        ("rotated_90", {"rotation": 90, "width": 240, "height": 320}),
        ("rotated_180", {"rotation": 180, "width": 320, "height": 240}),
        ("rotated_270", {"rotation": 270, "width": 240, "height": 320}),
        ("anamorphic", {"sample_aspect_ratio": Fraction(2), "width": 640, "height": 240}),
        ("interlaced", {"is_interlaced": True}),
        ("late_start", {"duration": pytest.approx(2.0), "grid_frame_count": 20}),
        ("transport_stream", {"duration": pytest.approx(2.0), "grid_frame_count": 20}),
        ("edit_list", {"frame_count": 40, "duration": pytest.approx(4 / 3), "grid_frame_count": 14}),
        ("sound_outlasts_picture", {"duration": pytest.approx(2.0), "frame_count": 60}),
        ("slow_rate", {"frame_count": 12, "grid_frame_count": 30}),
        ("mpeg4_avi", {"codec": "mpeg4", "frame_count": 60}),
    ],
)
def test_facts_are_measured(video: MakeVideo, name: str, expected: dict[str, object]) -> None:
    facts = probe(video(name))
    assert {field: getattr(facts, field) for field in expected} == expected


def test_a_cut_file_is_as_long_as_what_is_left_of_it(video: MakeVideo) -> None:
    facts = probe(video("cut_in_the_middle"))
    assert 1.0 < facts.duration < 2.0


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_file_names_are_never_interpreted(video: MakeVideo, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(video("three_tenths").read_bytes())
    assert probe(path).frame_count == 9
