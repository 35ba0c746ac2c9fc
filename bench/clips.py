"""The benchmark's clips: one film for every way in which captions are known to be hard."""

from __future__ import annotations

import functools
import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

import gpu_ops.footage
from bench.footage import Footage
from bench.media import films, photographs, typeface
from bench.texts import CHINESE, ENGLISH, LOGOS, ONE_CHARACTER_CHANGES, SIGNS, TICKER
from gpu_ops.footage.distractors import Clock, Logo, Sign, Ticker
from gpu_ops.footage.film import Background, Caption, Film, Style
from gpu_ops.footage.render import render
from gpu_ops.footage.scenery import Camera, Letterboxed
from gpu_ops.footage.truth import read_truth
from gpu_ops.regions import CropRegion

QUICK = ("english", "chinese", "two-line", "thin-white", "fades", "one-character", "repeated")


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A film, how it is encoded, and the language its text is scored under."""

    name: str
    language: Literal["en", "zh", "en+zh", "none"]
    film: Film
    suffix: str = ".mp4"
    codec: str = "libx264"
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    pixel_format: Literal["yuv420p", "yuv420p10le"] = "yuv420p"
    rotation: Literal[0, 90, 180, 270] = 0
    start_pts_s: float = 0.0

    def file(self, folder: Path) -> Path:
        """Where the rendered clip lies: its name carries a hash of everything that it was made from."""
        made_from = hashlib.sha256((repr(self) + _footage_source()).encode()).hexdigest()[:12]
        return folder / f"{self.name}-{self.film.duration:g}s-{made_from}{self.suffix}"

    def rendered(self, folder: Path) -> tuple[Path, dict[str, Any]]:
        """Render into `folder` unless that was done before; returns the video and its ground truth."""
        path = self.file(folder)
        try:
            return path, read_truth(path)
        except FileNotFoundError:
            folder.mkdir(parents=True, exist_ok=True)
        truth = render(
            self.film,
            path,
            self.codec,
            options=self.options,
            pixel_format=self.pixel_format,
            rotation=self.rotation,
            start_pts_s=self.start_pts_s,
            threads=2,
        )
        return path, truth


@functools.cache
def _footage_source() -> str:
    folder = Path(gpu_ops.footage.__file__).parent
    return "".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py")))


def clips(duration: float, only: Sequence[str] | None = None) -> list[Clip]:
    """The clips, each of `duration` seconds, in a fixed order; `only` keeps those named.

    Raises media.MissingMedia, or ValueError for a name that is none of them.
    """
    made = _clips(duration)
    unknown = set(only or ()) - {clip.name for clip in made}
    if unknown:
        raise ValueError(f"there is no clip {', '.join(sorted(unknown))}: {', '.join(c.name for c in made)}")
    return [clip for clip in made if only is None or clip.name in only]


def region_of(truth: Mapping[str, Any]) -> CropRegion | None:
    """Where the captions of a film stand, tightly: one place, or two where some stand apart."""
    places: list[CropRegion] = []
    for box in sorted((caption["box"] for caption in truth["captions"]), key=lambda box: box[1]):
        place = CropRegion(*(min(1.0, max(0.0, edge)) for edge in box))
        if places and place.top <= places[-1].bottom:
            place = CropRegion.around([places.pop(), place])
        places.append(place)
    return CropRegion.around(places) if places else None


def _clips(duration: float) -> list[Clip]:
    latin = Style(typeface=typeface("roboto"), size=0.058)
    chinese = Style(typeface=typeface("serif zh"), size=0.066)
    wqy = Style(typeface=typeface("wqy"), size=0.064)
    thin = replace(latin, typeface=typeface("roboto light"), size=0.05, outline=0.0)
    nature = Camera(photographs=photographs("meadow", "mountains", "sunset", "room"))
    busy = Camera(photographs=photographs("brook", "leaves", "mosaic"), pace=1.3, passers=2, grain=4.0)
    woods = Camera(photographs=photographs("brook", "leaves", "dandelions"), pace=1.3, passers=2, grain=4.0)
    indoors = Camera(photographs=photographs("room", "porch", "lamps", "planks"), passers=1)
    colours = Camera(
        photographs=photographs("brushes", "ribbons", "strands", "fish"), passers=2, shot_s=(2, 5)
    )
    dusk = Camera(photographs=photographs("dandelions", "sunset", "shingles"), flicker=0.08, grain=5.0)
    bright = Camera(photographs=photographs("sky", "bowl", "planks", "mountains"), brightness=1.15)

    real = Footage(films("animation", "parrot", "towers", "race of 1906"))

    def english(seed: int, style: Style = latin, **how: Any) -> list[Caption]:
        return _script(seed, duration, ENGLISH, style, **how)

    def zh(seed: int, style: Style = chinese, **how: Any) -> list[Caption]:
        return _script(seed, duration, CHINESE, style, seconds_a_character=0.16, **how)

    def clip(
        name: str,
        language: Literal["en", "zh", "en+zh", "none"],
        background: Background,
        captions: Sequence[Caption],
        encoding: Mapping[str, Any] | None = None,
        **shape: Any,
    ) -> Clip:
        size: dict[str, Any] = {"width": 1280, "height": 720, "fps": 25, "duration": duration}
        film = Film(
            background=background, captions=captions, seed=zlib.crc32(name.encode()), **(size | shape)
        )
        return Clip(name=name, language=language, film=film, **(encoding or {}))

    garamond = replace(latin, typeface=typeface("garamond"), size=0.065)
    italic = replace(garamond, typeface=typeface("garamond italic"), colour=(255, 225, 60))
    boxed = replace(latin, typeface=typeface("cantarell"), outline=0.0, box=(0, 0, 0, 170))
    shadow = replace(latin, typeface=typeface("comic"), outline=0.0, shadow=0.005)
    top = replace(latin, typeface=typeface("cantarell bold"), top=0.06)
    upright = replace(latin, typeface=typeface("roboto bold"), size=0.026, outline=0.002, bottom=0.78)
    both = replace(latin, typeface=typeface("cantarell bold"), cjk_typeface=typeface("wqy"), size=0.052)
    kai = replace(chinese, typeface=typeface("kai"), outline=0.003)
    small: dict[str, Any] = {"width": 854, "height": 480}
    portrait: dict[str, Any] = {"width": 720, "height": 1280, "fps": 30}
    logo = Logo(LOGOS[0], replace(latin, size=0.05, outline=0.0, align="right", x=0.96, top=0.04))
    clock = Clock(style=replace(latin, size=0.04, align="left", x=0.04, top=0.05))
    ticker_style = replace(latin, size=0.035, outline=0.0, align="left", x=0.0, bottom=0.99)
    ticker = Ticker(TICKER, style=ticker_style)
    sign_style = replace(latin, size=0.07, outline=0.0, colour=(250, 230, 160), top=0.3)
    signs = [Sign(text, 4.0 + 11 * n, 11.0 + 11 * n, sign_style) for n, text in enumerate(SIGNS)]
    return [
        clip("english", "en", nature, english(1)),
        clip("chinese", "zh", nature, zh(2)),
        clip("bilingual", "en+zh", indoors, _bilingual(3, duration, both), width=1920, height=1080, fps=30),
        clip("two-line", "en", bright, _two_lines(4, duration, garamond), fps=24000 / 1001, **small),
        clip("boxed", "en", busy, english(5, boxed), fps=30),
        clip("shadow-only", "en", colours, english(6, shadow)),
        clip("thin-white", "en", woods, english(7, thin), fps=30),
        clip("thin-white-zh", "zh", indoors, zh(8, replace(wqy, outline=0.0, size=0.055))),
        clip("karaoke", "zh", dusk, zh(9, replace(wqy, sung_colour=(255, 120, 180)), back_to_back=0.7)),
        clip("yellow-italic", "en", dusk, english(10, italic)),
        clip("fades", "en", nature, english(11, fade_s=0.3), fps=30),
        clip("one-character", "zh", bright, _one_character(12, duration, kai)),
        clip("back-to-back", "en", colours, english(13, back_to_back=0.95)),
        clip("repeated", "en", indoors, _repeated(14, duration, latin)),
        clip("top", "en", nature, english(15, top), **small),
        clip("portrait", "en", indoors, english(16, upright), **portrait),
        clip("letterbox", "zh", Letterboxed(nature, 0.13), zh(17, replace(wqy, size=0.055, bottom=0.97))),
        clip("vfr", "en", nature, english(18), fps=30, variable_rate=True),
        clip(
            "rotated",
            "zh",
            bright,
            zh(19, replace(wqy, size=0.032, outline=0.002, bottom=0.85)),
            {"rotation": 90},
            **portrait,
        ),
        clip(
            "hevc-10bit",
            "en",
            dusk,
            english(20),
            {"codec": "libx265", "pixel_format": "yuv420p10le"},
            fps=24,
        ),
        clip(
            "vp9-60fps",
            "en",
            colours,
            english(21, replace(latin, typeface=typeface("comic"))),
            {"codec": "libvpx-vp9", "suffix": ".webm"},
            fps=60,
            **small,
        ),
        clip("interlaced", "en", nature, english(22), width=720, height=576, interlaced=True),
        clip(
            "low-bitrate",
            "zh",
            busy,
            zh(23, replace(wqy, size=0.07)),
            {"options": {"crf": "34", "preset": "fast"}},
            width=640,
            height=360,
        ),
        clip(
            "crowded",
            "en",
            nature,
            english(24, replace(latin, bottom=0.91)),
            fps=50,
            distractors=[logo, clock, ticker, *signs],
        ),
        clip("late-start", "zh", indoors, zh(25), {"suffix": ".mkv", "start_pts_s": 1.4}, **small),
        clip("no-captions", "none", nature, [], distractors=[logo, *signs]),
        clip("two-places", "en", indoors, _at_two_places(english(27), top.top)),
        clip("word-by-word", "en", bright, _spoken(english(31, back_to_back=0.7)), fps=30),
        clip("zooming", "en", colours, _zooming(english(32, shadow)), **small),
        clip("film", "en", real, english(28), fps=24),
        clip("film-thin", "en", real, english(29, thin), width=854, height=480),
        clip("film-zh", "zh", real, zh(30, replace(wqy, outline=0.0, shadow=0.004)), fps=24),
    ]


def _script(
    seed: int,
    duration: float,
    texts: Sequence[str],
    style: Style,
    *,
    seconds_a_character: float = 0.055,
    back_to_back: float = 0.4,
    fade_s: float = 0.0,
) -> list[Caption]:
    """Captions to the end of the film: as long as they take to read, some back to back, some after a gap."""
    rng = np.random.default_rng(seed)
    captions: list[Caption] = []
    time = float(rng.uniform(0.3, 2.0))
    for number in rng.permutation(len(texts)):
        text = texts[int(number)]
        length = (1.0 + len(text) * seconds_a_character) * float(rng.uniform(0.7, 1.3))
        if time + length > duration - 0.3:
            break
        captions.append(Caption(time, time + length, text, style, fade_s, fade_s))
        time += length
        if rng.uniform() >= back_to_back:
            time += float(rng.choice([0.2, 0.5, 1.0, 2.0, 3.0])) * float(rng.uniform(0.8, 1.2))
    return captions


def _at_two_places(captions: Sequence[Caption], top: float | None) -> list[Caption]:
    """Every third caption at the top instead."""
    return [
        replace(caption, style=replace(caption.style, top=top)) if number % 3 == 2 else caption
        for number, caption in enumerate(captions)
    ]


def _spoken(captions: Sequence[Caption]) -> list[Caption]:
    """Every word when it is said, the last of them shortly before the caption goes."""
    return [replace(c, spoken_s=0.8 * (c.end_s - c.start_s)) for c in captions]


def _zooming(captions: Sequence[Caption]) -> list[Caption]:
    return [replace(caption, zoom_in_s=0.25) for caption in captions]


def _two_lines(seed: int, duration: float, style: Style) -> list[Caption]:
    pairs = [f"{first}\n{second}" for first, second in zip(ENGLISH[::2], ENGLISH[1::2], strict=True)]
    mixed = [text for pair, single in zip(pairs, ENGLISH[1::3], strict=False) for text in (pair, single)]
    return _script(seed, duration, mixed, style, seconds_a_character=0.04)


def _bilingual(seed: int, duration: float, style: Style) -> list[Caption]:
    pairs = [f"{zh}\n{english}" for zh, english in zip(CHINESE[:40], ENGLISH[:40], strict=True)]
    return _script(seed, duration, pairs, style, seconds_a_character=0.04)


def _one_character(seed: int, duration: float, style: Style) -> list[Caption]:
    """Pairs of captions that differ in one character and follow each other without a gap."""
    rng = np.random.default_rng(seed)
    captions: list[Caption] = []
    time = 1.0
    for round_ in range(20):
        for text in ONE_CHARACTER_CHANGES[round_ % len(ONE_CHARACTER_CHANGES)]:
            length = float(rng.uniform(1.2, 2.4))
            captions.append(Caption(time, time + length, text, style))
            time += length
        time += float(rng.uniform(0.4, 1.5))
    return [caption for caption in captions if caption.end_s < duration - 0.3]


def _repeated(seed: int, duration: float, style: Style) -> list[Caption]:
    """The same caption again after gaps from three tenths of a second to two seconds, then another."""
    rng = np.random.default_rng(seed)
    captions: list[Caption] = []
    time = 0.8
    for number in rng.permutation(len(ENGLISH)):
        for _ in range(int(rng.integers(1, 4))):
            length = float(rng.uniform(1.2, 2.2))
            captions.append(Caption(time, time + length, ENGLISH[int(number)], style))
            time += length + float(rng.uniform(0.3, 2.0))
    return [caption for caption in captions if caption.end_s < duration - 0.3]
