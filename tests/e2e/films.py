"""The small captioned films that end-to-end tests process, rendered in seconds from packaged media."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gpu_ops.footage.distractors import Clock, Logo, Sign
from gpu_ops.footage.film import Caption, Distractor, Film, Style
from gpu_ops.footage.render import render
from gpu_ops.footage.sample import CHINESE, PHOTOGRAPHS
from gpu_ops.footage.scenery import Camera

STYLE = Style(size=0.075, cjk_typeface=CHINESE)
SCRIPT = (
    (0.8, 2.2, "Where did you put the map?"),
    (2.2, 3.8, "It is on the kitchen table."),
    (4.6, 6.0, "Then we can leave at noon."),
    (6.8, 8.2, "Bring the blue umbrella."),
)


def render_film(
    path: Path, *, script: Sequence[tuple[float, float, str]] = SCRIPT, duration: float = 9.0, seed: int = 1
) -> dict[str, Any]:
    """A 640x360 film at 20 fps; answers its ground truth."""
    captions = [Caption(start, end, text, STYLE) for start, end, text in script]
    return _rendered(path, captions, duration, seed)


def _rendered(
    path: Path,
    captions: Sequence[Caption],
    duration: float,
    seed: int,
    distractors: Sequence[Distractor] = (),
) -> dict[str, Any]:
    film = Film(
        width=640,
        height=360,
        fps=20,
        duration=duration,
        background=Camera(photographs=PHOTOGRAPHS, shot_s=(3.0, 5.0), grain=0.8),
        captions=captions,
        distractors=distractors,
        seed=seed,
    )
    return render(film, path, options={"preset": "superfast", "crf": "23"})


def render_moving(path: Path) -> dict[str, Any]:
    """Captions that come word by word, and others that grow to their size; answers the ground truth."""
    captions = [
        Caption(start, end, text, STYLE, spoken_s=(1 - number % 2) * 0.9, zoom_in_s=number % 2 * 0.25)
        for number, (start, end, text) in enumerate(SCRIPT)
    ]
    return _rendered(path, captions, 9.0, seed=4)


def render_one_wide_caption(path: Path) -> dict[str, Any]:
    """Short captions, and a long one that none of the sampled frames shows; answers the ground truth."""
    short = ["No.", "Why not?", "I see.", "Come in!", "Sit down.", "Thank you.", "Not now.", "Go on."]
    script = [(3.0 * n + 0.2, 3.0 * n + 2.6, text) for n, text in enumerate(short)]
    script.insert(4, (11.6, 12.2, "Everybody is waiting for a train."))
    return render_film(path, script=script, duration=24.0)


def render_two_places(path: Path) -> dict[str, Any]:
    """Speech at the bottom and, less often, noises at the top; answers the ground truth of all."""
    speech = [
        "Where did you put the map?",
        "It is on the kitchen table.",
        "Then we can leave at noon.",
        "Bring the blue umbrella.",
        "Is it going to rain again?",
        "Nobody knows for sure.",
    ]
    noises = ["(The door creaks)", "A train in the distance.", "Somebody sings upstairs.", "Rain on a roof."]
    lines = [text for pair in zip(speech, noises, strict=False) for text in pair] + speech[len(noises) :]
    captions = [
        Caption(2 * n + 0.5, 2 * n + 2.1, text, replace(STYLE, top=0.05) if text in noises else STYLE)
        for n, text in enumerate(lines)
    ]
    return _rendered(path, captions, 2.0 * len(lines) + 0.5, seed=3)


def render_hard_film(path: Path) -> dict[str, Any]:
    """Sixteen seconds of what goes wrong most: captions one character apart without a gap, the same one again
    after a gap, a short one, fades, a changing frame rate; a logo, a clock and a shop sign that are none."""
    captions = [
        Caption(0.7, 2.3, "我们还有时间吗？", STYLE),
        Caption(2.3, 3.9, "你们还有时间吗？", STYLE),
        Caption(4.6, 6.0, "We have no time.", STYLE),
        Caption(6.5, 7.9, "We have no time.", STYLE),
        Caption(8.5, 9.2, "No!", STYLE),
        Caption(9.8, 12.0, "The road is still closed.", STYLE, 0.2, 0.2),
        Caption(12.5, 15.2, "Don't forget your keys,\nand bring the blue umbrella.", STYLE),
    ]
    film = Film(
        width=854,
        height=480,
        fps=25,
        duration=16.0,
        background=Camera(photographs=PHOTOGRAPHS, shot_s=(2.0, 4.0), grain=2.0),
        captions=captions,
        distractors=[
            Logo("NEWS 7", replace(STYLE, size=0.05, outline=0.0, align="right", x=0.96, top=0.05)),
            Clock(style=replace(STYLE, size=0.05, align="left", x=0.04, top=0.05)),
            Sign("BAKERY", 3.0, 9.0, replace(STYLE, size=0.08, outline=0.0, top=0.3)),
        ],
        variable_rate=True,
        seed=3,
    )
    return render(film, path, options={"preset": "superfast", "crf": "24"})


def render_watermarked(path: Path) -> dict[str, Any]:
    """Captions with a station's name on their line, to the right; answers the ground truth."""
    texts = [text for _, _, text in SCRIPT] + ["Is it going to rain again?", "Nobody knows for sure."]
    captions = [
        Caption(2.4 * n + 0.6, 2.4 * n + 2.2 + 0.8 * (n % 2), text, replace(STYLE, size=0.06))
        for n, text in enumerate(texts)
    ]
    style = replace(STYLE, size=0.045, outline=0.0, opacity=0.8, align="right", x=0.97, bottom=0.94)
    return _rendered(path, captions, 2.4 * len(texts) + 0.6, 5, [Logo("STARVIEW", style)])
