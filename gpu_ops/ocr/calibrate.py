"""How sure is sure: draw captions, put them through real chunks and the real reader, compare how confident a
reading is with how often it is exact.

    python -m gpu_ops.ocr.calibrate --seed 1
    python -m gpu_ops.ocr.calibrate --seed 1 --spaces

print the constants of gpu_ops/ocr/confidence.py and gpu_ops/ocr/spacing.py fitted to that seed's captions,
and how well they hold on another seed's. What is drawn is the pair model's training material: its fonts and
photographs, never the held-out ones, in its looks, the hardest included. Takes about six CPU-minutes.
"""

from __future__ import annotations

import argparse
import functools
import random
import re
import tempfile
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from pydoc_data import topics

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFont

from gpu_ops.captions.read import read_captions
from gpu_ops.contract import FrameRange, VideoKeys
from gpu_ops.extents.synthesis import sources
from gpu_ops.extents.synthesis.backgrounds import Shot
from gpu_ops.extents.synthesis.compression import through_codec
from gpu_ops.extents.synthesis.lettering import Layer, Look, draw_caption, random_look
from gpu_ops.extents.synthesis.sources import FontFile
from gpu_ops.extents.synthesis.texts import COMMON_CHINESE
from gpu_ops.ocr.confidence import doubt, exact_share
from gpu_ops.ocr.engine import Image, OcrEngine, StripText
from gpu_ops.ocr.rapid import RapidEngine
from gpu_ops.ocr.recognise import Reading
from gpu_ops.ocr.spacing import gap_terms
from gpu_ops.ocr.strips import Line
from gpu_ops.regions import CropPixels
from gpu_ops.store import ObjectStore
from gpu_ops.video.crop import CroppedFrame
from gpu_ops.video.encode import ChunkWriter

KEYS = VideoKeys("00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002")
SCENE_WRITING = 0.05  # share of captions with writing behind them
CAPTIONS_PER_FILM = 12
FRAMES_PER_CAPTION = 10
# Crops of 360p to 1080p videos, one line high and two.
SIZES = ((560, 44), (640, 80), (1120, 80), (1120, 140), (1700, 110), (1700, 200))
SCRIPTS = (("latin",), ("chinese",), ("latin", "latin"), ("chinese", "chinese"), ("chinese", "latin"))


@dataclass(frozen=True)
class Sample:
    """One caption: what it says, what was read, and the confidence of that, 0-1."""

    truth: str
    read: str
    confidence: float

    @property
    def exact(self) -> bool:
        """Letter by letter, space by space, line by line.

        Full-width and half-width forms count as the same, and so do ellipses of any number of dots.
        """
        return _normalised(self.read) == _normalised(self.truth)


class UncalibratedEngine(RapidEngine):
    """The local engine, whose confidence is still the product of letter probabilities."""

    def calibrated(self, read: StripText) -> StripText:
        return read


@dataclass(frozen=True)
class Media:
    """What films are drawn with: faces by script ("latin" and "chinese"), and the luma of photographs."""

    fonts: Mapping[str, Sequence[FontFile]]
    photographs: Sequence[NDArray[np.uint8]]


def training_media() -> Media:
    """What the pair model is trained with, of what is installed."""
    return Media(
        {script: sources.fonts(script, "train") for script in ("latin", "chinese")},
        sources.photographs("train"),
    )


class RecordingEngine(UncalibratedEngine):
    """Keeps its first reading of every line."""

    def __init__(self) -> None:
        super().__init__()
        self.readings: list[Reading] = []

    def read_lines(self, lines: Sequence[Image]) -> list[Line]:
        self.readings += self._readings(lines)
        return super().read_lines(lines)


def samples(seed: int, films: int, engine: OcrEngine, media: Media) -> Iterator[Sample]:
    """Read `films` drawn films of 12 captions each."""
    for number in range(films):
        rng = random.Random(f"{seed}/{number}")
        with tempfile.TemporaryDirectory() as folder:
            yield from _film(rng, ObjectStore.open(Path(folder).as_uri()), engine, media)


