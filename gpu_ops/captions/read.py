"""The text of every caption: cropped frames -> one median frame per caption -> lines -> text."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from gpu_ops.captions.behind import behind, frames_beside
from gpu_ops.captions.median import agreeing_frames, median_frame
from gpu_ops.contract import CaptionOcrResult, ComputeError, FrameRange, Progress, silent
from gpu_ops.ocr.engine import Image, OcrEngine, OcrFailed, Strip, StripText
from gpu_ops.ocr.languages import ILLEGIBLE
from gpu_ops.stages import staged
from gpu_ops.store import ObjectStore
from gpu_ops.video.ahead import ahead
from gpu_ops.video.cover import covered
from gpu_ops.video.encode import read_chunk_frames
from gpu_ops.video.grid import cheap_indices
from gpu_ops.video.manifest import Rectangle

# The finest level holds three frames of four: captions that have enough on the others do without it.
_FRAMES_PER_CAPTION, _ENOUGH_FRAMES = 9, 5
_STRIPS_AHEAD = 4
# Captions fade in and out; a long one can do without its first and last frames.
_FADE = 3
_LONG_ENOUGH = 4 * _FADE
_THUMBNAIL_WIDTH = 480


@dataclass(frozen=True)
class CaptionReading:
    """What one caption says, with its median frame, at most 480 pixels wide, for a contact sheet."""

    range: FrameRange
    result: CaptionOcrResult
    strip: Image | None


def read_captions(
    store: ObjectStore,
    chunks_prefix: str,
    ranges: Sequence[FrameRange],
    engine: OcrEngine,
    progress: Progress = silent,
    watermarks: Sequence[Rectangle] = (),
    gaps: Sequence[FrameRange] = (),
) -> list[CaptionReading]:
    """Read each range (end EXCLUSIVE) once, in the given order. `watermarks` are covered first; `gaps` are
    stretches without captions, of which those beside a range show what stands behind it.

    A caption whose frames or text cannot be read has `error` set: a failure is never an empty caption. Raises
    ComputeError where the engine can read nothing at all.
    """
    shown = [
        cheap_indices(*_without_fades(caption), _FRAMES_PER_CAPTION, _ENOUGH_FRAMES) for caption in ranges
    ]
    beside = [frames_beside(caption, gaps) for caption in ranges]
    wanted = [sorted([*indices, *others]) for indices, others in zip(shown, beside, strict=True)]
    order = sorted(range(len(ranges)), key=lambda number: wanted[number][-1:])
    frames = _Frames(store, chunks_prefix, {index for indices in wanted for index in indices})
    readings: dict[int, CaptionReading] = {}
    drawn: deque[_Drawn] = deque()

    def strips() -> Generator[Strip]:
        for done, number in enumerate(order, 1):
            later = [wanted[other][0] for other in order[done:] if wanted[other]]
            found = frames.take(wanted[number], min(later, default=None))
            images, failures = _sorted_out(found, shown[number])
            if images:
                images = agreeing_frames([covered(image, watermarks) for image in images])
                median = median_frame(images)
                others = [covered(image, watermarks) for image in _sorted_out(found, beside[number])[0]]
                strip = Strip(median, images[len(images) // 2], behind(median, others))
                drawn.append(_Drawn(number, len(images), _thumbnail(median)))
                yield strip
            else:
                reason = str(failures[0]) if failures else "the caption has no frames"
                readings[number] = CaptionReading(ranges[number], _failed(0, reason), None)
            progress("captions", done, len(ranges))

    for read in engine.read_strips(ahead(staged("median frames", strips()), _STRIPS_AHEAD)):
        caption = drawn.popleft()
        result = _result(read, caption.frame_count)
        readings[caption.number] = CaptionReading(ranges[caption.number], result, caption.thumbnail)
    return [readings[number] for number in range(len(ranges))]


@dataclass(frozen=True)
class _Drawn:
    """A strip that was handed to the engine."""

    number: int
    frame_count: int
    thumbnail: Image


class _Frames:
    """Cropped frames handed out caption by caption, in ascending order, each decoded once."""

    def __init__(self, store: ObjectStore, prefix: str, indices: Collection[int]) -> None:
        self._stream = _each(store, prefix, sorted(indices))
        self._held: dict[int, Image | ComputeError] = {}

    def take(self, indices: Sequence[int], next_needed: int | None) -> dict[int, Image | ComputeError]:
        """The frames of `indices`, ascending, by index; frames before `next_needed` are let go."""
        while indices and indices[-1] not in self._held:
            index, frame = next(self._stream)
            self._held[index] = frame
        found = {index: self._held[index] for index in indices}
        self._held = {
            index: frame
            for index, frame in self._held.items()
            if next_needed is not None and index >= next_needed
        }
        return found


def _sorted_out(
    found: Mapping[int, Image | ComputeError], indices: Sequence[int]
) -> tuple[list[Image], list[ComputeError]]:
    """The frames of `indices`, and the failures among them."""
    frames = [found[index] for index in indices]
    images = [frame for frame in frames if not isinstance(frame, ComputeError)]
    return images, [frame for frame in frames if isinstance(frame, ComputeError)]


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


def _result(read: StripText | OcrFailed, frame_count: int) -> CaptionOcrResult:
    if isinstance(read, OcrFailed):
        return _failed(frame_count, str(read))
    if read.illegible:
        return _failed(frame_count, ILLEGIBLE)
    return CaptionOcrResult(ocr_text=read.text, confidence=round(read.confidence, 4), frame_count=frame_count)


def _failed(frame_count: int, error: str) -> CaptionOcrResult:
    return CaptionOcrResult(ocr_text="", confidence=0.0, frame_count=frame_count, error=error)


def _thumbnail(strip: Image) -> Image:
    scale = min(1.0, _THUMBNAIL_WIDTH / strip.shape[1])
    size = (max(1, round(strip.shape[1] * scale)), max(1, round(strip.shape[0] * scale)))
    return cv2.resize(strip, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
