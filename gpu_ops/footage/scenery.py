"""Moving backgrounds made from photographs, with the troubles of real footage: motion, cuts, grain,
flicker."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from gpu_ops.footage.film import Background, Colour, Image, Painter
from gpu_ops.footage.lettering import blend

_LARGEST_ZOOM = 1.4


@dataclass(frozen=True)
class Plain:
    """One colour, for tests that want nothing else to move."""

    colour: Colour = (40, 60, 80)

    def painter(self, width: int, height: int, duration: float, seed: int) -> Painter:
        blank = np.full((height, width, 3), self.colour[::-1], np.uint8)

        def paint(time: float) -> Image:
            return blank.copy()

        return paint


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A camera that pans and zooms over photographs, with cuts between them.

    `pace` scales all motion (0: a still); `shot_s` is the range of shot lengths in seconds; `shake` is the
    hand-held tremor and `flicker` the brightness swing, both as fractions; `grain` is the noise's standard
    deviation in grey levels; `passers` soft-edged pieces of other photographs cross the picture at their own
    speeds.
    """

    photographs: Sequence[Path | Image]
    pace: float = 1.0
    shot_s: tuple[float, float] = (3.0, 8.0)
    shake: float = 0.002
    flicker: float = 0.03
    grain: float = 3.0
    passers: int = 0
    brightness: float = 1.0

    def painter(self, width: int, height: int, duration: float, seed: int) -> Painter:
        rng = np.random.default_rng(seed)
        photographs = [_photograph(item) if isinstance(item, Path) else item for item in self.photographs]
        shots = _shots(rng, len(photographs), duration, self.shot_s)
        covers = [_cover(photograph, width, height) for photograph in photographs]
        passers = [
            _Passer.cut(rng, photographs[int(rng.integers(len(photographs)))], width, height, self.pace)
            for _ in range(self.passers)
        ]
        grain = _Grain.make(rng, width, height, self.grain) if self.grain else None
        tremor = rng.uniform(0.7, 3.0, 6), rng.uniform(0, 2 * np.pi, 6)

        def paint(time: float) -> Image:
            shot = next((s for s in shots if time < s.end), shots[-1])
            wobble = np.sin(2 * np.pi * tremor[0] * time + tremor[1]) * self.shake
            image = shot.view(covers[shot.photograph], width, height, time, self.pace, wobble)
            for passer in passers:
                passer.lay_over(image, time)
            gain = self.brightness * (
                1 + self.flicker * float(np.sin(time * 5.1) + 0.5 * np.sin(time * 13.7))
            )
            if abs(gain - 1) > 1e-3:
                image = np.asarray(cv2.convertScaleAbs(image, alpha=gain), np.uint8)
            if grain:
                grain.add(image, time)
            return image

        return paint


@dataclass(frozen=True)
class Letterboxed:
    """Another background between black bars, each `bar` of the frame height."""

    background: Background
    bar: float = 0.12

    def painter(self, width: int, height: int, duration: float, seed: int) -> Painter:
        bar = round(self.bar * height / 2) * 2
        inner = self.background.painter(width, height - 2 * bar, duration, seed)

        def paint(time: float) -> Image:
            image = np.zeros((height, width, 3), np.uint8)
            image[bar : height - bar] = inner(time)
            return image

        return paint


@functools.lru_cache(maxsize=16)
def _photograph(path: Path) -> Image:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise OSError(f"cannot read the photograph {path}")
    longest = max(image.shape[:2])
    if longest > 3000:
        image = cv2.resize(image, None, fx=3000 / longest, fy=3000 / longest, interpolation=cv2.INTER_AREA)
    return np.asarray(image, np.uint8)


def _cover(photograph: Image, width: int, height: int) -> Image:
    """Scale so that the picture covers the frame with room for the largest zoom and some panning."""
    scale = max(width / photograph.shape[1], height / photograph.shape[0]) * _LARGEST_ZOOM
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(photograph, None, fx=scale, fy=scale, interpolation=interpolation), np.uint8)


