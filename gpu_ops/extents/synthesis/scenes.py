"""Scenes: eight grid frames of one strip, with what caption each shows. The unit the pair model is trained
on."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_ops.extents.strips import normalised
from gpu_ops.extents.synthesis import sources, texts
from gpu_ops.extents.synthesis.backgrounds import Overlay, Shot
from gpu_ops.extents.synthesis.compression import through_codec
from gpu_ops.extents.synthesis.lettering import Layer, Look, Plane, draw_caption, fit_length, random_look

FRAMES = 8
CELL = 8
# Model sizes scenes come in, with how often: tall ones hold two lines.
SHAPES = {(64, 256): 0.3, (64, 384): 0.3, (64, 560): 0.12, (64, 896): 0.05, (80, 448): 0.13, (96, 352): 0.1}

# What the model found hardest: letters without any edge over a cut, a colour running through them, a logo or
# clock in the strip, one line of two changing.
Stress = Literal["bare", "sung", "watermarked", "lines"]
STRESSES: tuple[Stress, ...] = ("bare", "bare", "sung", "watermarked", "lines")


@dataclass(frozen=True)
class Scene:
    """Strips `frames` uint8 (8, H, W); `captions` int8 (8,), 0 for none, equal numbers for equal captions,
    one that fades counting from half its strength; `letters` uint8 0/1 (8, H/8, W/8), where captions have
    letters."""

    frames: NDArray[np.uint8]
    captions: NDArray[np.int8]
    letters: NDArray[np.uint8]


@dataclass(frozen=True)
class Shown:
    """A frame's captions: which (0 none), how opaque, and the one it dissolves from, if any."""

    caption: int
    opacity: float = 1.0
    under: int = 0


def _timeline(rng: random.Random) -> list[Shown]:
    """What each of the eight frames shows."""
    kind = rng.choices(
        ["constant", "empty", "start", "end", "switch", "gap", "short", "three"],
        [0.19, 0.16, 0.11, 0.11, 0.27, 0.05, 0.06, 0.05],
    )[0]
    turn = rng.randint(1, FRAMES - 1)
    fade = rng.choice([0.0, 0.0, 0.0, rng.uniform(0.8, 4.0)])  # in grid steps
    phase = rng.random()

    def ramp(i: int) -> float:
        """0 before `turn`, 1 after it, passing 0.5 between frames turn-1 and turn."""
        if fade == 0:
            return float(i >= turn)
        return float(np.clip((i - turn + phase) / fade + 0.5, 0, 1))

    if kind == "constant":
        return [Shown(1)] * FRAMES
    if kind == "empty":
        return [Shown(0)] * FRAMES
    if kind == "start":
        return [Shown(1, ramp(i)) for i in range(FRAMES)]
    if kind == "end":
        return [Shown(1, 1 - ramp(i)) for i in range(FRAMES)]
    if kind == "switch":
        if fade and rng.random() < 0.5:
            return [Shown(2, ramp(i), 1) for i in range(FRAMES)]
        return [Shown(2 if i >= turn else 1) for i in range(FRAMES)]
    if kind == "gap":
        length = rng.randint(1, 3)
        later = rng.choice([1, 2])
        return [Shown(1 if i < turn else 0 if i < turn + length else later) for i in range(FRAMES)]
    if kind == "short":
        length = rng.randint(2, 5)
        before, after = rng.choice([(0, 0), (0, 0), (0, 2), (2, 0), (2, 3)])
        return [Shown(before if i < turn else 1 if i < turn + length else after) for i in range(FRAMES)]
    second = rng.randint(turn, FRAMES)
    return [Shown(1 if i < turn else 2 if i < second else 3) for i in range(FRAMES)]


