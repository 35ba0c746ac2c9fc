"""The text of every caption: cropped frames -> one median frame per caption -> lines -> text."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from gpu_ops.captions.median import agreeing_frames, median_frame
from gpu_ops.contract import CaptionOcrResult, ComputeError, FrameRange, Progress, silent
from gpu_ops.ocr.engine import Image, Line, OcrEngine, OcrFailed
from gpu_ops.store import ObjectStore
from gpu_ops.video.encode import read_chunk_frames
from gpu_ops.video.grid import cheap_indices

ILLEGIBLE = "there is text here that this OCR engine cannot read (a script it does not know?)"

_FRAMES_PER_CAPTION = 9
# Captions fade in and out; a long one can do without its first and last frames.
_FADE = 3
_SURE_ENOUGH = 0.5
_LONG_ENOUGH = 4 * _FADE
_THUMBNAIL_WIDTH = 640
# Measured: this much room around a line beats both a tight and a wide cut.
_MARGIN_ACROSS, _MARGIN_DOWN = 0.3, 0.04


@dataclass(frozen=True)
class CaptionReading:
    """What one caption says, with its median frame, at most 640 pixels wide, for a contact sheet."""

    range: FrameRange
    result: CaptionOcrResult
    strip: Image | None


@dataclass(frozen=True)
class StripText:
    """Lines joined with newlines, confidence 0-1 that all of it is exact; illegible: text that could not
    be read.
    """

    text: str
    confidence: float
    illegible: bool = False


def read_captions(
    store: ObjectStore,
    chunks_prefix: str,
    ranges: Sequence[FrameRange],
    engine: OcrEngine,
    progress: Progress = silent,
) -> list[CaptionReading]:
    """Read each range (end EXCLUSIVE) once, in the given order.

    A caption whose frames or text cannot be read has `error` set: a failure is never an empty caption.
    """
    wanted = [cheap_indices(*_without_fades(caption), _FRAMES_PER_CAPTION) for caption in ranges]
    order = sorted(range(len(ranges)), key=lambda number: wanted[number][-1:])
    frames = _Frames(store, chunks_prefix, {index for indices in wanted for index in indices})
    readings: dict[int, CaptionReading] = {}
    for done, number in enumerate(order, 1):
        later = [wanted[other][0] for other in order[done:] if wanted[other]]
        readings[number] = _read(
            ranges[number], *frames.take(wanted[number], min(later, default=None)), engine
        )
        progress("captions", done, len(ranges))
    return [readings[number] for number in range(len(ranges))]


def reading_warnings(readings: Sequence[CaptionReading]) -> list[str]:
    """Sentences for the video's owner about captions that the engine could not read."""
    illegible = sum(reading.result.error == ILLEGIBLE for reading in readings)
    failed = sum(reading.result.error is not None for reading in readings) - illegible
    warnings: list[str] = []
    if illegible:
        warnings.append(
            f"{illegible} of {len(readings)} captions hold text that the local OCR cannot read. It knows "
            "Latin, Chinese and Japanese letters, not Cyrillic, Korean, Arabic, Thai or Indian ones: "
            "those need another OCR engine, such as Google Vision."
        )
    if failed:
        warnings.append(
            f"Reading failed for {failed} of {len(readings)} captions; they are marked as errors."
        )
    return warnings


def read_strip(strip: Image, engine: OcrEngine) -> StripText:
    """Read a caption strip (uint8 HxWx3 BGR). Raises OcrFailed."""
    spans = _caption_lines(engine.find_lines(strip))
    lines = engine.read_lines([_cut(strip, span) for span in spans])
    legible = [line for line, span in zip(lines, spans, strict=True) if _legible(line, span)]
    if not legible:
        return StripText("", 0.0, illegible=any(_looks_like_text(span, strip.shape[0]) for span in spans))
    confidence = float(np.prod([line.confidence for line in legible]))
    if len(legible) < len(lines):
        confidence *= 0.5
    return StripText("\n".join(line.text for line in legible), confidence)


