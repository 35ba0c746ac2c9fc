from __future__ import annotations

import random
import shutil

import numpy as np
import pytest
from numpy.typing import NDArray

from gpu_ops.extents.synthesis import films, sources, texts
from gpu_ops.extents.synthesis.films import TrueCaption, random_film
from gpu_ops.extents.synthesis.scenes import FRAMES, random_scene
from gpu_ops.extents.synthesis.sources import FontFile
from gpu_ops.footage.film import Caption
from gpu_ops.footage.sample import CHINESE
from gpu_ops.footage.truth import shows


@pytest.fixture
def packaged_media(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw with the font of the sample film and a made-up picture, whatever is installed."""
    picture = np.random.default_rng(1).integers(0, 256, (600, 800), dtype=np.uint8)
    face = FontFile(str(CHINESE.path), 0, "sample")

    def photographs(split: sources.Split) -> tuple[NDArray[np.uint8], ...]:
        return (picture,)

    def fonts(script: str, split: sources.Split) -> tuple[FontFile, ...]:
        return (face,)

    def scripts(split: sources.Split) -> tuple[str, ...]:
        return ("latin", "chinese")

    monkeypatch.setattr(sources, "photographs", photographs)
    monkeypatch.setattr(sources, "fonts", fonts)
    monkeypatch.setattr(sources, "scripts", scripts)


def test_one_character_apart_is_exactly_that() -> None:
    rng = random.Random(3)
    for script in ("latin", "chinese", "cyrillic", "arabic", "korean"):
        for _ in range(50):
            text = texts.caption(rng, script, 12)
            other = texts.one_character_apart(rng, text, script)
            assert other != text
            assert abs(len(other) - len(text)) <= 1


@pytest.mark.skipif(shutil.which("fc-list") is None, reason="lists installed fonts")
def test_held_out_fonts_are_never_trained_on() -> None:
    for script in sources.scripts("train"):
        trained = {font.family for font in sources.fonts(script, "train")}
        assert not any(family.startswith(sources.HELD_OUT_FAMILIES) for family in trained)


@pytest.mark.usefixtures("packaged_media")
def test_the_same_seed_draws_the_same_scene() -> None:
    first, second = (random_scene(random.Random(11), (64, 256)) for _ in range(2))
    np.testing.assert_array_equal(first.frames, second.frames)
    np.testing.assert_array_equal(first.captions, second.captions)
    assert first.frames.shape == (FRAMES, 64, 256)
    assert first.letters.shape == (FRAMES, 8, 32)


@pytest.mark.usefixtures("packaged_media")
@pytest.mark.parametrize("hard", [0.0, 1.0])
def test_letters_are_marked_exactly_where_frames_show_captions(hard: float) -> None:
    rng = random.Random(4)
    for _ in range(12):
        scene = random_scene(rng, (64, 256), hard=hard)
        empty = scene.captions == 0
        assert not scene.letters[empty].any()


@pytest.mark.usefixtures("packaged_media")
def test_a_film_numbers_its_grid_frames_and_keeps_captions_apart() -> None:
    film = random_film(3, "back_to_back", seconds=4)
    frames = list(film.frames())
    assert [frame.index for frame in frames if frame.index is not None] == list(range(40))
    assert len(frames) == len(film.strips)
    for frame in frames:
        if frame.index is not None:
            assert frame.time <= frame.index / 10 + 1e-9 < frame.time + 1 / film.fps + 1e-6
    for before, after in zip(film.captions, film.captions[1:], strict=False):
        assert isinstance(before, TrueCaption)
        assert before.start_s < before.end_s <= after.start_s + 1e-9


def test_a_fading_caption_is_on_screen_in_the_same_frames_as_in_a_rendered_film() -> None:
    showing = films._Showing(1.0, 3.0, ("Slowly",))  # pyright: ignore[reportPrivateUsage]
    drawn = films._as_seen(showing, 0.3, 30.0)  # pyright: ignore[reportPrivateUsage]
    rendered = Caption(1.0, 3.0, "Slowly", fade_in_s=0.3, fade_out_s=0.3)
    frames = [number for number in range(120) if shows(rendered, number / 30)]
    assert drawn.start_s == pytest.approx(frames[0] / 30)
    assert drawn.end_s == pytest.approx(frames[-1] / 30 + 1 / 30)
