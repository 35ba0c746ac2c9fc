"""Draws captions in the looks met in real footage: thin, outlined, boxed, shadowed, glowing, translucent,
italic, sung.

Everything is luma only, as the model sees nothing else.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from gpu_ops.extents.synthesis.sources import FontFile

Plane = NDArray[np.float32]


@dataclass(frozen=True)
class Look:
    """How the captions of one film look. Lumas are 0-255, sizes in pixels or in fractions of the letter
    size."""

    font: FontFile
    second_font: FontFile
    size: int
    second_scale: float
    fill: float
    outline: float
    outline_width: int
    shadow_offset: int
    shadow_blur: float
    shadow_strength: float
    box: float
    box_strength: float
    box_whole_width: bool
    opacity: float
    slant: float
    sung_fill: float | None
    align: float  # 0 left, 0.5 centre, 1 right
    centre_x: float
    centre_y: float
    line_gap: float


@dataclass(frozen=True)
class Layer:
    """What a caption puts over the picture: luma already times alpha, alpha 0-1, and where its letters are
    (0-1)."""

    luma: Plane
    alpha: Plane
    letters: Plane

    def over(self, picture: Plane, opacity: float) -> Plane:
        """The picture (0-255) under this layer at `opacity` 0-1."""
        strength = np.float32(opacity)
        return (picture * (1 - self.alpha * strength) + self.luma * strength).astype(np.float32)


@functools.lru_cache(maxsize=600)
def _face(font: FontFile, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(font.path, size, index=font.face)


def random_look(rng: random.Random, faces: Sequence[Sequence[FontFile]], width: int, height: int) -> Look:
    """A look with a line for each of `faces` (what its font may be) that fits a strip of this size.

    The strip is between 1.15 and 3 times as high as the lines.
    """
    lines = len(faces)
    room = rng.uniform(1.15, 1.7) if rng.random() < 0.65 else rng.uniform(1.7, 3.0)
    if lines == 2:
        room = min(room, 2.0)
    pitch = height / room / lines
    line_gap = rng.uniform(0.0, 0.25)
    size = max(7, round(pitch / (1 + line_gap) * 0.85))
    kind = rng.random()
    bright = rng.random() < 0.86
    fill = rng.uniform(195, 255) if bright else rng.uniform(0, 60)
    if rng.random() < 0.12:
        fill = rng.uniform(90, 200)  # saturated colours have middling luma
    outline_width, shadow, box = 0, 0.0, 0.0
    if kind < 0.5:
        outline_width = max(1, round(size * rng.uniform(0.03, 0.12)))
    elif kind < 0.66:
        shadow = rng.uniform(0.4, 1.0)
    elif kind < 0.8:
        box = rng.uniform(0.3, 1.0)
    elif kind < 0.86:
        outline_width, shadow = max(1, round(size * 0.05)), rng.uniform(0.3, 0.9)
    contrary = rng.uniform(0, 45) if bright else rng.uniform(200, 255)
    if rng.random() < 0.08:
        contrary = rng.uniform(60, 190)
    spare = 0.5 * max(0.0, 1 - 1 / room)
    return Look(
        font=rng.choice(faces[0]),
        second_font=rng.choice(faces[-1]),
        size=size,
        second_scale=rng.choice([1.0, 1.0, rng.uniform(0.55, 0.9)]),
        fill=fill,
        outline=contrary,
        outline_width=outline_width,
        shadow_offset=round(size * rng.uniform(0, 0.12)),
        shadow_blur=rng.choice([0.0, size * rng.uniform(0.02, 0.15)]),
        shadow_strength=shadow,
        box=contrary,
        box_strength=box,
        box_whole_width=rng.random() < 0.3,
        opacity=rng.uniform(0.45, 0.85) if rng.random() < 0.12 else rng.uniform(0.9, 1.0),
        slant=rng.uniform(0.1, 0.25) if rng.random() < 0.12 else 0.0,
        sung_fill=rng.uniform(60, 255) if rng.random() < 0.06 else None,
        align=rng.choices([0.5, 0.0, 1.0], [0.72, 0.2, 0.08])[0],
        centre_x=0.5 if rng.random() < 0.7 else rng.uniform(0.3, 0.7),
        centre_y=0.5 + rng.uniform(-spare, spare),
        line_gap=line_gap,
    )


def fit_length(rng: random.Random, look: Look, width: int) -> int:
    """How many letters a line of this look may have: mostly between a fifth of the strip and all of it."""
    full = width / (look.size * 0.55)
    return max(2, round(full * rng.triangular(0.08, 0.95, 0.55)))


def draw_caption(look: Look, lines: Sequence[str], width: int, height: int, sung: float = 0.0) -> Layer:
    """The layer of a caption of one or two lines; `sung` is the share of each line in the second colour."""
    fill_mask = Image.new("L", (width, height), 0)
    outline_mask = Image.new("L", (width, height), 0)
    fill_pen, outline_pen = ImageDraw.Draw(fill_mask), ImageDraw.Draw(outline_mask)
    faces = [
        _face(
            look.font if row == 0 else look.second_font,
            max(6, round(look.size * (look.second_scale if row else 1))),
        )
        for row in range(len(lines))
    ]
    pitch = look.size * (1 + look.line_gap) * 1.15
    boxes: list[tuple[float, float, float, float]] = []
    for row, (text, face) in enumerate(zip(lines, faces, strict=True)):
        if not text:
            continue
        left, _, right, _ = fill_pen.textbbox((0, 0), text, font=face, anchor="ls")
        length = right - left
        x = _line_start(look, width, length) - left
        centre = look.centre_y * height + (row - (len(lines) - 1) / 2) * pitch
        baseline = centre + look.size * 0.36
        fill_pen.text((x, baseline), text, fill=255, font=face, anchor="ls")
        if look.outline_width:
            outline_pen.text(
                (x, baseline),
                text,
                fill=255,
                font=face,
                anchor="ls",
                stroke_width=look.outline_width,
                stroke_fill=255,
            )
        boxes.append((x + left, centre - look.size * 0.62, x + right, centre + look.size * 0.62))
    fill = np.asarray(fill_mask, np.float32) / np.float32(255)
    outline = np.asarray(outline_mask, np.float32) / np.float32(255)
    if look.slant:
        shear = np.array([[1, -look.slant, look.slant * look.centre_y * height], [0, 1, 0]], np.float32)
        fill = cv2.warpAffine(fill, shear, (width, height)).astype(np.float32)
        outline = cv2.warpAffine(outline, shear, (width, height)).astype(np.float32)
    return _stack(look, fill, outline, boxes, sung)


def _line_start(look: Look, width: int, length: float) -> float:
    if look.align == 0.5:
        return look.centre_x * width - length / 2
    margin = width * 0.03
    return margin if look.align == 0.0 else width - margin - length


def _stack(
    look: Look, fill: Plane, outline: Plane, boxes: Sequence[tuple[float, float, float, float]], sung: float
) -> Layer:
    height, width = fill.shape
    luma = np.zeros_like(fill)
    alpha = np.zeros_like(fill)

    def put(mask: Plane, value: Plane | float) -> None:
        nonlocal luma, alpha
        luma = luma * (1 - mask) + value * mask
        alpha = alpha * (1 - mask) + mask

    if look.box_strength:
        box = np.zeros_like(fill)
        pad = look.size * 0.12
        for left, top, right, bottom in boxes:
            if look.box_whole_width:
                left, right = 0, width
            box[
                max(0, int(top - pad)) : int(bottom + pad) + 1,
                max(0, int(left - 2 * pad)) : int(right + 2 * pad),
            ] = 1
        put(box * np.float32(look.box_strength), look.box)
    if look.shadow_strength:
        move = np.array([[1, 0, look.shadow_offset], [0, 1, look.shadow_offset]], np.float32)
        shadow = cv2.warpAffine(np.maximum(fill, outline), move, (width, height)).astype(np.float32)
        if look.shadow_blur:
            shadow = np.clip(cv2.GaussianBlur(shadow, (0, 0), look.shadow_blur) * 1.5, 0, 1).astype(
                np.float32
            )
        put(shadow * np.float32(look.shadow_strength), look.outline)
    if look.outline_width:
        put(outline, look.outline)
    if look.sung_fill is not None and sung > 0 and boxes:
        edge = min(b[0] for b in boxes) + sung * (max(b[2] for b in boxes) - min(b[0] for b in boxes))
        put(fill, np.where(np.arange(width)[None, :] < edge, look.sung_fill, look.fill).astype(np.float32))
    else:
        put(fill, look.fill)
    strength = np.float32(look.opacity)
    return Layer(
        (luma * strength).astype(np.float32),
        (alpha * strength).astype(np.float32),
        np.maximum(fill, outline),
    )