def _film(rng: random.Random, store: ObjectStore, engine: OcrEngine, media: Media) -> Iterator[Sample]:
    width, height = rng.choice(SIZES)
    scripts = rng.choice(SCRIPTS if height >= 80 else SCRIPTS[:2])
    look = random_look(rng, [media.fonts[script] for script in scripts], width, height)
    texts = [
        tuple(_line(rng, look, row, script, width) for row, script in enumerate(scripts))
        for _ in range(CAPTIONS_PER_FILM)
    ]
    shots = [
        Shot(rng, media.photographs, media.fonts[scripts[0]], scripts[0], width, height, SCENE_WRITING)
        for _ in texts
    ]
    strips = [
        strip
        for shot, lines in zip(shots, texts, strict=True)
        for strip in _strips(shot, draw_caption(look, lines, width, height))
    ]
    grey = np.full((height // 2, width // 2), 128, np.uint8)
    with ChunkWriter(store, KEYS, 1, CropPixels(left=0, top=0, right=width, bottom=height)) as writer:
        for index, strip in enumerate(through_codec(rng, strips)):
            writer.add(CroppedFrame(index, index / 10, (index + 1) / 10, strip, grey, grey, 5))
        writer.finish()
    ranges = [
        FrameRange(start_frame=start, end_frame=start + FRAMES_PER_CAPTION)
        for start in range(0, len(strips), FRAMES_PER_CAPTION)
    ]
    readings = read_captions(store, KEYS.cropped_frames(1), ranges, engine)
    for lines, reading in zip(texts, readings, strict=True):
        yield Sample("\n".join(lines), reading.result.ocr_text, reading.result.confidence)


def _strips(shot: Shot, layer: Layer) -> Iterator[NDArray[np.uint8]]:
    for frame in range(FRAMES_PER_CAPTION):
        picture = layer.over(shot.picture(frame - FRAMES_PER_CAPTION / 2), 1.0)
        yield np.clip(picture + 0.5, 0, 255).astype(np.uint8)


def _line(rng: random.Random, look: Look, row: int, script: str, width: int) -> str:
    """A line of natural length that the font has all letters of and that fits where the look puts it."""
    font, scale = (look.second_font, look.second_scale) if row else (look.font, 1.0)
    face = ImageFont.truetype(font.path, max(6, round(look.size * scale)), index=font.face)
    room = 2 * min(look.centre_x, 1 - look.centre_x) if look.align == 0.5 else 1.0
    while True:
        text = _chinese(rng) if script == "chinese" else _english(rng)
        fits = face.getlength(text) < 0.92 * room * width
        if fits and sources.draws(font, text.replace(" ", "")):
            return text


def _chinese(rng: random.Random) -> str:
    text = "".join(rng.choice(COMMON_CHINESE) for _ in range(rng.randint(2, 18)))
    if len(text) > 6 and rng.random() < 0.4:
        cut = rng.randint(2, len(text) - 2)
        text = text[:cut] + rng.choice("，，、：") + text[cut:]
    return text + rng.choices(["", "。", "？", "！", "……"], [0.6, 0.1, 0.12, 0.12, 0.06])[0]


def _english(rng: random.Random) -> str:
    """A sentence or the beginning of one, as captions are cut."""
    words = rng.choice(_sentences()).split()
    text = " ".join(words[: rng.randint(2, 9)])
    if rng.random() < 0.15:
        text = text.replace(words[0], f"{words[0]} {rng.randint(2, 59)}", 1)
    if rng.random() < 0.08:
        text = text.upper()
    text = text.rstrip(",:;.") + rng.choice(["", ".", ".", ",", "?", "!", "..."])
    return "- " + text if rng.random() < 0.08 else text


@functools.cache
def _sentences() -> tuple[str, ...]:
    """Prose of the reference that comes with Python."""
    paragraphs = re.split(r"\n\s*\n", "\n\n".join(topics.topics.values()))
    prose = " ".join(" ".join(text.split()) for text in paragraphs if not text.startswith("    "))
    found = re.findall(r"(?<=[.?!] )[A-Z][A-Za-z0-9 ,'?!;:-]{10,90}[.?!](?= [A-Z])", prose)
    return tuple(sorted({sentence for sentence in found if sentence.count(" ") >= 2}))


def _normalised(text: str) -> str:
    return re.sub(r"\.{2,}", "...", unicodedata.normalize("NFKC", text))


def fit(found: Sequence[Sample]) -> tuple[float, float]:
    """Intercept and slope of exact_share by maximum likelihood."""
    legible = [sample for sample in found if sample.read]
    terms = np.array([[1.0, doubt(sample.confidence)] for sample in legible])
    intercept, slope = _logistic(terms, np.array([sample.exact for sample in legible], float))
    return float(intercept), float(slope)


def spaced_lines(seed: int, films: int, media: Media) -> Iterator[tuple[Reading, NDArray[np.bool_]]]:
    """Lines of which every letter was read, without wide ones, and after which letters there is a space."""
    engine = RecordingEngine()
    truths = {
        "".join(line.split()): line
        for sample in samples(seed, films, engine, media)
        for line in sample.truth.split("\n")
        if line.isascii()
    }
    for reading in engine.readings:
        truth = truths.get("".join(letter.character for letter in reading.letters), "")
        if len(truth) > 1:
            ends = np.cumsum([len(word) for word in truth.split()])[:-1]
            yield reading, np.isin(np.arange(1, len(reading.letters)), ends)


def fit_spaces(lines: Sequence[tuple[Reading, NDArray[np.bool_]]]) -> tuple[float, ...]:
    """The weights of gpu_ops.ocr.spacing by maximum likelihood."""
    terms = np.concatenate([gap_terms(reading.letters) for reading, _ in lines])
    return tuple(_logistic(terms, np.concatenate([spaces for _, spaces in lines]).astype(float)).tolist())


def _logistic(terms: NDArray[np.float64], outcomes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Newton's method; the slightest of penalties keeps separable outcomes finite."""
    weights = np.zeros(terms.shape[1])
    for _ in range(50):
        shares = 1 / (1 + np.exp(-terms @ weights))
        curvature = terms.T @ (terms * (shares * (1 - shares))[:, None]) + 1e-3 * np.eye(len(weights))
        weights += np.linalg.solve(curvature, terms.T @ (outcomes - shares) - 1e-3 * weights)
    return weights


def calibration_error(found: Sequence[Sample], bins: int = 5) -> float:
    """Expected calibration error, 0-1: how far confidence and exactness differ, on average over equally full
    bins.
    """
    legible = sorted((sample for sample in found if sample.read), key=lambda sample: sample.confidence)
    parts = np.array_split(np.array([(s.confidence, s.exact) for s in legible]), bins)
    return sum(abs(float(np.diff(part.mean(axis=0))[0])) * len(part) for part in parts) / len(legible)


def main() -> None:
    parser = argparse.ArgumentParser(description="Calibrate the local OCR: its confidence, or its spaces.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--films", type=int, default=50, help="12 captions each")
    parser.add_argument("--spaces", action="store_true", help="fit where words end")
    arguments = parser.parse_args()
    calibrate = _calibrate_spaces if arguments.spaces else _calibrate_confidence
    calibrate(arguments.seed, arguments.films, training_media())


def _calibrate_confidence(seed: int, films: int, media: Media) -> None:
    engine = UncalibratedEngine()
    intercept, slope = fit(list(samples(seed, films, engine, media)))
    print(f"INTERCEPT, SLOPE = {intercept:.3f}, {slope:.3f}")
    raw = list(samples(seed + 1, films, engine, media))
    held = [replace(s, confidence=exact_share(s.confidence, intercept, slope)) for s in raw]
    print(f"seed {seed + 1}: {len(held)} captions, {sum(not s.read for s in held)} not read")
    print(f"calibration error {calibration_error(raw):.3f} before, {calibration_error(held):.3f} after")
    for least in (0.9, 0.8):
        sure = [sample.exact for sample in held if sample.read and sample.confidence >= least]
        print(f"confidence {least} and more: {len(sure)} captions, {np.mean(sure):.3f} exact")


def _calibrate_spaces(seed: int, films: int, media: Media) -> None:
    weights = fit_spaces(list(spaced_lines(seed, films, media)))
    print(f"WEIGHTS = ({', '.join(f'{weight:.2f}' for weight in weights)})")
    held = list(spaced_lines(seed + 1, films, media))
    chances = [np.array([letter.space_before for letter in reading.letters[1:]]) for reading, _ in held]
    alone = np.mean([np.all((c > 0.1) == spaces) for c, (_, spaces) in zip(chances, held, strict=True)])
    both = np.mean([np.all((gap_terms(r.letters) @ np.array(weights) > 0) == spaces) for r, spaces in held])
    print(f"seed {seed + 1}: {len(held)} lines; all spaces right in {both:.3f}, by chance alone {alone:.3f}")


if __name__ == "__main__":
    main()
