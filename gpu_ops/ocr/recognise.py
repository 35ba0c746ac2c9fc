"""What a line of text says: the recognition model and the reading of its output (CTC, Graves et al. 2006)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_ops.ocr.engine import Image
from gpu_ops.ocr.models import RECOGNITION, open_model
from gpu_ops.ocr.spacing import Letter, space_odds
from gpu_ops.ocr.spelling import in_one_width

HEIGHT = 48
_NARROWEST = 320
_STEP = 8  # the network has one output per 8 columns
_LARGEST_BATCH = 8
_MOST_COLUMNS = 2560  # of a batch, unless one line has more: 65 kB each while the network runs


@dataclass(frozen=True)
class Reading:
    """The letters of a line in order, and the log-odds of a space after each but the last."""

    letters: tuple[Letter, ...]
    spaces: tuple[float, ...]


class LineReader:
    """Reads images of single lines. One instance per thread."""

    def __init__(self, threads: int = 1) -> None:
        self._session = open_model(RECOGNITION, threads)
        known = self._session.get_modelmeta().custom_metadata_map["character"]
        self.alphabet = ("", *known.split("\n"), " ")
        self._space = len(self.alphabet) - 1

    def read(self, lines: Sequence[Image]) -> list[Reading]:
        """Read uint8 HxWx3 BGR images of one line each, however long, in order."""
        scaled = [_scaled(line) for line in lines]
        readings: dict[int, Reading] = {}
        for width, batch in _batches([line.shape[1] for line in scaled]):
            pixels = np.zeros((len(batch), 3, HEIGHT, width), np.float32)
            for row, number in enumerate(batch):
                pixels[row, :, :, : scaled[number].shape[1]] = scaled[number].transpose(2, 0, 1)
            (outputs,) = self._session.run(None, {"x": pixels})
            for row, number in enumerate(batch):
                readings[number] = self._decode(np.asarray(outputs)[row])
        return [readings[number] for number in range(len(lines))]

    def _decode(self, probabilities: NDArray[np.float32]) -> Reading:
        """Best path: a run of one class is one character."""
        best = probabilities.argmax(axis=1)
        starts = np.flatnonzero(np.diff(best, prepend=-1))
        stops = np.append(starts[1:], len(best))
        letters: list[Letter] = []
        end = 0
        for start, stop in zip(starts, stops, strict=True):
            if best[start] in (0, self._space):
                continue
            around = slice(max(0, start - 1), stop + 1)
            weights = probabilities[around, best[start]]
            columns = np.arange(around.start, around.start + len(weights)) + 0.5
            letters.append(
                Letter(
                    self.alphabet[best[start]],
                    chance=float(probabilities[start:stop, best[start]].max()),
                    center=float(weights @ columns / weights.sum()) * _STEP / HEIGHT,
                    space_before=float(probabilities[max(0, end - 1) : start + 1, self._space].max()),
                )
            )
            end = stop
        letters = in_one_width(letters)
        return Reading(tuple(letters), space_odds(letters))


def _batches(widths: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
    """The numbers of the lines that are read together, narrow ones first, and how wide their pictures are."""
    batch: list[int] = []
    needed = 0
    for number in sorted(range(len(widths)), key=lambda number: widths[number]):
        width = math.ceil(max(_NARROWEST, widths[number]) / _STEP) * _STEP
        if batch and (len(batch) == _LARGEST_BATCH or (len(batch) + 1) * width > _MOST_COLUMNS):
            yield needed, batch
            batch = []
        batch.append(number)
        needed = width
    if batch:
        yield needed, batch


def _scaled(line: Image) -> NDArray[np.float32]:
    height, width = line.shape[:2]
    columns = max(1, round(width * HEIGHT / height))
    method = cv2.INTER_AREA if height > HEIGHT else cv2.INTER_CUBIC
    resized = cv2.resize(line, (columns, HEIGHT), interpolation=method)
    return resized.astype(np.float32) / 127.5 - 1
