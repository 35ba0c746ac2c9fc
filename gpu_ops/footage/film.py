"""What a captioned film is made of, as plain data: the script that `render` turns into a video file.

Tests, the demo and the benchmark all describe their footage in these terms, so that what a film shows, and
when, is stated once and the ground truth follows from it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]  # red, green, blue, 0-255


class Painter(Protocol):
    """Makes one picture of a film's background."""

    def __call__(self, time: float) -> Image:
        """The background `time` seconds after the first frame: HxWx3 BGR, the caller's to draw on."""
        ...


class Background(Protocol):
    """Something that fills the frame behind captions."""

    def painter(self, width: int, height: int, duration: float, seed: int) -> Painter:
        """Prepare to paint `width` x `height` pictures of a film of `duration` seconds; same seed, same
        pictures."""
        ...


class Stamp(Protocol):
    """Draws one distractor onto a picture."""

    def __call__(self, image: Image, time: float) -> None:
        """Draw onto `image` (HxWx3 BGR) in place, as it looks `time` seconds after the first frame."""
        ...


class Distractor(Protocol):
    """Writing that is no caption: a logo, a clock, a ticker, a shop sign."""

    def stamp(self, width: int, height: int, seed: int) -> Stamp:
        """Prepare to draw onto `width` x `height` pictures."""
        ...


@dataclass(frozen=True)
class Typeface:
    """A font file and the face inside it. `path` None is the Latin font that Pillow carries."""

    path: Path | None = None
    index: int = 0


@dataclass(frozen=True, kw_only=True)
class Style:
    """How captions look. Lengths called `size`, `outline`, `shadow` and `padding` are fractions of the frame
    height.

    A text block hangs from `top` if that is given and otherwise stands on `bottom` (fractions of the frame
    height, origin at the top); `x` is the fraction of the width that its left edge, centre or right edge
    (`align`) lies on. Lines with a Chinese, Japanese or Korean character are set in `cjk_typeface` where
    there is one.
    """

    typeface: Typeface = Typeface()
    cjk_typeface: Typeface | None = None
    size: float = 0.06
    colour: Colour = (255, 255, 255)
    outline: float = 0.004
    outline_colour: Colour = (0, 0, 0)
    shadow: float = 0.0
    box: tuple[int, int, int, int] | None = None  # red, green, blue, opacity 0-255
    padding: float = 0.012
    opacity: float = 1.0
    sung_colour: Colour | None = None  # karaoke: the text turns into this colour from left to right
    align: Literal["left", "center", "right"] = "center"
    x: float = 0.5
    bottom: float = 0.94
    top: float | None = None
    line_spacing: float = 1.15


@dataclass(frozen=True)
class Caption:
    """Text on the frames with start_s <= t < end_s, t in seconds after the first frame. Lines end with a
    newline.

    Opacity climbs during the first `fade_in_s` and falls during the last `fade_out_s`. The words come one by
    one during the first `spoken_s`; during the first `zoom_in_s` letters grow from half their size.
    """

    start_s: float
    end_s: float
    text: str
    style: Style = Style()
    fade_in_s: float = 0.0
    fade_out_s: float = 0.0
    spoken_s: float = 0.0
    zoom_in_s: float = 0.0

    def opacity(self, time: float) -> float:
        """Opacity 0-1 on the frame at `time` seconds; 0 where the caption is not on screen."""
        if not self.start_s - 1e-6 <= time < self.end_s - 1e-6:
            return 0.0
        rise = (time - self.start_s) / self.fade_in_s if self.fade_in_s else 1.0
        fall = (self.end_s - time) / self.fade_out_s if self.fade_out_s else 1.0
        return float(np.clip(min(rise, fall), 0.0, 1.0))

    def shown(self, time: float) -> tuple[str, float]:
        """The part of the text there is on the frame at `time` seconds, and its size, 1 being the whole."""
        since = time - self.start_s + 1e-6
        text, size = self.text, 1.0
        if since < self.spoken_s:
            words = re.findall(r"\s*\S+", text)
            text = "".join(words[: 1 + int(since / self.spoken_s * len(words))])
        if since < self.zoom_in_s:
            size = 0.5 + 0.5 * since / self.zoom_in_s
        return text, size


@dataclass(frozen=True, kw_only=True)
class Film:
    """A film to render: `width` x `height` as displayed (even numbers), `fps` frames a second for `duration`
    seconds.

    With `variable_rate` frames last one to four times 1/fps, at random, as in screen recordings. `interlaced`
    takes the odd lines of the background half a frame later, as unprocessed television footage has them.
    """

    width: int
    height: int
    fps: float
    duration: float
    background: Background
    captions: Sequence[Caption] = ()
    distractors: Sequence[Distractor] = ()
    seed: int = 0
    variable_rate: bool = False
    interlaced: bool = False
    notes: dict[str, Any] = field(default_factory=dict[str, Any])
