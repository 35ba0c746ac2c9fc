"""Whole drawn films of one strip at native frame rate, with their true captions: what predictions are scored
on.

Fonts and photographs are the held-out ones. Each style stresses one thing real footage does.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpu_ops.contract import GRID_HZ
from gpu_ops.extents.synthesis import sources, texts
from gpu_ops.extents.synthesis.backgrounds import Overlay, Shot
from gpu_ops.extents.synthesis.compression import video_round_trip
from gpu_ops.extents.synthesis.lettering import Layer, Look, draw_caption, fit_length, random_look
from gpu_ops.footage.truth import VISIBLE_OPACITY


@dataclass(frozen=True)
class TrueCaption:
    """A caption shown from `start_s` until just before `end_s`, both times of source frames."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True)
class FilmFrame:
    """A strip as the video stage hands it over: grid index or None, when it and the next frame appear in
    seconds, luma (H, W)."""

    index: int | None
    time: float
    until: float
    y: NDArray[np.uint8]


@dataclass(frozen=True)
class Film:
    """Native strips uint8 (N, H, W) at `fps`, and what they show."""

    name: str
    fps: float
    strips: NDArray[np.uint8]
    captions: list[TrueCaption]

    def frames(self) -> Iterator[FilmFrame]:
        """Every native frame in order; those on screen at k / 10 s carry the index k."""
        index = 0
        count = len(self.strips)
        for number, strip in enumerate(self.strips):
            time, following = number / self.fps, (number + 1) / self.fps
            shown = False
            while index / GRID_HZ < following - 1e-9 and index <= (count - 1) / self.fps * GRID_HZ + 1e-9:
                yield FilmFrame(index, time, following, strip)
                index += 1
                shown = True
            if not shown:
                yield FilmFrame(None, time, following, strip)


@dataclass(frozen=True)
class Style:
    """What a film looks like. `scripts`: one per line. `look` changes the drawn look. `gap`: how likely a
    caption is followed by nothing for a while. `related`: how captions follow each other."""

    scripts: tuple[str, ...] = ("latin",)
    look: Callable[[random.Random, Look], Look] = lambda rng, look: look
    gap: float = 0.5
    related: str = "fresh"
    fade_s: float = 0.0
    shot_s: tuple[float, float] = (1.5, 6.0)
    crf: int = 26
    grain: float = 0.0
    overlay: bool = False
    shortest_s: float = 0.6
    still: bool = False
    wide_room: bool = False


def _white(rng: random.Random, look: Look) -> Look:
    """White letters with a dark outline: the most usual look."""
    return dataclasses.replace(
        look,
        fill=rng.uniform(215, 255),
        outline=rng.uniform(0, 30),
        outline_width=max(1, round(look.size * 0.07)),
        box_strength=0.0,
        shadow_strength=0.0,
        opacity=1.0,
        sung_fill=None,
        slant=0.0,
    )


def _changed(**changes: float | None) -> Callable[[random.Random, Look], Look]:
    return lambda rng, look: dataclasses.replace(_white(rng, look), **changes)  # pyright: ignore[reportArgumentType]


def _boxed(rng: random.Random, look: Look) -> Look:
    return dataclasses.replace(_white(rng, look), outline_width=0, box=rng.uniform(0, 40), box_strength=0.6)


