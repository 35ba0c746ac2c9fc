"""Real films as backgrounds: what moves behind captions, as it really does."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from gpu_ops.footage.film import Image, Painter


@dataclass(frozen=True)
class Footage:
    """Films one after another, then again from the first, filling the frame; painted in order of time."""

    films: Sequence[Path]

    def painter(self, width: int, height: int, duration: float, seed: int) -> Painter:
        pictures = self._pictures(width, height)
        leaves, picture = next(pictures)

        def paint(time: float) -> Image:
            nonlocal leaves, picture
            while leaves <= time:
                leaves, picture = next(pictures)
            return picture.copy()

        return paint

    def _pictures(self, width: int, height: int) -> Iterator[tuple[float, Image]]:
        """Each picture with the time in seconds at which it leaves the screen."""
        leaves = 0.0
        for film in itertools.cycle(self.films):
            with av.open(str(film)) as container:
                step = 1 / float(container.streams.video[0].average_rate or 25)
                for frame in container.decode(video=0):
                    leaves += step
                    yield leaves, _filling(frame.to_ndarray(format="bgr24"), width, height)


def _filling(picture: Image, width: int, height: int) -> Image:
    scale = max(width / picture.shape[1], height / picture.shape[0])
    size = max(width, round(picture.shape[1] * scale)), max(height, round(picture.shape[0] * scale))
    grown = cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return np.asarray(grown[top : top + height, left : left + width], np.uint8)
