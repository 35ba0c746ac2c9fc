"""The usual open-source way, to compare with: structural similarity decides which frames are read by OCR.

The method of VideOCR (github.com/timminator/VideOCR, as of 2026) at its own defaults, written anew with
RapidOCR in the place of PaddleOCR, inside a region that it is told:

- every second frame is looked at, reduced to 1280 pixels of width at most;
- a frame whose middle 30 % is like the one before (SSIM over 0.92, Wang et al. 2004) is passed over;
- in the others text is detected; where the boxes lie as before and what they hold looks as before (SSIM over
  0.85), the frame is passed over as well; the remaining ones are read, words under 0.75 left out;
- readings at most 0.1 s apart that are 80 % alike are one caption, which says what most of them say; captions
  under 0.2 s are dropped, and what is then alike is joined again.

    python -m bench.baseline_ssim VIDEO LEFT,TOP,RIGHT,BOTTOM en|zh|en+zh OUT.json
"""

from __future__ import annotations

import difflib
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from rapidocr import RapidOCR

from gpu_ops.footage.film import Image

_EVERY = 2  # native frames
_WIDEST = 1280
_MIDDLE = slice(0.35, 0.65)
_SAME_PICTURE = 0.92
_SAME_BOX = 0.85
_BOX_TOLERANCE = 0.05  # of the picture's sides
_SAME_TEXT = 0.8
_MIN_CONFIDENCE = 0.75
_MAX_GAP_S = 0.1
_SHORTEST_S = 0.2
_MARGIN = 0.01  # around the region, of the frame's sides

Box = tuple[float, float, float, float]


@dataclass
class _Span:
    """A caption in the making: what each of its readings said."""

    start_s: float
    end_s: float
    readings: list[str] = field(default_factory=list[str])

    @property
    def text(self) -> str:
        return Counter(self.readings).most_common(1)[0][0]


def captions_by_ssim(video: Path, region: Sequence[float], language: str) -> list[dict[str, Any]]:
    """Captions inside `region` (left, top, right, bottom in fractions): start_s, end_s, text."""
    reader = _Reader(" " if language == "en" else "")
    spans: list[_Span] = []
    middle: NDArray[np.float32] | None = None
    fresh = False
    for start, end, crop in _crops(video, region):
        before, middle = middle, _middle(crop)
        if before is None or similarity(before, middle) <= _SAME_PICTURE:
            fresh = reader.look(crop)
        if not reader.text:
            continue
        if not fresh and spans and spans[-1].end_s == start:
            spans[-1].end_s = end
        else:
            spans.append(_Span(start, end, [reader.text]))
        fresh = False
    lasting = [span for span in _joined(spans) if span.end_s - span.start_s >= _SHORTEST_S]
    return [{"start_s": span.start_s, "end_s": span.end_s, "text": span.text} for span in _joined(lasting)]


def _joined(spans: Sequence[_Span]) -> list[_Span]:
    joined: list[_Span] = []
    for span in spans:
        last = joined[-1] if joined else None
        if last and span.start_s - last.end_s <= _MAX_GAP_S and _alike(last.text, span.text):
            last.end_s = span.end_s
            last.readings += span.readings
        else:
            joined.append(span)
    return joined


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


class _Reader:
    """Reads pictures one after the other; `text` is what the last one says."""

    def __init__(self, joint: str) -> None:
        # PaddleOCR's own limit; RapidOCR's default would enlarge a strip of 60 pixels twelvefold.
        limits = {"Det.limit_type": "max", "Det.limit_side_len": 960}
        self._engine = RapidOCR(params={"Global.log_level": "error", **limits})
        self._joint = joint
        self._boxes: list[Box] = []
        self._picture: NDArray[np.float32] | None = None
        self.text = ""

    def look(self, crop: Image) -> bool:
        """Take the next picture in. True if it was read, False if it holds no text or the same as before."""
        found: Any = self._engine(crop, use_det=True, use_cls=False, use_rec=False)
        boxes = [] if found is None or found.boxes is None else [_rectangle(box) for box in found.boxes]
        if not boxes:
            self._boxes, self._picture, self.text = [], None, ""
            return False
        picture = _grey(crop)
        before, self._picture = self._picture, picture
        if before is not None and self._lie_as_before(boxes, crop) and self._look_alike(before, picture):
            return False
        self._boxes = boxes
        self.text = self._read(crop)
        return True

    def _lie_as_before(self, boxes: Sequence[Box], crop: Image) -> bool:
        height, width = crop.shape[:2]
        sides = (width, height, width, height)
        return len(boxes) == len(self._boxes) and all(
            abs(one - other) <= _BOX_TOLERANCE * side
            for box, old in zip(sorted(boxes), sorted(self._boxes), strict=True)
            for one, other, side in zip(box, old, sides, strict=True)
        )

    def _look_alike(self, before: NDArray[np.float32], picture: NDArray[np.float32]) -> bool:
        for left, top, right, bottom in self._boxes:
            part = slice(int(top), int(bottom) + 1), slice(int(left), int(right) + 1)
            if similarity(before[part], picture[part]) <= _SAME_BOX:
                return False
        return True

    def _read(self, crop: Image) -> str:
        result: Any = self._engine(crop, use_det=True, use_cls=False, use_rec=True)
        if result is None or result.txts is None:
            return ""
        lines = [
            (float(np.min(box[:, 1])), float(np.min(box[:, 0])), text)
            for box, text, confidence in zip(result.boxes, result.txts, result.scores, strict=True)
            if confidence >= _MIN_CONFIDENCE
        ]
        return self._joint.join(text for _, _, text in sorted(lines))


def _rectangle(box: Any) -> Box:
    left, top = (max(0.0, float(np.min(box[:, side]))) for side in (0, 1))
    right, bottom = (float(np.max(box[:, side])) for side in (0, 1))
    return left, top, right, bottom


def _middle(crop: Image) -> NDArray[np.float32]:
    width = crop.shape[1]
    return _grey(crop[:, int(_MIDDLE.start * width) : int(_MIDDLE.stop * width)])


def _grey(picture: Image) -> NDArray[np.float32]:
    return cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(np.float32)


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
            pending = time, _reduced(np.ascontiguousarray(crop, np.uint8))
        if pending:
            yield pending[0], pending[0] + length, pending[1]


def _reduced(crop: Image) -> Image:
    scale = _WIDEST / crop.shape[1]
    if scale >= 1:
        return crop
    return cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.uint8)


def _alike(a: str, b: str) -> bool:
    a, b = a.replace(" ", ""), b.replace(" ", "")
    return difflib.SequenceMatcher(None, a, b, autojunk=False).ratio() >= _SAME_TEXT


def main() -> None:
    """Command line: a process of its own, so that what it costs can be measured as ours is."""
    video, region, language, out = sys.argv[1:]
    captions = captions_by_ssim(Path(video), [float(edge) for edge in region.split(",")], language)
    Path(out).write_text(json.dumps(captions, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main()