@dataclass(frozen=True)
class _Shot:
    """One uncut stretch. Path points are fractions of the room that the camera has; zooms 0 (wide) to 1
    (close)."""

    start: float
    end: float
    photograph: int
    path: tuple[tuple[float, float], tuple[float, float]]
    zoom: tuple[float, float]

    def view(self, cover: Image, width: int, height: int, time: float, pace: float, wobble: object) -> Image:
        progress = 0.5 + pace * ((time - self.start) / max(self.end - self.start, 1e-6) - 0.5)
        zoom = self.zoom[0] + (self.zoom[1] - self.zoom[0]) * progress
        tremor = np.asarray(wobble)
        scale = 1 / (_LARGEST_ZOOM - (_LARGEST_ZOOM - 1) * float(np.clip(zoom, 0, 1)))
        room_x, room_y = cover.shape[1] * scale - width, cover.shape[0] * scale - height
        (x0, y0), (x1, y1) = self.path
        x = (x0 + (x1 - x0) * progress + float(tremor[:3].sum())) * room_x + float(tremor[0]) * width
        y = (y0 + (y1 - y0) * progress + float(tremor[3:].sum())) * room_y + float(tremor[4]) * height
        matrix = np.array(
            [[scale, 0, -np.clip(x, 0, room_x)], [0, scale, -np.clip(y, 0, room_y)]], np.float64
        )
        view = cv2.warpAffine(
            cover, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(view, np.uint8)


def _shots(
    rng: np.random.Generator, photographs: int, duration: float, lengths: tuple[float, float]
) -> list[_Shot]:
    shots: list[_Shot] = []
    start, last = 0.0, -1
    while start < duration + 1:
        end = start + float(rng.uniform(*lengths))
        choices = [number for number in range(photographs) if number != last] or [0]
        last = choices[int(rng.integers(len(choices)))]
        ends = rng.uniform(0, 1, (2, 2))
        if abs(ends[0] - ends[1]).sum() < 0.7:
            ends[1] = 1 - ends[0]
        zoom = rng.uniform(0, 1, 2)
        shots.append(
            _Shot(
                start,
                end,
                last,
                ((float(ends[0, 0]), float(ends[0, 1])), (float(ends[1, 0]), float(ends[1, 1]))),
                (float(zoom[0]), float(zoom[1])),
            )
        )
        start = end
    return shots


@dataclass(frozen=True)
class _Passer:
    """A piece of a photograph that crosses the picture again and again, at `speed` pixels a second."""

    colour: Image
    alpha: Image
    start: tuple[float, float]
    speed: tuple[float, float]
    field: tuple[int, int]

    @classmethod
    def cut(
        cls, rng: np.random.Generator, photograph: Image, width: int, height: int, pace: float
    ) -> _Passer:
        w, h = int(width * rng.uniform(0.1, 0.3)), int(height * rng.uniform(0.2, 0.5))
        patch_w, patch_h = min(w, photograph.shape[1] - 1), min(h, photograph.shape[0] - 1)
        x = int(rng.integers(photograph.shape[1] - patch_w))
        y = int(rng.integers(photograph.shape[0] - patch_h))
        patch = cv2.resize(photograph[y : y + patch_h, x : x + patch_w], (w, h))
        alpha = np.zeros((h, w), np.uint8)
        cv2.ellipse(
            alpha, (w // 2, h // 2), (w * 2 // 5, h * 2 // 5), float(rng.uniform(0, 40)), 0, 360, 255, -1
        )
        alpha = np.asarray(cv2.GaussianBlur(alpha, (0, 0), max(1.0, h / 60)), np.uint8)
        colour = cv2.multiply(patch, cv2.merge([alpha, alpha, alpha]), scale=1 / 255)
        direction = 1 if rng.uniform() < 0.5 else -1
        speed = (
            direction * float(rng.uniform(0.1, 0.4)) * width * pace,
            float(rng.uniform(-0.03, 0.03)) * height,
        )
        start = float(rng.uniform(0, width)), float(rng.uniform(0.2, 1.0)) * height
        return cls(np.asarray(colour, np.uint8), alpha, start, speed, (width, height))

    def lay_over(self, image: Image, time: float) -> None:
        height, width = self.alpha.shape
        x = (self.start[0] + self.speed[0] * time) % (self.field[0] + width) - width
        y = (self.start[1] + self.speed[1] * time) % (self.field[1] + height) - height
        blend(image, self.colour, self.alpha, round(x), round(y))


@dataclass(frozen=True)
class _Grain:
    """Noise tiles larger than the picture, of which every frame takes another corner."""

    lighter: Image
    darker: Image
    corners: tuple[int, int]

    @classmethod
    def make(cls, rng: np.random.Generator, width: int, height: int, deviation: float) -> _Grain:
        corners = (64, 64)
        noise = rng.normal(0, deviation, (height + corners[1], width + corners[0])).round()
        noise = np.repeat(noise[..., None], 3, axis=2)
        lighter, darker = np.clip(noise, 0, 255).astype(np.uint8), np.clip(-noise, 0, 255).astype(np.uint8)
        return cls(lighter, darker, corners)

    def add(self, image: Image, time: float) -> None:
        number = round(time * 1000)
        x, y = number * 7919 % self.corners[0], number * 104729 % self.corners[1]
        here = (slice(y, y + image.shape[0]), slice(x, x + image.shape[1]))
        cv2.add(image, self.lighter[here], dst=image)
        cv2.subtract(image, self.darker[here], dst=image)
