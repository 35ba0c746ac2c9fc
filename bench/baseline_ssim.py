"""The usual open-source way, to compare with: structural similarity decides which frames are read by OCR.

The approach of VideOCR and videocr-PaddleOCR, written anew: look at a few frames a second inside a given
region, read only those that differ from the one before (SSIM, Wang et al. 2004), and merge neighbours whose
text is alike.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_ops.footage.film import Image

_EVERY = 2  # native frames
_SAME_PICTURE = 0.92
_SAME_TEXT = 0.8
_MIN_CONFIDENCE = 0.75
_MAX_GAP_S = 0.1
_MARGIN = 0.01


def captions_by_ssim(video: Path, region: Sequence[float], language: str) -> list[dict[str, Any]]:
    """Captions inside `region` (left, top, right, bottom in fractions): start_s, end_s, text."""
    read = _reader(language)
    spans: list[dict[str, Any]] = []
    last_picture: NDArray[np.float32] | None = None
    text = ""
    for start, end, crop in _crops(video, region):
        picture = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY).astype(np.float32)
        if last_picture is None or similarity(last_picture, picture) < _SAME_PICTURE:
            text = read(crop)
        last_picture = picture
        if not text:
            continue
        if spans and start - spans[-1]["end_s"] <= _MAX_GAP_S and _alike(spans[-1]["text"], text):
            spans[-1]["end_s"] = end
        else:
            spans.append({"start_s": start, "end_s": end, "text": text})
    return spans


def similarity(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Mean structural similarity of two grey pictures of the same size, values 0-255; 1 for equal
    pictures."""

    def blurred(picture: Any) -> Any:
        return cv2.GaussianBlur(picture, (11, 11), 1.5)

    mean_a, mean_b = blurred(a), blurred(b)
    spread_a, spread_b = blurred(a * a) - mean_a**2, blurred(b * b) - mean_b**2
    joint = blurred(a * b) - mean_a * mean_b
    c1, c2 = 6.5025, 58.5225
    score = ((2 * mean_a * mean_b + c1) * (2 * joint + c2)) / (
        (mean_a**2 + mean_b**2 + c1) * (spread_a + spread_b + c2)
    )
    return float(score.mean())


def _crops(video: Path, region: Sequence[float]) -> Iterator[tuple[float, float, Image]]:
    """Every second frame's region: when it begins and ends to be on screen (s after the first frame), BGR."""
    left, top, right, bottom = region
    pending: tuple[float, Image] | None = None
    with av.open(str(video)) as container:
        first = None
        length = 0.04
        for number, frame in enumerate(container.decode(video=0)):
            if number % _EVERY:
                continue
            first = frame.time if first is None else first
            time = frame.time - first
            whole = np.rot90(frame.to_ndarray(format="bgr24"), round(frame.rotation / 90))
            height, width = whole.shape[:2]
            crop = whole[
                max(0, int((top - _MARGIN) * height)) : int((bottom + _MARGIN) * height),
                max(0, int((left - _MARGIN) * width)) : int((right + _MARGIN) * width),
            ]
            if pending:
                yield pending[0], time, pending[1]
                length = time - pending[0]
            pending = time, np.ascontiguousarray(crop, np.uint8)
        if pending:
            yield pending[0], pending[0] + length, pending[1]


def _alike(a: str, b: str) -> bool:
    return difflib.SequenceMatcher(None, a, b, autojunk=False).ratio() >= _SAME_TEXT


def _reader(language: str) -> Any:
    # Imported here: the benchmark without --baseline needs no OCR of its own.
    from rapidocr import RapidOCR  # noqa: PLC0415

    # PaddleOCR's own limit; RapidOCR's default would enlarge a strip of 60 pixels twelvefold.
    limits = {"Det.limit_type": "max", "Det.limit_side_len": 960}
    engine = RapidOCR(params={"Global.log_level": "error", **limits})
    joined = " " if language == "en" else ""

    def read(crop: Image) -> str:
        engine_params: Mapping[str, bool] = {"use_det": True, "use_cls": False, "use_rec": True}
        result: Any = engine(crop, **engine_params)
        if result is None or result.txts is None:
            return ""
        lines = [
            (float(np.min(box[:, 1])), float(np.min(box[:, 0])), text)
            for box, text, confidence in zip(result.boxes, result.txts, result.scores, strict=True)
            if confidence >= _MIN_CONFIDENCE
        ]
        return joined.join(text for _, _, text in sorted(lines))

    return read