def _second_look(median: Image, frames: Sequence[Image], engine: OcrEngine) -> StripText:
    """For a median frame without text: more contrast, or text that the median lost because it moves.

    Such enhanced pictures make letters of textures, so only a fairly sure reading counts.
    """
    for picture in (_stretched(median), frames[len(frames) // 2]):
        read = read_strip(picture, engine)
        if read.confidence >= _SURE_ENOUGH:
            return read
    return StripText("", 0.0)


class _Frames:
    """Cropped frames handed out caption by caption, in ascending order, each decoded once."""

    def __init__(self, store: ObjectStore, prefix: str, indices: Collection[int]) -> None:
        self._stream = _each(store, prefix, sorted(indices))
        self._held: dict[int, Image | ComputeError] = {}

    def take(self, indices: Sequence[int], next_needed: int | None) -> tuple[list[Image], list[ComputeError]]:
        """The frames of `indices` and the failures among them; frames before `next_needed` are let go."""
        while indices and indices[-1] not in self._held:
            index, frame = next(self._stream)
            self._held[index] = frame
        found = [self._held[index] for index in indices]
        self._held = {
            index: frame
            for index, frame in self._held.items()
            if next_needed is not None and index >= next_needed
        }
        images = [frame for frame in found if not isinstance(frame, ComputeError)]
        return images, [frame for frame in found if isinstance(frame, ComputeError)]


def _each(store: ObjectStore, prefix: str, indices: list[int]) -> Iterator[tuple[int, Image | ComputeError]]:
    """Every index with its image, or with why it cannot be had."""
    while indices:
        try:
            for index, image in read_chunk_frames(store, prefix, indices):
                indices = indices[1:]
                yield index, image
        except ComputeError as problem:
            yield indices[0], problem
            indices = indices[1:]


def _without_fades(caption: FrameRange) -> tuple[int, int]:
    if caption.end_frame - caption.start_frame < _LONG_ENOUGH:
        return caption.start_frame, caption.end_frame
    return caption.start_frame + _FADE, caption.end_frame - _FADE


def _read(
    caption: FrameRange, frames: list[Image], failures: list[ComputeError], engine: OcrEngine
) -> CaptionReading:
    failed = CaptionOcrResult(ocr_text="", confidence=0.0, frame_count=len(frames))
    if not frames:
        reason = str(failures[0]) if failures else "the caption has no frames"
        return CaptionReading(caption, replace(failed, error=reason), None)
    frames = agreeing_frames(frames)
    median = median_frame(frames)
    thumbnail = _thumbnail(median)
    try:
        read = read_strip(median, engine)
        if not read.text and not read.illegible:
            read = _second_look(median, frames, engine)
    except OcrFailed as problem:
        return CaptionReading(caption, replace(failed, error=str(problem)), thumbnail)
    result = CaptionOcrResult(
        ocr_text=read.text,
        confidence=round(read.confidence, 4),
        frame_count=len(frames),
        error=ILLEGIBLE if read.illegible else None,
    )
    return CaptionReading(caption, result, thumbnail)


def _caption_lines(spans: Sequence[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """Without specks: what is much lower than the tallest line is no line of a caption."""
    tallest = max((bottom - top for _, top, _, bottom in spans), default=0)
    return [span for span in spans if span[3] - span[1] >= 0.4 * tallest]


def _cut(strip: Image, span: tuple[int, int, int, int]) -> Image:
    left, top, right, bottom = span
    across, down = round(_MARGIN_ACROSS * (bottom - top)), round(_MARGIN_DOWN * (bottom - top))
    return strip[max(0, top - down) : bottom + down, max(0, left - across) : right + across]


def _legible(line: Line, span: tuple[int, int, int, int]) -> bool:
    """Letters the model does not know come out as nothing or as a few unsure look-alikes."""
    left, top, right, bottom = span
    count = len("".join(line.text.split()))
    if count == 0:
        return False
    usual_confidence = line.confidence ** (1 / count)
    width_per_character = (right - left) / (bottom - top) / count
    return usual_confidence > 0.72 and width_per_character < 2


def _looks_like_text(span: tuple[int, int, int, int], strip_height: int) -> bool:
    """A texture taken for text fills the strip or is as high as wide."""
    left, top, right, bottom = span
    return bottom - top < 0.85 * strip_height and right - left > 2 * (bottom - top)


def _stretched(strip: Image) -> Image:
    """Full contrast: for text hardly brighter than what is behind it."""
    low, high = (float(value) for value in np.percentile(strip, (1, 99)))
    scaled = (strip.astype(np.float32) - low) * (255 / max(high - low, 16.0))
    return np.clip(scaled, 0, 255).astype(np.uint8)


def _thumbnail(strip: Image) -> Image:
    scale = min(1.0, _THUMBNAIL_WIDTH / strip.shape[1])
    size = (max(1, round(strip.shape[1] * scale)), max(1, round(strip.shape[0] * scale)))
    return cv2.resize(strip, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
