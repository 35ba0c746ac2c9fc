"""What a line of text says: the recognition model and the reading of its output (CTC, Graves et al. 2006)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_ops.ocr.engine import Image
from gpu_ops.ocr.models import RECOGNITION, open_model

HEIGHT = 48
_NARROWEST = 320
_STEP = 8  # the network has one output per 8 columns
_LARGEST_BATCH = 8
# Measured: where a space was lost its probability was 0.18 to 0.5 over one or more empty columns; of 3240
# places without a space none reached 0.15 there.
_LIKELY_SPACE = 0.18
_SPACE_COLUMNS = 1


@dataclass(frozen=True)
class Reading:
    """Characters in order with, for each, its probability (0-1) and its centre as a fraction of the line's
    width.
    """

    characters: tuple[str, ...]
    probabilities: tuple[float, ...]
    centers: tuple[float, ...]


class LineReader:
    """Reads images of single lines. One instance per thread."""

    def __init__(self, threads: int = 1) -> None:
        self._session = open_model(RECOGNITION, threads)
        known = self._session.get_modelmeta().custom_metadata_map["character"]
        self.alphabet = ("", *known.split("\n"), " ")

    def read(self, lines: Sequence[Image]) -> list[Reading]:
        """Read uint8 HxWx3 BGR images of one line each, however long, in order."""
        scaled = [_scaled(line) for line in lines]
        order = sorted(range(len(lines)), key=lambda number: scaled[number].shape[1])
        readings: dict[int, Reading] = {}
        for first in range(0, len(order), _LARGEST_BATCH):
            batch = order[first : first + _LARGEST_BATCH]
            width = max(_NARROWEST, max(scaled[number].shape[1] for number in batch))
            width = math.ceil(width / _STEP) * _STEP
            pixels = np.zeros((len(batch), 3, HEIGHT, width), np.float32)
            for row, number in enumerate(batch):
                pixels[row, :, :, : scaled[number].shape[1]] = scaled[number].transpose(2, 0, 1)
            (outputs,) = self._session.run(None, {"x": pixels})
            for row, number in enumerate(batch):
                share = scaled[number].shape[1] / width
                readings[number] = self._decode(np.asarray(outputs)[row], share)
        return [readings[number] for number in range(len(lines))]

    def _decode(self, probabilities: NDArray[np.float32], share: float) -> Reading:
        """Best path: a run of one class is one character, placed where it is most probable."""
        best = probabilities.argmax(axis=1)
        peaks = probabilities.max(axis=1)
        starts = np.flatnonzero(np.diff(best, prepend=-1))
        stops = np.append(starts[1:], len(best))
        characters: list[str] = []
        chances: list[float] = []
        centers: list[float] = []
        for start, stop in zip(starts, stops, strict=True):
            if best[start] == 0:
                space = float(probabilities[start:stop, -1].max())
                if characters and space > _LIKELY_SPACE and stop - start >= _SPACE_COLUMNS:
                    characters.append(" ")
                    chances.append(max(space, 0.5))
                    centers.append((start + stop) / 2 / len(best) / share)
                continue
            top = start + int(peaks[start:stop].argmax())
            characters.append(self.alphabet[best[start]])
            chances.append(float(peaks[top]))
            centers.append((top + 0.5) / len(best) / share)
        return Reading(tuple(characters), tuple(chances), tuple(centers))


def _scaled(line: Image) -> NDArray[np.float32]:
    height, width = line.shape[:2]
    columns = max(1, round(width * HEIGHT / height))
    method = cv2.INTER_AREA if height > HEIGHT else cv2.INTER_CUBIC
    resized = cv2.resize(line, (columns, HEIGHT), interpolation=method)
    return resized.astype(np.float32) / 127.5 - 1
