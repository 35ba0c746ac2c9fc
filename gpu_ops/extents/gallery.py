"""What a model got wrong on a drawn film, each error with a small picture: the gallery of a model card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_ops.extents.synthesis.films import Film, TrueCaption
from gpu_ops.extents.timing import TimedExtent

MOST_BYTES = 15_000
_WIDTH = 560
_BESIDE_S = 0.06


@dataclass(frozen=True)
class Failure:
    """One error of one film. `expected` and `found` say what was shown and predicted there, a line each.
    `jpeg`: the strip just before and after the start, and just before and after the end, below each other."""

    style: str
    seed: int
    expected: Sequence[str]
    found: Sequence[str]
    jpeg: bytes


def failures_of(
    film: Film, style: str, seed: int, missed: Sequence[TrueCaption], invented: Sequence[TimedExtent]
) -> list[Failure]:
    """One failure for each missed caption, and for each invented one that is no part of those."""
    failures: list[Failure] = []
    told: set[float] = set()
    for caption in missed:
        near = [extent for extent in invented if _overlap(caption, extent)]
        told |= {extent.start_s for extent in near}
        failures.append(
            Failure(
                style,
                seed,
                [_shown(caption)],
                [_span(extent) for extent in near],
                _picture(film, caption.start_s, caption.end_s),
            )
        )
    for extent in invented:
        if extent.start_s not in told:
            shown = [_shown(caption) for caption in film.captions if _overlap(caption, extent)]
            picture = _picture(film, extent.start_s, extent.end_s)
            failures.append(Failure(style, seed, shown, [_span(extent)], picture))
    return failures


def _overlap(caption: TrueCaption, extent: TimedExtent) -> bool:
    return caption.start_s < extent.end_s and extent.start_s < caption.end_s


def _shown(caption: TrueCaption) -> str:
    return f"{caption.start_s:.2f} to {caption.end_s:.2f} s: {caption.text.replace(chr(10), ' / ')}"


def _span(extent: TimedExtent) -> str:
    return f"{extent.start_s:.2f} to {extent.end_s:.2f} s, confidence {extent.confidence:.2f}"


def _picture(film: Film, start_s: float, end_s: float) -> bytes:
    times = [start_s - _BESIDE_S, start_s + _BESIDE_S, end_s - _BESIDE_S, end_s + _BESIDE_S]
    rows = [film.strips[min(len(film.strips) - 1, max(0, int(time * film.fps + 1e-6)))] for time in times]
    scale = min(1.0, _WIDTH / rows[0].shape[1])
    rows = [cv2.resize(row, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) for row in rows]
    line = np.full((3, rows[0].shape[1]), 255, np.uint8)
    return small_jpeg(np.concatenate([part for row in rows for part in (row.astype(np.uint8), line)][:-1]))


def small_jpeg(image: NDArray[np.uint8]) -> bytes:
    """The image as a JPEG of less than MOST_BYTES, as good as that allows."""
    while True:
        for quality in (75, 60, 45, 30, 20):
            jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
            if len(jpeg) < MOST_BYTES:
                return jpeg
        image = cv2.resize(image, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA).astype(np.uint8)
