"""From pictures to a layout, with a scripted engine: failures counted, probes used and not stored, the
preview.
"""

import io
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from PIL import Image as Picture

from gpu_ops.layout.extract import extract_layout
from gpu_ops.ocr.engine import Image, OcrBox, OcrFailed, Strip, StripText
from gpu_ops.video.sample import SampledFrame


class Scripted:
    """Answers each frame by the number painted into its first pixel; `failures` says how often a frame
    fails.
    """

    name = "scripted"
    billed_images = 0

    def __init__(self, boxes: dict[int, list[OcrBox]], failures: dict[int, int] | None = None) -> None:
        self.boxes = boxes
        self.failures = failures or {}

    def read_frames(self, frames: Iterable[Image]) -> Iterator[list[OcrBox] | OcrFailed]:
        for image in frames:
            number = int(image[0, 0, 0])
            if self.failures.get(number, 0) > 0:
                self.failures[number] -= 1
                yield OcrFailed("no")
            else:
                yield self.boxes.get(number, [])

    def read_strips(self, strips: Iterable[Strip]) -> Iterator[StripText | OcrFailed]:
        raise NotImplementedError


def frames(count: int, step: float = 10.0) -> list[SampledFrame]:
    images = [np.full((180, 320, 3), number, np.uint8) for number in range(count)]
    return [SampledFrame(round(n * step * 10), n * step, image) for n, image in enumerate(images)]


def caption(number: int) -> OcrBox:
    wide = 0.2 + 0.05 * (number % 5)
    return OcrBox(
        f"caption number {['one', 'two', 'three', 'four', 'five', 'six', 'seven'][number % 7]} {number}",
        0.9,
        0.5 - wide,
        0.85,
        0.5 + wide,
        0.92,
    )


def test_probe_frames_help_to_decide_but_are_not_kept():
    boxes = {number: [caption(number)] for number in range(12)}
    found = extract_layout(frames(12, 1.0), Scripted(boxes), stored={0, 100})
    assert found.analysis.layout.region is not None
    assert set(found.boxes) == {0, 100}
    assert [(box.frame_index, box.predicted_label) for box in found.analysis.boxes] == [
        (0, "in"),
        (100, "in"),
    ]


def test_a_film_with_few_captions_is_looked_at_further():
    caption_from = {12: 0, 52: 1, 57: 2, 92: 3}  # second of its first frame -> number

    def look(times: Sequence[float]) -> list[SampledFrame]:
        shown = [max((s for s in caption_from if s <= time < s + 2), default=None) for time in times]
        return [
            SampledFrame(
                round(time * 10), time, np.full((180, 320, 3), caption_from.get(start or -1, 99), np.uint8)
            )
            for time, start in zip(times, shown, strict=True)
        ]

    engine = Scripted({number: [caption(number)] for number in range(4)})
    stored = [10.0 * number for number in range(10)]
    before = extract_layout(look(stored), engine, stored={round(10 * time) for time in stored})
    found = extract_layout(
        look(stored), engine, stored={round(10 * time) for time in stored}, look_further=look
    )
    assert before.analysis.layout.region is None
    assert found.analysis.layout.region is not None
    assert set(found.boxes) == set(range(0, 1000, 100))


def test_a_frame_that_fails_is_tried_again_and_then_counted():
    boxes = {number: [caption(number)] for number in range(12)}
    found = extract_layout(
        frames(12), Scripted(boxes, failures={3: 1, 5: 2}), stored={100 * number for number in range(12)}
    )
    assert found.failed_frames == [500]
    assert 300 in found.boxes
    assert 500 not in found.boxes


def test_the_preview_is_one_small_picture():
    boxes = {number: [caption(number), OcrBox("LOGO", 0.9, 0.02, 0.02, 0.1, 0.08)] for number in range(60)}
    found = extract_layout(frames(60), Scripted(boxes), stored=range(0, 6000, 100))
    assert len(found.preview_jpeg) <= 80_000
    picture = Picture.open(io.BytesIO(found.preview_jpeg))
    assert (picture.width, picture.height) == (960, 360)


def test_a_video_without_text_has_a_preview_and_no_region():
    found = extract_layout(frames(3), Scripted({}), stored={0, 100, 200})
    assert found.analysis.layout.region is None
    assert found.box_count == 0
    assert found.preview_jpeg