def related_captions(
    rng: random.Random, scripts: Sequence[str], look: Look, width: int, line_share: float = 0.12
) -> list[tuple[str, ...]]:
    """Three captions with a line per script, often hard to tell apart: one character, an added word, one line
    of two.

    Where there are two lines, one may be empty: captions of one and two lines, or in two zones, alternate;
    `line_share` is how often just one of the two changes.
    """

    def fresh() -> tuple[str, ...]:
        lines = [texts.caption(rng, script, fit_length(rng, look, width)) for script in scripts]
        if len(lines) == 2 and rng.random() < 0.3:
            lines[rng.choice([0, 0, 1])] = ""
        return tuple(lines)

    captions = [fresh()]
    for _ in range(2):
        last = captions[-1]
        row = rng.choice([row for row, text in enumerate(last) if text])
        script = scripts[row]
        how = rng.random()
        if how < 0.4:
            changed = texts.one_character_apart(rng, last[row], script)
        elif how < 0.52:
            changed = last[row] + " " + texts.caption(rng, script, rng.randint(1, 8)).strip("- ")
        elif how < 0.52 + line_share and len(scripts) == 2:
            changed = texts.caption(rng, script, fit_length(rng, look, width))
        else:
            captions.append(fresh())
            continue
        captions.append((*last[:row], changed, *last[row + 1 :]))
    return captions


