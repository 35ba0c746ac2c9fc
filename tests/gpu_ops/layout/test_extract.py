"""From pictures to a layout, with a scripted engine: failures counted, probes used and not stored, the
preview.
"""

import io

import numpy as np
from PIL import Image as Picture

from gpu_ops.layout.extract import extract_layout
from gpu_ops.ocr.engine import Image, Line, OcrBox, OcrFailed
from gpu_ops.video.sample import SampledFrame


class Scripted:
    """Answers each frame by the number painted into its first pixel; `failures` says how often a frame
    fails.
    """

    name = "scripted"

    def __init__(self, boxes: dict[int, list[OcrBox]], failures: dict[int, int] | None = None) -> None:
        self.boxes = boxes
        self.failures = failures or {}

    def read(self, image: Image) -> list[OcrBox]:
        number = int(image[0, 0, 0])
        if self.failures.get(number, 0) > 0:
            self.failures[number] -= 1
            raise OcrFailed("no")
        return self.boxes.get(number, [])

    def find_lines(self, strip: Image) -> list[tuple[int, int, int, int]]:
        return []

    def read_lines(self, lines: list[Image]) -> list[Line]:
        return []


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
