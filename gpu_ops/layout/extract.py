"""From sampled frames to a layout: read every frame, find the caption row, draw what was found."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gpu_ops.layout.analysis import Analysis, CaptionRowModel, analyse_boxes, further_look_times
from gpu_ops.layout.boxes import FrameBox, Label
from gpu_ops.layout.database import carry_labels
from gpu_ops.layout.evidence import SeenFrame
from gpu_ops.layout.preview import PreviewFrame, draw_preview, scaled_down
from gpu_ops.ocr.engine import Image, OcrBox, OcrEngine, OcrFailed
from gpu_ops.video.sample import SampledFrame

_MOST_KEPT = 24
_FURTHER_ROUNDS = 2


@dataclass(frozen=True)
class ExtractedLayout:
    """What the stored full frames hold. `boxes`: 10 Hz frame index -> boxes, for every frame that could be
    read.

    `failed_frames` are the indices of stored frames whose OCR failed twice.
    """

    boxes: Mapping[int, list[OcrBox]]
    failed_frames: list[int]
    analysis: Analysis
    preview_jpeg: bytes

    @property
    def box_count(self) -> int:
        return sum(len(boxes) for boxes in self.boxes.values())


def extract_layout(
    frames: Iterable[SampledFrame],
    engine: OcrEngine,
    *,
    stored: Container[int],
    labelled: Sequence[FrameBox] = (),
    look_further: Callable[[Sequence[float]], Iterable[SampledFrame]] = lambda times: (),
) -> ExtractedLayout:
    """Read `frames` in any order; those whose index is in `stored` are the video's full frames, others only
    probes.

    While few captions were seen, the frames that `look_further` gives for further times (seconds) are read
    as well, at most twice 60.

    `labelled` are boxes that annotators labelled in an earlier run; the boxes found now in their places carry
    the labels on. A frame whose OCR fails is tried once more, and counted if it fails again.
    """
    seen: list[SeenFrame] = []
    failed: list[int] = []
    kept = _Thinned()
    width = height = 1

    def look_at(frames: Iterable[SampledFrame]) -> Analysis:
        nonlocal width, height
        for frame, boxes in _read(frames, engine):
            height, width = frame.image.shape[:2]
            index = frame.index if frame.index in stored else None
            if isinstance(boxes, OcrFailed):
                failed.extend([] if index is None else [index])
                continue
            seen.append(SeenFrame(frame.time, boxes, index))
            kept.add(frame.image, boxes)
        return analyse_boxes(seen, width=width, height=height, labels=_labels(seen, labelled))

    analysis = look_at(frames)
    for _ in range(_FURTHER_ROUNDS):
        times = further_look_times([frame.time for frame in seen])
        if analysis.is_settled or not times:
            break
        analysis = look_at(look_further(times))
    model = CaptionRowModel.from_bytes(analysis.model.data) if analysis.model else None
    return ExtractedLayout(
        {frame.index: list(frame.boxes) for frame in seen if frame.index is not None},
        failed,
        analysis,
        draw_preview(kept.frames, analysis.layout.region, model),
    )


def _labels(seen: Sequence[SeenFrame], labelled: Sequence[FrameBox]) -> dict[tuple[int, int], Label]:
    found = [
        FrameBox(frame.index, number, box)
        for frame in seen
        if frame.index is not None
        for number, box in enumerate(frame.boxes)
    ]
    carried = carry_labels(found, labelled)
    return {(box.frame_index, box.box_index): box.label for box in carried if box.label is not None}


def _read(
    frames: Iterable[SampledFrame], engine: OcrEngine
) -> Iterator[tuple[SampledFrame, list[OcrBox] | OcrFailed]]:
    """Each frame with its boxes; one whose OCR failed was tried a second time."""
    drawn: deque[SampledFrame] = deque()

    def images() -> Iterator[Image]:
        for frame in frames:
            drawn.append(frame)
            yield frame.image

    for boxes in engine.read_frames(images()):
        frame = drawn.popleft()
        yield frame, next(engine.read_frames([frame.image])) if isinstance(boxes, OcrFailed) else boxes


class _Thinned:
    """Small copies of some of the frames, evenly spread however many come."""

    def __init__(self) -> None:
        self.frames: list[PreviewFrame] = []
        self._seen = 0
        self._every = 1

    def add(self, image: Image, boxes: list[OcrBox]) -> None:
        if self._seen % self._every == 0:
            self.frames.append(PreviewFrame(scaled_down(image), boxes))
        self._seen += 1
        if len(self.frames) > _MOST_KEPT:
            self.frames = self.frames[::2]
            self._every *= 2