def random_scene(
    rng: random.Random, shape: tuple[int, int], split: sources.Split = "train", hard: float = 0.0
) -> Scene:
    """A scene at the model size `shape`, drawn at another size and reduced as real strips are.

    `hard` is the share of scenes, 0-1, that are one of STRESSES.
    """
    stress = rng.choice(STRESSES) if hard and rng.random() < hard else None
    scale = rng.choice([1.0, 1.0, rng.uniform(0.5, 1.1), rng.uniform(1.2, 2.2)])
    height, width = (round(side * scale / 2) * 2 for side in shape)
    script = _pick_script(rng, split)
    faces = sources.fonts(script, split)
    rows = [script]
    if rng.random() < (0.65 if shape[0] > 64 else 0.18) or stress == "lines":
        rows.append(script if rng.random() < 0.6 else _pick_script(rng, split))
        rng.shuffle(rows)
    look = random_look(rng, [sources.fonts(row, split) for row in rows], width, height)
    look = _stressed(rng, look, stress)
    captions = related_captions(rng, rows, look, width, 0.4 if stress == "lines" else 0.12)
    shown = _timeline(rng)
    sung_rate = rng.uniform(0.02, 0.15)
    layers = _layers(look, captions, shown, width, height, sung_rate)
    steady = len({now.caption for now in shown}) == 1
    pictures = _pictures(rng, faces, script, width, height, steady, stress)
    frames: list[NDArray[np.uint8]] = []
    letters: list[NDArray[np.uint8]] = []
    for i, (picture, now) in enumerate(zip(pictures, shown, strict=True)):
        cover = np.zeros((height, width), np.float32)
        if now.under:
            picture = layers[now.under, i].over(picture, 1 - now.opacity)
            cover = layers[now.under, i].letters * float(now.opacity < 0.5)
        if now.caption:
            picture = layers[now.caption, i].over(picture, now.opacity)
            cover = np.maximum(cover, layers[now.caption, i].letters * float(now.opacity >= 0.5))
        frames.append(np.clip(picture + 0.5, 0, 255).astype(np.uint8))
        cells = cv2.resize(cover, (shape[1] // CELL, shape[0] // CELL), interpolation=cv2.INTER_AREA)
        letters.append((cells > 0.06).astype(np.uint8))
    frames = [normalised(frame, shape) for frame in through_codec(rng, frames)]
    return Scene(
        np.stack(frames),
        np.array([_caption_of(now) for now in shown], np.int8),
        np.stack(letters),
    )


def _stressed(rng: random.Random, look: Look, stress: Stress | None) -> Look:
    if stress == "bare":
        fill = rng.uniform(190, 255) if rng.random() < 0.6 else rng.uniform(120, 200)
        return dataclasses.replace(look, fill=fill, outline_width=0, shadow_strength=0.0, box_strength=0.0)
    if stress == "sung":
        return dataclasses.replace(look, sung_fill=rng.uniform(40, 255))
    return look


def _pick_script(rng: random.Random, split: sources.Split) -> str:
    weights = {"latin": 6.0, "chinese": 7.0, "cyrillic": 3.0, "japanese": 1.5, "korean": 1.0}
    usable = sources.scripts(split)
    return rng.choices(usable, [weights.get(script, 0.35) for script in usable])[0]


def _layers(
    look: Look,
    captions: Sequence[tuple[str, ...]],
    shown: Sequence[Shown],
    width: int,
    height: int,
    sung_rate: float,
) -> dict[tuple[int, int], Layer]:
    """(caption number, frame) -> its layer; drawn once per caption unless it is being sung."""
    layers: dict[tuple[int, int], Layer] = {}
    drawn: dict[int, Layer] = {}
    for i, now in enumerate(shown):
        for number in {now.caption, now.under} - {0}:
            if look.sung_fill is not None:
                layers[number, i] = draw_caption(
                    look, captions[number - 1], width, height, (i + 1) * sung_rate
                )
                continue
            if number not in drawn:
                drawn[number] = draw_caption(look, captions[number - 1], width, height)
            layers[number, i] = drawn[number]
    return layers


def _pictures(
    rng: random.Random,
    faces: Sequence[sources.FontFile],
    script: str,
    width: int,
    height: int,
    steady: bool,
    stress: Stress | None,
) -> list[Plane]:
    """Eight pictures without captions: one or two shots, light changes, grain, writing that is no caption.

    Where the captions are `steady`, the picture is cut or holds writing more often, for the model to see
    through.
    """
    photos = sources.photographs("train")
    writing = 0.3 if steady else 0.14

    def shoot() -> Shot:
        return Shot(rng, photos, faces, script, width, height, writing)

    shot = shoot()
    cut_share = 0.7 if stress == "bare" else 0.5 if steady else 0.25
    cut = rng.randint(1, FRAMES - 1) if rng.random() < cut_share else FRAMES
    dissolve = rng.choice([0.0, 0.0, rng.uniform(2, 8)])
    other = shoot() if cut < FRAMES else shot
    watermark = rng.random() < 0.16 or stress == "watermarked"
    overlay = Overlay(rng, faces, script, width, height) if watermark else None
    grain = np.random.default_rng(rng.getrandbits(32))
    grain_strength = rng.choice([0.0, 0.0, rng.uniform(1, 5), rng.uniform(4, 14)])
    flicker = rng.uniform(0.03, 0.25) if rng.random() < 0.1 else 0.0
    dim_from, dim_to = (rng.uniform(0, 1), rng.uniform(0, 1)) if rng.random() < 0.08 else (1.0, 1.0)
    flash = rng.randrange(FRAMES) if rng.random() < 0.05 else -1
    dark = rng.choice([1.0, 1.0, rng.uniform(0.2, 0.9)])
    spread = (
        1 if rng.random() < 0.8 else rng.choice([4, 10, 25])
    )  # far apart, as when distant frames are compared
    letterbox = round(height * rng.uniform(0.05, 0.7)) if rng.random() < 0.08 else 0
    pictures: list[Plane] = []
    for i in range(FRAMES):
        time = (i - FRAMES / 2) * spread
        share = float(i >= cut) if not dissolve else float(np.clip((i - cut) / dissolve + 0.5, 0, 1))
        if other is shot or share == 0:
            picture = shot.picture(time)
        elif share == 1:
            picture = other.picture(time)
        else:
            picture = shot.picture(time) * (1 - share) + other.picture(time) * share
        light = dark * (dim_from + (dim_to - dim_from) * i / FRAMES) * (1 + flicker * grain.standard_normal())
        if i == flash:
            picture = picture * 0.2 + 225
        picture = picture * np.float32(light)
        if overlay is not None:
            picture = overlay.over(picture, time)
        if letterbox:
            picture[-letterbox:] = 16
        if grain_strength:
            picture = picture + grain.standard_normal(picture.shape, dtype=np.float32) * np.float32(
                grain_strength
            )
        pictures.append(np.clip(picture, 0, 255).astype(np.float32))
    return pictures


def _caption_of(now: Shown) -> int:
    return now.caption if now.opacity >= 0.5 else now.under
