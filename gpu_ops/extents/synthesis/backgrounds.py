"""What moves behind captions: photographs panned and zoomed, procedural textures, flat drawings, fades, cuts,
flicker, and the writing that is no caption: signs, logos, clocks, tickers."""

from __future__ import annotations

import random
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_ops.extents.synthesis import texts
from gpu_ops.extents.synthesis.lettering import Plane, draw_caption, random_look
from gpu_ops.extents.synthesis.sources import FontFile


def _noise_texture(rng: random.Random, width: int, height: int) -> Plane:
    """Cloudy noise of several octaves, 0-255."""
    noise = np.random.default_rng(rng.getrandbits(32))
    picture = np.zeros((height, width), np.float32)
    cell = rng.choice([4, 8, 16, 48])
    for _ in range(rng.randint(1, 4)):
        grid = noise.random((max(2, height // cell), max(2, width // cell)), dtype=np.float32)
        picture += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * cell**0.5
        cell = max(2, cell // 2)
    low, high = float(picture.min()), float(picture.max())
    middle, spread = rng.uniform(30, 220), rng.uniform(10, 110)
    return np.clip((picture - low) / (high - low + 1e-6) * 2 * spread - spread + middle, 0, 255).astype(
        np.float32
    )


def _flat_drawing(rng: random.Random, width: int, height: int) -> Plane:
    """Flat areas with dark lines, as in animation."""
    picture = np.full((height, width), rng.randint(0, 255), np.uint8)
    for _ in range(rng.randint(4, 30)):
        centre = (rng.randint(0, width), rng.randint(0, height))
        reach = rng.randint(10, max(12, height))
        corners = [
            (centre[0] + rng.randint(-reach, reach), centre[1] + rng.randint(-reach, reach))
            for _ in range(rng.randint(3, 7))
        ]
        shape = np.array(corners, np.int32)
        cv2.fillPoly(picture, [shape], rng.randint(0, 255), lineType=cv2.LINE_AA)
        if rng.random() < 0.6:
            cv2.polylines(picture, [shape], True, rng.randint(0, 60), rng.randint(1, 4), lineType=cv2.LINE_AA)
    return picture.astype(np.float32)


def _stripes(rng: random.Random, width: int, height: int) -> Plane:
    """Bars, bricks or blinds: edges as sharp as letters."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    angle, period = rng.uniform(0, np.pi), rng.uniform(4, 50)
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period)
    if rng.random() < 0.4:
        wave = wave * np.sin(
            (y * np.cos(angle) - x * np.sin(angle)) * 2 * np.pi / (period * rng.uniform(0.5, 3))
        )
    if rng.random() < 0.6:
        wave = np.sign(wave)
    return np.clip(rng.uniform(40, 210) + wave * rng.uniform(10, 100), 0, 255).astype(np.float32)


def _photograph(rng: random.Random, photos: Sequence[NDArray[np.uint8]], width: int, height: int) -> Plane:
    """A piece of a photograph, seen from near or far."""
    photo = rng.choice(photos)
    scale = rng.uniform(0.3, 1.6) * min(photo.shape[1] / width, photo.shape[0] / height, 1.5)
    cut_w = int(min(photo.shape[1], max(32, width * scale)))
    cut_h = int(min(photo.shape[0], max(16, height * scale)))
    left, top = rng.randint(0, photo.shape[1] - cut_w), rng.randint(0, photo.shape[0] - cut_h)
    piece = photo[top : top + cut_h, left : left + cut_w]
    method = cv2.INTER_AREA if cut_w > width else cv2.INTER_CUBIC
    picture = cv2.resize(piece, (width, height), interpolation=method).astype(np.float32)
    if rng.random() < 0.5:
        picture = picture[:, ::-1]
    gain, lift = rng.uniform(0.5, 1.4), rng.uniform(-60, 60)
    return np.clip((picture - 128) * gain + 128 + lift, 0, 255).astype(np.float32)


def _plain(rng: random.Random, width: int, height: int) -> Plane:
    level = rng.choice([0, 16, 255, 235, rng.randint(0, 255)])
    picture = np.full((height, width), level, np.float32)
    if rng.random() < 0.4:
        picture += np.linspace(-rng.uniform(0, 60), rng.uniform(0, 60), width, dtype=np.float32)[None]
    return np.clip(picture, 0, 255).astype(np.float32)


def _canvas(rng: random.Random, photos: Sequence[NDArray[np.uint8]], width: int, height: int) -> Plane:
    kind = rng.choices(["photo", "noise", "flat", "stripes", "plain"], [0.55, 0.12, 0.13, 0.06, 0.14])[0]
    if kind == "photo" and photos:
        return _photograph(rng, photos, width, height)
    if kind == "flat":
        return _flat_drawing(rng, width, height)
    if kind == "stripes":
        return _stripes(rng, width, height)
    if kind == "plain":
        return _plain(rng, width, height)
    return _noise_texture(rng, width, height)


def _write_scene_text(rng: random.Random, canvas: Plane, faces: Sequence[FontFile], script: str) -> Plane:
    """Signs and print that belong to the scene and move with it, turned and placed anywhere."""
    height, width = canvas.shape
    for _ in range(rng.randint(1, 3)):
        look = random_look(rng, [faces], width, round(height * rng.uniform(0.3, 1.6)) + 12)
        layer = draw_caption(look, [texts.caption(rng, script, rng.randint(3, 14))], width, height)
        turn = cv2.getRotationMatrix2D(
            (width / 2, height / 2), rng.choice([0, rng.uniform(-40, 40)]), rng.uniform(0.6, 1.4)
        )
        turn[:, 2] += (rng.uniform(-0.5, 0.5) * width, rng.uniform(-0.5, 0.5) * height)
        luma = cv2.warpAffine(layer.luma, turn, (width, height))
        alpha = cv2.warpAffine(layer.alpha, turn, (width, height))
        canvas = canvas * (1 - alpha) + luma
    return canvas.astype(np.float32)


class Shot:
    """One camera shot: a canvas larger than the strip, moved over it, with things passing in front.

    Args:
        rng: where all its chance comes from.
        photos: luma images to cut from.
        faces: fonts of `script` for writing in the scene.
        width, height: of the strip in pixels.
        writing: how likely there is writing in the scene.
    """

    def __init__(
        self,
        rng: random.Random,
        photos: Sequence[NDArray[np.uint8]],
        faces: Sequence[FontFile],
        script: str,
        width: int,
        height: int,
        writing: float = 0.16,
    ) -> None:
        self._size = (width, height)
        margin = round(height * 0.8)
        self._margin = margin
        self._canvas = _canvas(rng, photos, width + 2 * margin, height + 2 * margin)
        if rng.random() < writing:
            self._canvas = _write_scene_text(rng, self._canvas, faces, script)
        if rng.random() < 0.15:
            self._canvas = cv2.GaussianBlur(self._canvas, (0, 0), rng.uniform(1, 5)).astype(np.float32)
        moving = rng.random() < 0.72
        speed = height * rng.choice([0.01, 0.03, 0.08, 0.15]) if moving else 0.0
        heading = rng.uniform(0, 2 * np.pi)
        self._velocity = (speed * float(np.cos(heading)), speed * float(np.sin(heading)) * 0.5)
        self._zoom = rng.choice([0.0, rng.uniform(-0.03, 0.03)]) if moving else 0.0
        self._turn = rng.choice([0.0, 0.0, rng.uniform(-0.4, 0.4)]) if moving else 0.0
        self._shake = rng.uniform(0.2, 1.5) if rng.random() < 0.1 else 0.0
        self._passer = _canvas(rng, photos, max(16, height), max(16, height)) if rng.random() < 0.3 else None
        self._passer_from = rng.uniform(-0.2, 1.0) * width
        self._passer_speed = rng.uniform(-0.12, 0.12) * width
        self._rng = random.Random(rng.getrandbits(32))

    def picture(self, time: float) -> Plane:
        """The strip at `time`, in grid steps of 0.1 s around 0, as luma 0-255."""
        width, height = self._size
        move = cv2.getRotationMatrix2D(
            (width / 2 + self._margin, height / 2 + self._margin),
            self._turn * time,
            max(0.7, 1 + self._zoom * time),
        )
        shake = self._rng.gauss(0, self._shake) if self._shake else 0.0
        move[0, 2] -= self._margin + self._velocity[0] * time + shake
        move[1, 2] -= self._margin + self._velocity[1] * time + shake
        picture = cv2.warpAffine(self._canvas, move, (width, height), borderMode=cv2.BORDER_REFLECT).astype(
            np.float32
        )
        if self._passer is not None:
            self._put_passer(picture, time)
        return picture

    def _put_passer(self, picture: Plane, time: float) -> None:
        assert self._passer is not None
        width, height = self._size
        left = round(self._passer_from + self._passer_speed * time)
        first, last = max(0, left), min(width, left + self._passer.shape[1])
        if first < last:
            picture[:, first:last] = self._passer[:height, first - left : last - left]


class Overlay:
    """Writing over the picture that is no caption: a logo in a corner, a clock, a ticker passing through."""

    def __init__(
        self, rng: random.Random, faces: Sequence[FontFile], script: str, width: int, height: int
    ) -> None:
        self._kind = rng.choice(["logo", "logo", "clock", "ticker"])
        self._size = (width, height)
        self._opacity = rng.uniform(0.25, 1.0)
        self._seconds = rng.randint(0, 86000)
        small = max(14, round(height * rng.uniform(0.3, 0.6)))
        self._look = random_look(rng, [faces], width, small)
        text = texts.caption(rng, script, rng.randint(2, 8))
        if self._kind == "ticker":
            text = texts.caption(rng, script, rng.randint(30, 60))
        self._text = text
        self._corner = (rng.choice([0.0, 1.0]), rng.choice([0.0, 1.0, 0.5]))
        self._speed = rng.uniform(0.02, 0.1) * height * rng.choice([1, 2])
        self._layer = self._draw(0.0)

    def _draw(self, time: float) -> tuple[Plane, Plane]:
        width, _ = self._size
        text = self._text
        if self._kind == "clock":
            seconds = self._seconds + int(time // 10)
            text = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
        wide = width * 2 if self._kind == "ticker" else width
        layer = draw_caption(self._look, [text], wide, max(16, self._look.size * 2))
        columns = np.flatnonzero(layer.alpha.max(axis=0) > 0)
        if columns.size == 0:
            return layer.luma[:, :1], layer.alpha[:, :1]
        part = slice(int(columns[0]), int(columns[-1]) + 1)
        return layer.luma[:, part], layer.alpha[:, part]

    def over(self, picture: Plane, time: float) -> Plane:
        """The picture with this writing on it at `time` (grid steps)."""
        width, height = self._size
        luma, alpha = self._draw(time) if self._kind == "clock" else self._layer
        left = round(self._corner[0] * (width - luma.shape[1]))
        top = round(self._corner[1] * (height - luma.shape[0]))
        if self._kind == "ticker":
            left = round(width * 0.4 - self._speed * time * 10)
        out = picture.copy()
        x0, y0 = max(0, left), max(0, top)
        x1, y1 = min(width, left + luma.shape[1]), min(height, top + luma.shape[0])
        if x0 < x1 and y0 < y1:
            source = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
            target = (slice(y0, y1), slice(x0, x1))
            out[target] = out[target] * (1 - alpha[source] * self._opacity) + luma[source] * self._opacity
        return out
