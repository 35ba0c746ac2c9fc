"""A picture of a video's extents over time, for the run's metadata: where captions are and how sure they
are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

WIDTH = 1200
MARGIN = 46
ROW_HEIGHT = 26
ROW_GAP = 20
MAX_ROWS = 30
SHORTEST_ROW_S = 60.0
MAX_BYTES = 60_000

# Blue, green, red. Sure captions are dark green, unsure ones pale.
BACKGROUND = (255, 255, 255)
GAP = (228, 228, 228)
ISSUE = (60, 60, 220)
SURE, UNSURE = (70, 130, 40), (170, 225, 190)
INK = (70, 70, 70)


class _Extent(Protocol):
    @property
    def start_s(self) -> float: ...
    @property
    def end_s(self) -> float: ...
    @property
    def state(self) -> str: ...
    @property
    def confidence(self) -> float: ...


def timeline_jpeg(extents: Sequence[_Extent]) -> bytes:
    """The extents as coloured bars over minutes, wrapped into rows, as a JPEG of at most 60 kB (empty without
    any)."""
    if not extents:
        return b""
    total = max(extent.end_s for extent in extents)
    row_s = max(SHORTEST_ROW_S, np.ceil(total / MAX_ROWS / 60) * 60)
    rows = int(np.ceil(total / row_s)) or 1
    image = np.full((24 + rows * (ROW_HEIGHT + ROW_GAP) + 6, WIDTH, 3), 255, np.uint8)
    per_second = (WIDTH - 2 * MARGIN) / row_s
    for row in range(rows):
        top = 24 + row * (ROW_HEIGHT + ROW_GAP)
        _draw_row(image, extents, row * row_s, (row + 1) * row_s, top, per_second)
    _write(image, _summary(extents), (MARGIN, 16))
    for scale, quality in ((1.0, 85), (1.0, 60), (0.7, 50), (0.5, 40), (0.35, 30), (0.25, 20)):
        reduced = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        data = cv2.imencode(".jpg", reduced, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(data) <= MAX_BYTES:
            return data
    return b""


def _summary(extents: Sequence[_Extent]) -> str:
    captions = [extent for extent in extents if extent.state == "predicted"]
    issues = sum(extent.state == "issue" for extent in extents)
    sure = sum(extent.confidence for extent in captions) / max(1, len(captions))
    return f"{len(captions)} captions, mean confidence {sure:.2f}, {issues} unexplained stretches"


def _draw_row(
    image: NDArray[np.uint8],
    extents: Sequence[_Extent],
    start: float,
    end: float,
    top: int,
    per_second: float,
) -> None:
    for extent in extents:
        left, right = max(extent.start_s, start), min(extent.end_s, end)
        if left >= right:
            continue
        x0 = round(MARGIN + (left - start) * per_second)
        x1 = max(x0 + 1, round(MARGIN + (right - start) * per_second) - 1)
        inset = 6 if extent.state == "gap" else 0
        cv2.rectangle(image, (x0, top + inset), (x1, top + ROW_HEIGHT - inset), _colour(extent), -1)
    step = 10.0 if end - start <= 120 else 60.0
    for tick in np.arange(start, end + 0.1, step):
        x = round(MARGIN + (tick - start) * per_second)
        whole_minute = tick % 60 == 0
        cv2.line(image, (x, top + ROW_HEIGHT), (x, top + ROW_HEIGHT + (5 if whole_minute else 2)), INK, 1)
    _write(image, f"{int(start // 60)} min", (2, top + 17))


def _colour(extent: _Extent) -> tuple[float, ...]:
    if extent.state == "gap":
        return GAP
    if extent.state == "issue":
        return ISSUE
    share = min(1.0, max(0.0, extent.confidence))
    return tuple(low + (high - low) * share for low, high in zip(UNSURE, SURE, strict=True))


def _write(image: NDArray[np.uint8], text: str, place: tuple[int, int]) -> None:
    cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, INK, 1, cv2.LINE_AA)