def _shadowed(rng: random.Random, look: Look) -> Look:
    return dataclasses.replace(
        _white(rng, look),
        outline_width=0,
        shadow_strength=0.9,
        shadow_offset=max(1, look.size // 16),
        shadow_blur=1.5,
    )


def _tiny(rng: random.Random, look: Look) -> Look:
    return dataclasses.replace(_white(rng, look), size=max(9, round(look.size * 0.55)), outline_width=1)


STYLES: Mapping[str, Style] = {
    "english": Style(look=_white),
    "chinese": Style(("chinese",), _white),
    "russian": Style(("cyrillic",), _white),
    "bilingual": Style(("chinese", "latin"), _white),
    "two_lines": Style(("latin", "latin"), _white, related="lines"),
    "no_outline": Style(look=_changed(outline_width=0)),
    "no_outline_chinese": Style(("chinese",), _changed(outline_width=0)),
    "boxed": Style(look=_boxed),
    "shadowed": Style(("cyrillic",), _shadowed),
    "translucent": Style(("chinese",), _changed(opacity=0.65)),
    "fades": Style(look=_white, fade_s=0.24),
    "fades_chinese": Style(("chinese",), _white, fade_s=0.16),
    "back_to_back": Style(look=_white, gap=0.0, shortest_s=0.5),
    "one_character": Style(("chinese",), _white, gap=0.1, related="one character"),
    "one_character_english": Style(look=_white, gap=0.1, related="one character"),
    "growing": Style(("chinese",), _white, gap=0.1, related="appended"),
    "repeated": Style(look=_white, gap=1.0, related="repeated"),
    "tiny": Style(("cyrillic",), _tiny),
    "cuts": Style(("chinese",), _white, shot_s=(0.3, 1.2)),
    "grainy": Style(look=_white, grain=9.0, crf=33),
    "low_bitrate": Style(("chinese",), _white, crf=37),
    "watermarked": Style(look=_white, overlay=True),
    "still": Style(("chinese",), _white, still=True, shot_s=(30, 60)),
    "sung": Style(("chinese",), _changed(sung_fill=120.0)),
    "dark_letters": Style(look=_changed(fill=20.0, outline=235.0)),
    "short": Style(("chinese",), _white, shortest_s=0.4, gap=0.6),
}


@dataclass(frozen=True)
class _Showing:
    start_s: float
    end_s: float
    lines: tuple[str, ...]


def random_film(seed: int, style_name: str, seconds: float = 20.0) -> Film:
    """The film that belongs to this seed and style."""
    rng = random.Random(f"film/{seed}/{style_name}")
    style = STYLES[style_name]
    fps = rng.choice([23.976, 25.0, 29.97, 30.0, 50.0 if seconds < 15 else 25.0])
    two = len(style.scripts) == 2
    height = rng.choice([84, 96, 110]) * (2 if two else 1)
    width = round(height * rng.uniform(7.5, 11) / (2 if two else 1) / 2) * 2
    split: sources.Split = "held-out"
    faces = [sources.fonts(script, split) for script in style.scripts]
    look = style.look(rng, dataclasses.replace(random_look(rng, faces, width, height), second_scale=1.0))
    showings = _timeline(rng, style, look, width, seconds, fps)
    strips = _drawn(rng, style, look, showings, width, height, round(seconds * fps), fps)
    options = {"crf": str(style.crf), "preset": "veryfast", "g": "250"}
    strips = video_round_trip(strips, "libx264", options, round(fps))
    captions = [_as_seen(showing, style.fade_s, fps) for showing in showings]
    return Film(f"{style_name}_{seed}", fps, np.stack(strips), captions)


def _as_seen(showing: _Showing, fade_s: float, fps: float) -> TrueCaption:
    """With fades, a caption counts from where a viewer could see it, as in gpu_ops.footage.truth."""
    hidden_s = VISIBLE_OPACITY * fade_s

    def on_frame(time: float) -> float:
        return float(np.ceil(time * fps - 1e-6) / fps)

    text = "\n".join(line for line in showing.lines if line)
    return TrueCaption(on_frame(showing.start_s + hidden_s), on_frame(showing.end_s - hidden_s), text)


def _timeline(
    rng: random.Random, style: Style, look: Look, width: int, seconds: float, fps: float
) -> list[_Showing]:
    showings: list[_Showing] = []
    time = rng.uniform(0.0, 1.5)
    lines: tuple[str, ...] = ()
    while True:
        lines = _next_lines(rng, style, look, width, lines)
        length = rng.uniform(style.shortest_s, max(2.2, style.shortest_s)) + 2 * style.fade_s
        end = round((time + length) * fps) / fps
        if end > seconds - 0.3:
            return showings
        showings.append(_Showing(time, end, lines))
        time = end if rng.random() >= style.gap else round((end + rng.uniform(0.2, 1.5)) * fps) / fps


def _next_lines(
    rng: random.Random, style: Style, look: Look, width: int, last: tuple[str, ...]
) -> tuple[str, ...]:
    def fresh() -> tuple[str, ...]:
        return tuple(texts.caption(rng, script, fit_length(rng, look, width)) for script in style.scripts)

    if not last or style.related == "fresh":
        return fresh()
    if style.related == "repeated" and rng.random() < 0.5:
        return last
    if style.related == "one character" and rng.random() < 0.6:
        return (texts.one_character_apart(rng, last[0], style.scripts[0]), *last[1:])
    if style.related == "appended" and rng.random() < 0.6 and len(last[0]) < 14:
        return (last[0] + texts.caption(rng, style.scripts[0], 4), *last[1:])
    if style.related == "lines" and rng.random() < 0.6:
        row = rng.randrange(2)
        other = last[1 - row] or fresh()[1 - row]
        changed = "" if rng.random() < 0.3 else fresh()[row]
        lines = (changed, other) if row == 0 else (other, changed)
        return lines if lines != last else fresh()
    return fresh()


def _drawn(
    rng: random.Random,
    style: Style,
    look: Look,
    showings: Sequence[_Showing],
    width: int,
    height: int,
    count: int,
    fps: float,
) -> list[NDArray[np.uint8]]:
    photos = sources.photographs("held-out")
    script = style.scripts[0]
    faces = sources.fonts(script, "held-out")
    overlay = Overlay(rng, faces, script, width, height) if style.overlay else None
    noise = np.random.default_rng(rng.getrandbits(32))
    layers: dict[int, Layer] = {}
    strips: list[NDArray[np.uint8]] = []
    shot, shot_from, shot_until = (
        Shot(rng, photos, faces, script, width, height),
        0.0,
        rng.uniform(*style.shot_s),
    )
    for number in range(count):
        time = number / fps
        if time >= shot_until:
            shot, shot_from = Shot(rng, photos, faces, script, width, height), time
            shot_until = time + rng.uniform(*style.shot_s)
        picture = shot.picture(0.0 if style.still else (time - shot_from) * GRID_HZ)
        if style.grain:
            grain = noise.standard_normal(picture.shape, dtype=np.float32)
            picture = (picture + grain * np.float32(style.grain)).astype(np.float32)
        if overlay is not None:
            picture = overlay.over(picture, time * GRID_HZ)
        for place, showing in enumerate(showings):
            opacity = _opacity(showing, time, style.fade_s)
            if opacity > 0:
                if look.sung_fill is not None:
                    sung = (time - showing.start_s) / (showing.end_s - showing.start_s)
                    layers[place] = draw_caption(look, showing.lines, width, height, sung)
                elif place not in layers:
                    layers[place] = draw_caption(look, showing.lines, width, height)
                picture = layers[place].over(picture, opacity)
        strips.append(np.clip(picture + 0.5, 0, 255).astype(np.uint8))
    return strips


def _opacity(showing: _Showing, time: float, fade_s: float) -> float:
    if not showing.start_s - 1e-6 <= time < showing.end_s - 1e-6:
        return 0.0
    if fade_s == 0:
        return 1.0
    return float(np.clip(min(time - showing.start_s, showing.end_s - time) / fade_s, 0, 1))
