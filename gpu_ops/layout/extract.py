"""From sampled frames to a layout: read every frame, find the caption row, draw what was found."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from gpu_ops.layout.analysis import Analysis, CaptionRowModel, SeenFrame, analyse_boxes
from gpu_ops.layout.boxes import FrameBox, Label
from gpu_ops.layout.database import carry_labels
from gpu_ops.layout.preview import PreviewFrame, draw_preview, scaled_down
from gpu_ops.ocr.engine import Image, OcrBox, OcrEngine, OcrFailed
from gpu_ops.video.sample import SampledFrame

_MOST_KEPT = 24


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
) -> ExtractedLayout:
    """Read `frames` in any order; those whose index is in `stored` are the video's full frames, others only
    probes.

    `labelled` are boxes that annotators labelled in an earlier run; the boxes found now in their places carry
    the labels on. A frame whose OCR fails is tried once more, and counted if it fails again.
    """
    seen: list[SeenFrame] = []
    failed: list[int] = []
    kept = _Thinned()
    width = height = 1
    for frame in frames:
        height, width = frame.image.shape[:2]
        index = frame.index if frame.index in stored else None
        boxes = _read_twice(engine, frame.image)
        if boxes is None:
            failed += [] if index is None else [index]
            continue
        seen.append(SeenFrame(frame.time, boxes, index))
        kept.add(frame.image, boxes)
    labels = _labels(seen, labelled)
    analysis = analyse_boxes(seen, width=width, height=height, labels=labels)
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


def _read_twice(engine: OcrEngine, image: Image) -> list[OcrBox] | None:
    for _ in range(2):
        try:
            return engine.read(image)
        except OcrFailed:
            continue
    return None


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
