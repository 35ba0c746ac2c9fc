"""Writing that is on screen without being a caption, so that films try the layout analysis."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gpu_ops.footage.film import Image, Stamp, Style
from gpu_ops.footage.lettering import Strip, set_text

_LOGO = Style(size=0.05, outline=0.0, opacity=0.8, align="right", x=0.96, top=0.04)
_CLOCK = Style(size=0.04, outline=0.002, align="left", x=0.04, top=0.05)
_TICKER = Style(size=0.035, outline=0.0, align="left", x=0.0, bottom=0.99)
_SIGN = Style(size=0.08, outline=0.0, colour=(240, 220, 120), x=0.5, top=0.3)


@dataclass(frozen=True)
class Logo:
    """A channel's name that never leaves its corner."""

    text: str = "CH 7"
    style: Style = _LOGO

    def stamp(self, width: int, height: int, seed: int) -> Stamp:
        strip = set_text(self.text, self.style, width, height)

        def draw(image: Image, time: float) -> None:
            strip.lay_over(image)

        return draw


@dataclass(frozen=True)
class Clock:
    """A clock that counts seconds from `start_s` after midnight."""

    start_s: int = 9 * 3600 + 12 * 60
    style: Style = _CLOCK

    def stamp(self, width: int, height: int, seed: int) -> Stamp:
        strips: dict[int, Strip] = {}

        def draw(image: Image, time: float) -> None:
            now = int(self.start_s + time)
            if now not in strips:
                text = f"{now // 3600 % 24:02d}:{now // 60 % 60:02d}:{now % 60:02d}"
                strips[now] = set_text(text, self.style, width, height)
            strips[now].lay_over(image)

        return draw


@dataclass(frozen=True)
class Ticker:
    """News that runs along a bar at the bottom edge, `speed` frame widths a second, over and over."""

    text: str
    speed: float = 0.12
    style: Style = _TICKER
    bar: float = 0.055

    def stamp(self, width: int, height: int, seed: int) -> Stamp:
        strip = set_text(self.text, self.style, width, height)
        period = width + strip.alpha.shape[1]

        def draw(image: Image, time: float) -> None:
            image[height - round(self.bar * height) :] = (96, 24, 24)
            x = width - int(self.speed * width * time) % period
            replace(strip, left=x).lay_over(image)

        return draw


@dataclass(frozen=True)
class Sign:
    """A shop sign, poster or name in the scene itself: it drifts across the picture while `start_s` <= t <
    `end_s`."""

    text: str
    start_s: float
    end_s: float
    style: Style = _SIGN
    drift: tuple[float, float] = (0.04, 0.01)  # fractions of width and height a second

    def stamp(self, width: int, height: int, seed: int) -> Stamp:
        strip = set_text(self.text, self.style, width, height)
        wobble = np.random.default_rng(seed).uniform(0, 6.28)

        def draw(image: Image, time: float) -> None:
            if self.start_s <= time < self.end_s:
                since = time - self.start_s
                x = strip.left + self.drift[0] * width * since
                y = (
                    strip.top
                    + self.drift[1] * height * since
                    + float(np.sin(since * 2 + wobble)) * height * 0.01
                )
                replace(strip, left=round(x), top=round(y)).lay_over(image)

        return draw
