"""Which frames confirmed captions vouch for: no scene holds a frame of which nobody knows what it shows."""

from __future__ import annotations

from collections.abc import Sequence

from gpu_ops.captions.rows import CaptionRow, State
from gpu_ops.extents.annotated import PlannedScene, plan_scenes


def rows(*spans: tuple[State, int, str | None]) -> list[CaptionRow]:
    """Rows of (state, length in frames, text), one after the other."""
    made: list[CaptionRow] = []
    start = 0
    for state, length, text in spans:
        made.append(
            CaptionRow(
                start_frame_index=start,
                end_frame_index=start + length - 1,
                state=state,
                text=text,
                extents_updated_at="2026-01-02T00:00:00+00:00",
            )
        )
        start += length
    return made


def ends(scenes: Sequence[PlannedScene]) -> list[list[int]]:
    """The frames of each scene at which another caption, or none, begins to show."""
    return [
        [scene.start + k for k in range(1, 8) if scene.captions[k] != scene.captions[k - 1]]
        for scene in scenes
    ]


def test_each_end_of_a_confirmed_caption_gives_a_scene_of_known_frames() -> None:
    scenes = plan_scenes(rows(("gap", 20, None), ("confirmed", 12, "One"), ("gap", 20, None)))
    assert ends(scenes) == [[20], [32]]
    assert all(len(scene.captions) == 8 for scene in scenes)


def test_frames_of_unconfirmed_captions_are_in_no_scene() -> None:
    scenes = plan_scenes(
        rows(("predicted", 20, None), ("confirmed", 12, "One"), ("gap", 20, None), ("predicted", 9, None))
    )
    assert ends(scenes) == [[32]]
    assert scenes[0].start >= 20
    assert scenes[0].start + 8 <= 32 + 10


def test_captions_that_differ_are_told_apart_and_repeated_ones_are_the_same() -> None:
    (scene,) = (
        scene
        for scene in plan_scenes(rows(("confirmed", 9, "One"), ("confirmed", 9, "Two")))
        if 9 in ends([scene])[0]
    )
    assert set(scene.captions) == {1, 2}
    repeated = plan_scenes(rows(("confirmed", 9, "One"), ("gap", 2, None), ("confirmed", 9, "One ")))
    assert {number for scene in repeated for number in scene.captions} == {0, 1}


def test_touching_captions_that_read_the_same_teach_nothing_about_where_they_meet() -> None:
    scenes = plan_scenes(rows(("confirmed", 12, "One"), ("confirmed", 12, "One"), ("gap", 12, None)))
    assert all(not scene.start < 12 < scene.start + 8 for scene in scenes)
    assert ends(scenes) == [[24]]


def test_only_what_was_confirmed_since_gives_scenes() -> None:
    confirmed = rows(("gap", 9, None), ("confirmed", 12, "One"), ("gap", 9, None))
    assert plan_scenes(confirmed, since="2026-01-02T00:00:00")
    assert plan_scenes(confirmed, since="2026-01-03T00:00:00") == []


def test_the_same_rows_give_the_same_scenes() -> None:
    confirmed = rows(("gap", 30, None), ("confirmed", 30, "One"), ("gap", 30, None))
    assert plan_scenes(confirmed) == plan_scenes(confirmed)


def test_a_video_without_confirmed_captions_gives_nothing() -> None:
    assert plan_scenes([]) == []
    assert plan_scenes(rows(("gap", 30, None), ("predicted", 30, None))) == []
