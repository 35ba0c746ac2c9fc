"""What a caption strip says, from a model that finds lines and one that reads them: which lines are the
caption's, which letters are known, and what to try where the median frame shows nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from gpu_ops.ocr.engine import Image, Strip, StripText

Span = tuple[int, int, int, int]  # left, top, right, bottom in pixels; right and bottom exclusive

SURE_ENOUGH = 0.5
# A median frame read less surely than this is also read without what stands still behind the text. Of 480
# drawn captions on still pictures, hard looks included, 362 were exact without it, and 390 with it.
DOUBTFUL = 0.95
# Readers drop letters rather than invent any: of two readings the one with so many letters more is right,
# unless it is less than half as sure.
_MOST_DROPPED, MUCH_LESS_SURE = 2, 0.5
# Levels that letters differ by from what is behind them, and noise does not.
_CHANGED = 40
# Measured, in line heights: this much room around a line beats both a tight and a wide cut.
_MARGIN_ACROSS, _MARGIN_DOWN = 0.3, 0.04
# Line finders cut off faint stops and thin letters at the ends: so far beyond, and so many, are looked for.
_WIDE_MARGIN, _MOST_CUT_OFF = 1.0, 3
# Characters that stripes of a texture are read as, so that they alone must be read so surely.
_STROKES, _STROKES_SURE = frozenset("一二三十丨-–—_=~|/\\lI1:;.,'"), 0.9
_STOPS = tuple(".?!…。？！")
# How much of the confidence the reading with the ends must keep.
_AS_SURE = 0.6


@dataclass(frozen=True)
class Line:
    """What one line image says. Empty text means nothing legible; confidence is 0-1."""

    text: str
    confidence: float


class LineModels(Protocol):
    """Finds and reads lines of text. Both raise OcrFailed."""

    def find_lines(self, strip: Image) -> list[Span]:
        """Where the text lines of a caption strip lie, top to bottom."""
        ...

    def read_lines(self, lines: Sequence[Image]) -> list[Line]:
        """Read images (uint8 HxWx3 BGR) that each hold one line of text, in order."""
        ...


def read_caption(strip: Strip, models: LineModels) -> StripText:
    """Read a caption, by other pictures of it where the median frame leaves doubt. Raises OcrFailed.

    Where it shows no text, they make letters of textures, so only a fairly sure reading of them counts.
    """
    read = read_picture(strip.median, models, strip.behind)
    if strip.behind is not None and read.confidence < DOUBTFUL:
        read = _better(read, read_picture(cleared(strip.median, strip.behind), models))
    if read.text or read.illegible:
        return read
    for picture in (stretched(strip.median), strip.frame):
        read = read_picture(picture, models)
        if read.confidence >= SURE_ENOUGH:
            return read
    return StripText("", 0.0)


def completes(longer: str, shorter: str) -> bool:
    """Whether `longer` is `shorter` with a letter or two more, spaces aside."""
    letters, others = "".join(longer.split()), "".join(shorter.split())
    remaining = iter(letters)
    return 0 < len(letters) - len(others) <= _MOST_DROPPED and all(letter in remaining for letter in others)


def _better(one: StripText, other: StripText) -> StripText:
    worse, better = sorted((other, one), key=lambda read: read.confidence)
    likely = worse.confidence > MUCH_LESS_SURE * better.confidence
    return worse if likely and completes(worse.text, better.text) else better


def read_picture(picture: Image, models: LineModels, behind: Image | None = None) -> StripText:
    """Read one picture of a caption (uint8 HxWx3 BGR). Raises OcrFailed.

    Writing that `behind`, the same scene without the caption, shows as well is left out.
    """
    spans = models.find_lines(picture)
    if behind is not None:
        spans = _added(spans, picture, behind)
    spans = without_specks(spans)
    lines = _with_ends(picture, spans, models.read_lines([_cut(picture, span) for span in spans]), models)
    legible = [line for line, span in zip(lines, spans, strict=True) if _legible(line, span)]
    if not legible:
        illegible = any(_looks_like_text(span, picture.shape[0]) for span in spans)
        return StripText("", 0.0, illegible)
    confidence = float(np.prod([line.confidence for line in legible]))
    if len(legible) < len(lines):
        confidence *= 0.5
    return StripText("\n".join(line.text for line in legible), confidence)


def without_specks(spans: Sequence[Span]) -> list[Span]:
    """What is much lower than the tallest line is no line of a caption."""
    tallest = max((bottom - top for _, top, _, bottom in spans), default=0)
    return [span for span in spans if span[3] - span[1] >= 0.4 * tallest]


def cleared(picture: Image, behind: Image) -> Image:
    """As if on one colour: less what is there without the caption, too."""
    plain = np.median(behind.reshape(-1, 3), axis=0)
    return np.clip(picture - behind.astype(np.float32) + plain, 0, 255).astype(np.uint8)


def _added(spans: Sequence[Span], picture: Image, behind: Image) -> list[Span]:
    """The spans, cut off where a sign goes on that is in both pictures; all as they are, if none is new."""
    changed = cv2.absdiff(picture, behind).max(axis=2) > _CHANGED
    added: list[Span] = []
    for left, top, right, bottom in spans:
        columns = left + np.flatnonzero(changed[top:bottom, left:right].any(axis=0))
        if len(columns):
            first, last, letter = int(columns[0]), int(columns[-1]) + 1, bottom - top
            start = first if first - left > letter else left
            added.append((start, top, last if right - last > letter else right, bottom))
    return added or list(spans)


def stretched(picture: Image) -> Image:
    """Full contrast: for text hardly brighter than what is behind it."""
    low, high = (float(value) for value in np.percentile(picture, (1, 99)))
    scaled = (picture.astype(np.float32) - low) * (255 / max(high - low, 16.0))
    return np.clip(scaled, 0, 255).astype(np.uint8)


def _with_ends(
    picture: Image, spans: Sequence[Span], lines: Sequence[Line], models: LineModels
) -> list[Line]:
    """Lines that end without a stop, read again with more room, if that adds to what was read."""
    open_ended = [n for n, line in enumerate(lines) if line.text and not line.text.endswith(_STOPS)]
    wider = models.read_lines([_cut(picture, spans[n], _WIDE_MARGIN) for n in open_ended])
    completed = list(lines)
    for n, longer in zip(open_ended, wider, strict=True):
        shorter = lines[n]
        added = len(longer.text) - len(shorter.text)
        as_sure = longer.confidence >= _AS_SURE * shorter.confidence
        if shorter.text in longer.text and added <= _MOST_CUT_OFF and as_sure:
            completed[n] = longer
    return completed


def _cut(picture: Image, span: Span, margin: float = _MARGIN_ACROSS) -> Image:
    left, top, right, bottom = span
    across, down = round(margin * (bottom - top)), round(_MARGIN_DOWN * (bottom - top))
    return picture[max(0, top - down) : bottom + down, max(0, left - across) : right + across]


def _legible(line: Line, span: Span) -> bool:
    """Unknown letters come out as nothing or as a few unsure look-alikes, textures as strokes."""
    left, top, right, bottom = span
    letters = "".join(line.text.split())
    count = len(letters)
    if count == 0 or (_STROKES.issuperset(letters) and line.confidence < _STROKES_SURE):
        return False
    usual_confidence = line.confidence ** (1 / count)
    width_per_character = (right - left) / (bottom - top) / count
    return usual_confidence > 0.72 and width_per_character < 2


def _looks_like_text(span: Span, strip_height: int) -> bool:
    """A texture taken for text fills the strip or is as high as wide."""
    left, top, right, bottom = span
    return bottom - top < 0.85 * strip_height and right - left > 2 * (bottom - top)
