"""A rendered film shows exactly what its ground truth says, frame by frame, whatever the container."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from gpu_ops.footage.distractors import Clock, Logo, Sign, Ticker
from gpu_ops.footage.film import Caption, Film, Style, Typeface
from gpu_ops.footage.lettering import set_text
from gpu_ops.footage.render import pictures, presentation_times, render
from gpu_ops.footage.sample import CHINESE, PHOTOGRAPHS, sample_film
from gpu_ops.footage.scenery import Camera, Letterboxed, Plain
from gpu_ops.footage.truth import read_truth

SCRIPT = (
    Caption(0.31, 1.0, "First"),
    Caption(1.0, 1.52, "Second"),
    Caption(2.0, 2.0 + 1 / 30, "X"),
)


def film(**changes: Any) -> Film:
    plain = Film(width=320, height=180, fps=25, duration=2.6, background=Plain(), captions=SCRIPT)
    return replace(plain, **changes)


def frames_with_ink(path: Path, box: list[float]) -> list[tuple[float, bool]]:
    """For each decoded frame: seconds after the first, and whether white writing is inside `box`."""
    seen: list[tuple[float, bool]] = []
    with av.open(str(path)) as container:
        first = None
        for frame in container.decode(video=0):
            assert frame.time is not None
            first = frame.time if first is None else first
            image = np.rot90(frame.to_ndarray(format="gray"), round(frame.rotation / 90))
            height, width = image.shape
            left, top, right, bottom = box
            inside = image[int(top * height) : int(bottom * height), int(left * width) : int(right * width)]
            seen.append((frame.time - first, bool((inside > 160).any())))
    return seen


def assert_shown_as_stated(path: Path, truth: dict[str, Any]) -> None:
    together = [
        (time, shown, any(c["start_s"] - 1e-4 <= time < c["end_s"] - 1e-4 for c in truth["captions"]))
        for time, shown in frames_with_ink(path, truth["region"])
    ]
    assert any(stated for _, _, stated in together)
    assert [t for t, shown, stated in together if shown != stated] == []
    assert len(together) == truth["frame_count"]


@pytest.mark.parametrize("fps", [24000 / 1001, 25, 30, 50])
def test_captions_are_on_screen_in_exactly_the_stated_frames(tmp_path: Path, fps: float) -> None:
    truth = render(film(fps=fps), tmp_path / "a.mp4")
    assert [c["text"] for c in truth["captions"]][:2] == ["First", "Second"]
    assert_shown_as_stated(tmp_path / "a.mp4", truth)


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format"),
    [
        ("a.mkv", "libx264", "yuv420p"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("a.mp4", "libx265", "yuv420p10le"),
    ],
)
def test_other_codecs_and_containers_show_them_as_stated(
    tmp_path: Path, name: str, codec: str, pixel_format: Any
) -> None:
    truth = render(film(), tmp_path / name, codec, pixel_format=pixel_format)
    assert_shown_as_stated(tmp_path / name, truth)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_variable_frame_rates_are_stated_by_the_files_own_clock(tmp_path: Path, name: str) -> None:
    truth = render(film(variable_rate=True, seed=3), tmp_path / name)
    pts = presentation_times(tmp_path / name)
    assert len({round(b - a, 2) for a, b in pairwise(pts)}) > 1
    assert {c["start_s"] for c in truth["captions"]} <= {round(t - pts[0], 6) for t in pts}
    assert_shown_as_stated(tmp_path / name, truth)


def test_a_late_first_frame_moves_the_clock_and_not_the_captions(tmp_path: Path) -> None:
    punctual = render(film(), tmp_path / "a.mkv")
    late = render(film(), tmp_path / "b.mkv", start_pts_s=1.5)
    assert late["video_start_pts_s"] == pytest.approx(1.5)
    assert [c["start_s"] for c in late["captions"]] == [c["start_s"] for c in punctual["captions"]]
    assert_shown_as_stated(tmp_path / "b.mkv", late)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_rotated_file_is_upright_once_a_player_has_turned_it(tmp_path: Path, rotation: Any) -> None:
    truth = render(film(width=180, height=320), tmp_path / "a.mp4", rotation=rotation)
    with av.open(str(tmp_path / "a.mp4")) as container:
        frame = next(container.decode(video=0))
        assert frame.rotation % 360 == (-rotation) % 360
        assert (frame.width, frame.height) == ((180, 320) if rotation == 180 else (320, 180))
    assert (truth["width"], truth["height"]) == (180, 320)
    assert_shown_as_stated(tmp_path / "a.mp4", truth)


def test_grid_indices_are_those_at_which_the_caption_is_on_screen(tmp_path: Path) -> None:
    truth = render(film(), tmp_path / "a.mp4")
    on_screen = dict(frames_with_ink(tmp_path / "a.mp4", truth["region"]))
    times = sorted(on_screen)
    for caption in truth["captions"][:2]:
        shown = [
            index
            for index in range(26)
            if caption["start_s"] <= max(t for t in times if t <= index / 10 + 1e-6) < caption["end_s"] - 1e-6
        ]
        assert (shown[0], shown[-1]) == (caption["first_frame_10hz"], caption["last_frame_10hz"])


def test_a_caption_between_two_frames_is_not_in_the_ground_truth(tmp_path: Path) -> None:
    truth = render(
        film(captions=[Caption(0.5, 1.0, "Seen"), Caption(1.01, 1.03, "Never")]), tmp_path / "a.mp4"
    )
    assert [c["text"] for c in truth["captions"]] == ["Seen"]


def test_a_fading_caption_counts_from_where_a_viewer_could_see_it(tmp_path: Path) -> None:
    script = [Caption(0.4, 2.0, "Slowly", fade_in_s=0.5, fade_out_s=0.5)]
    truth = render(film(captions=script), tmp_path / "a.mp4")
    (caption,) = truth["captions"]
    assert caption["start_s"] == pytest.approx(0.48)  # a tenth of the way into the fade
    assert caption["end_s"] == pytest.approx(1.96)


def test_the_ground_truth_lies_beside_the_video(tmp_path: Path) -> None:
    truth = render(film(), tmp_path / "clip.mp4")
    assert (tmp_path / "clip.gt.json").exists()
    assert read_truth(tmp_path / "clip.mp4") == truth
    assert truth["name"] == "clip"


def test_the_same_seed_gives_the_same_file_and_another_seed_another(tmp_path: Path) -> None:
    busy = film(background=Camera(photographs=PHOTOGRAPHS, passers=1), duration=0.6)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        render(replace(busy, seed=seed), tmp_path / f"{name}.mp4")
    a, b, c = ((tmp_path / f"{name}.mp4").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_backgrounds_move_and_bars_stay_black() -> None:
    boxed = film(background=Letterboxed(Camera(photographs=PHOTOGRAPHS, grain=0), 0.15), captions=())
    early, late = pictures(boxed, [0.2, 1.2])
    assert early[:20].max() == 0
    assert early[-20:].max() == 0
    assert np.abs(early.astype(int) - late).mean() > 2


def test_interlaced_footage_takes_its_odd_lines_from_later() -> None:
    moving = Camera(photographs=PHOTOGRAPHS, grain=0, flicker=0, pace=2)
    (whole,) = pictures(film(background=moving, captions=()), [0.5])
    (woven,) = pictures(film(background=moving, captions=(), interlaced=True), [0.5])
    assert (whole[0::2] == woven[0::2]).all()
    assert not (whole[1::2] == woven[1::2]).all()


def test_distractors_are_on_screen_and_not_in_the_ground_truth(tmp_path: Path) -> None:
    crowd = [Logo(), Clock(), Ticker("NEWS " * 20, speed=0.5), Sign("CAFE", 0.0, 3.0)]
    truth = render(film(distractors=crowd), tmp_path / "a.mp4")
    assert len(truth["captions"]) == 3
    (bare,) = pictures(film(captions=()), [2.2])
    (crowded,) = pictures(film(captions=(), distractors=crowd), [2.2])
    changed = np.abs(bare.astype(int) - crowded).max(2) > 40
    assert changed[:20, :80].any()  # clock
    assert changed[:20, -80:].any()  # logo
    assert changed[-8:].any()  # ticker
    assert changed[50:90, 100:].any()  # sign


def test_karaoke_colours_the_text_from_left_to_right() -> None:
    style = Style(size=0.2, sung_colour=(255, 0, 0))
    first, last = pictures(film(captions=[Caption(0, 2, "Sing along", style)]), [0.2, 1.9])

    def red(image: Any) -> int:
        return int(((image[..., 2] > 200) & (image[..., 1] < 60)).sum())

    assert 0 < red(first) < red(last) / 3


def test_a_box_and_a_top_position_are_where_the_style_says() -> None:
    style = Style(box=(0, 0, 255, 255), outline=0, top=0.1, padding=0.05)
    strip = set_text("Boxed", style, 640, 360)
    left, top, right, bottom = strip.box
    assert top == pytest.approx(36 - 18, abs=3)
    assert (left + right) / 2 == pytest.approx(320, abs=2)
    assert bottom < 120


def test_every_character_of_the_sample_has_a_glyph() -> None:
    def drawn(character: str) -> bytes:
        return set_text(character, Style(typeface=CHINESE), 640, 360).alpha.tobytes()

    missing = drawn("\ue000")
    text = "".join(c.text for c in sample_film().captions) + "。，！？你好世界"
    assert [c for c in sorted(set(text)) if c.strip() and drawn(c) == missing] == []


def test_the_sample_film_has_gaps_and_back_to_back_captions(tmp_path: Path) -> None:
    captions = sample_film().captions
    gaps = [round(b.start_s - a.end_s, 3) for a, b in pairwise(captions)]
    assert 0 in gaps
    assert max(gaps) > 1
    truth = render(replace(sample_film(), duration=2.0), tmp_path / "sample.mp4")
    assert [c["text"] for c in truth["captions"]] == ["Good morning. Is the coffee ready?"]


def test_an_odd_size_is_refused_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="even"):
        render(film(width=321), tmp_path / "a.mp4")


def test_a_missing_font_is_named(tmp_path: Path) -> None:
    style = Style(typeface=Typeface(tmp_path / "nowhere.ttf"))
    with pytest.raises(OSError, match=r"nowhere\.ttf"):
        set_text("Hello", style, 320, 180)


def test_words_come_one_after_another_and_letters_grow() -> None:
    caption = Caption(1.0, 3.0, "one two\nthree four", spoken_s=1.0, zoom_in_s=0.5)
    assert [caption.shown(time)[0] for time in (1.0, 1.24, 1.25, 1.5, 1.75, 2.5)] == [
        "one",
        "one",
        "one two",
        "one two\nthree",
        "one two\nthree four",
        "one two\nthree four",
    ]
    assert [caption.shown(time)[1] for time in (1.0, 1.25, 1.5, 2.0)] == pytest.approx(
        [0.5, 0.75, 1, 1], abs=1e-5
    )
    moving = film(captions=[Caption(0.2, 2.4, "WWW WWW", spoken_s=1.0, zoom_in_s=0.4)])
    ink = [int((picture > 160).sum()) for picture in pictures(moving, (0.2, 0.4, 0.6, 0.8, 2.0))]
    assert ink[0] < ink[1] < ink[2] < ink[3] == ink[4]
