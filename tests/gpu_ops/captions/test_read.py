"""Captions read from real chunks with the real engine: text, failures that say so, frames read once."""

import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

from gpu_ops.captions.read import read_captions
from gpu_ops.captions.sheet import contact_sheet
from gpu_ops.contract import FrameRange, VideoKeys
from gpu_ops.ocr.engine import Image, OcrBox, OcrFailed, Strip, StripText
from gpu_ops.ocr.languages import ILLEGIBLE, reading_warnings
from gpu_ops.ocr.rapid import RapidEngine
from gpu_ops.ocr.strips import Line, Span, completes, read_picture
from gpu_ops.regions import CropPixels
from gpu_ops.store import ObjectStore
from gpu_ops.video.crop import CroppedFrame
from gpu_ops.video.encode import ChunkWriter

KEYS = VideoKeys("00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002")
PREFIX = KEYS.cropped_frames(1)
WIDTH, HEIGHT = 960, 96


@pytest.fixture(scope="module")
def engine() -> RapidEngine:
    return RapidEngine()


def background(seed: int, width: int = WIDTH, height: int = HEIGHT) -> Image:
    rough = np.random.default_rng(seed).integers(0, 200, (4, 16, 3), dtype=np.uint8)
    return cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.uint8)


def strip(text: str, seed: int = 0, size: int = 34, width: int = WIDTH, height: int = HEIGHT) -> Image:
    """Outlined white text, centred, on a blurred coloured background."""
    picture = Picture.fromarray(background(seed, width, height))
    pen = ImageDraw.Draw(picture)
    pen.multiline_text(
        (width / 2, height / 2),
        text,
        font=ImageFont.load_default(size),
        anchor="mm",
        align="center",
        stroke_width=2,
        stroke_fill="black",
        fill="white",
    )
    return np.asarray(picture)


def stored(folder: Path, show: Callable[[int], Image], count: int) -> ObjectStore:
    """A store with `count` cropped frames, frame i showing show(i)."""
    store = ObjectStore.open(folder.as_uri())
    writer = ChunkWriter(store, KEYS, 1, CropPixels(left=0, top=0, right=WIDTH, bottom=HEIGHT))
    for index in range(count):
        planes = cv2.cvtColor(show(index), cv2.COLOR_BGR2YUV_I420)
        y = planes[:HEIGHT]
        u, v = planes[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2)
        writer.add(
            CroppedFrame(
                index, index / 10, (index + 1) / 10, y, np.ascontiguousarray(u), np.ascontiguousarray(v), 5
            )
        )
    writer.finish()
    return store


def test_captions_of_a_video_are_read_in_the_order_asked_for(tmp_path: Path, engine: RapidEngine):
    texts = {
        range(20): "Where have you been all night?",
        range(20, 40): "",
        range(40, 70): "One line,\nthen another.",
    }

    def show(index: int) -> Image:
        text = next(text for frames, text in texts.items() if index in frames)
        return strip(text, seed=index, size=28)  # the background changes all the time

    store = stored(tmp_path, show, 70)
    asked = [
        FrameRange(start_frame=40, end_frame=70),
        FrameRange(start_frame=0, end_frame=20),
        FrameRange(start_frame=22, end_frame=38),
    ]
    progress: list[tuple[float, float]] = []
    readings = read_captions(
        store, PREFIX, asked, engine, lambda _, done, total: progress.append((done, total))
    )
    assert [reading.result.ocr_text for reading in readings] == [
        "One line,\nthen another.",
        "Where have you been all night?",
        "",
    ]
    assert all(reading.result.error is None for reading in readings)
    assert readings[1].result.confidence > 0.8
    assert readings[2].result.confidence == 0.0
    assert progress[-1] == (3, 3)

    sheet = contact_sheet(readings)
    assert len(sheet) <= 100_000
    assert Picture.open(io.BytesIO(sheet)).width > 800


def test_a_damaged_chunk_fails_its_captions_and_no_others(tmp_path: Path, engine: RapidEngine):
    store = stored(tmp_path, lambda index: strip("Still here", seed=index), 150)
    for modulo, start in ((1, 128), (4, 128)):
        store.put(KEYS.chunk(1, modulo, start), b"not a video")
    asked = [FrameRange(start_frame=129, end_frame=132), FrameRange(start_frame=10, end_frame=30)]
    damaged, sound = read_captions(store, PREFIX, asked, engine)
    assert (damaged.result.ocr_text, damaged.result.frame_count) == ("", 0)
    assert damaged.result.error is not None
    assert "damaged" in damaged.result.error
    assert sound.result.ocr_text == "Still here"
    assert "failed for 1 of 2" in reading_warnings([damaged.result.error, sound.result.error])[0]


def signs(caption: str) -> Image:
    """A scene with writing behind the caption and on both sides of it, all at rest."""
    picture = Picture.fromarray(background(3) // 2)
    pen = ImageDraw.Draw(picture)

    def write(text: str, x: int, y: int, size: int, colour: tuple[int, int, int]) -> None:
        font = ImageFont.load_default(size)
        pen.text((x, y), text, colour, font, "mm", stroke_width=2, stroke_fill="black")

    write("OPEN 24", 70, 50, 30, (230, 220, 120))
    write("PARKING", 520, 54, 44, (230, 220, 120))
    write("EXIT", 900, 46, 44, (230, 120, 120))
    if caption:
        write(caption, 480, 48, 34, (255, 255, 255))
    return np.asarray(picture)


def test_writing_in_a_scene_at_rest_is_no_part_of_a_caption(tmp_path: Path, engine: RapidEngine):
    text = "Wait for me at the gate, please."
    store = stored(tmp_path, lambda index: signs(text if 20 <= index < 44 else ""), 60)
    caption, before = FrameRange(start_frame=20, end_frame=44), FrameRange(start_frame=0, end_frame=20)
    (alone,) = read_captions(store, PREFIX, [caption], engine)
    (known,) = read_captions(store, PREFIX, [caption], engine, gaps=[before])
    assert alone.result.ocr_text != text
    assert known.result.ocr_text == text
    assert known.result.confidence > alone.result.confidence


@pytest.mark.parametrize(
    ("longer", "shorter", "expected"),
    [
        ("I thought they were", "I thought th y were", True),
        ("晚安，祝你好运。", "晚安祝你好运。", True),
        ("another", "other", True),
        ("another one", "other", False),  # too many
        ("than", "then", False),
        ("same", "same", False),
    ],
)
def test_a_reading_completes_another_by_a_letter_or_two(longer: str, shorter: str, expected: bool):
    assert completes(longer, shorter) is expected


def test_a_scene_that_changes_with_the_caption_takes_nothing_from_it(tmp_path: Path, engine: RapidEngine):
    store = stored(tmp_path, lambda index: strip("Still here" if index >= 20 else "", seed=index >= 20), 40)
    (reading,) = read_captions(
        store,
        PREFIX,
        [FrameRange(start_frame=20, end_frame=40)],
        engine,
        gaps=[FrameRange(start_frame=0, end_frame=20)],
    )
    assert reading.result.ocr_text == "Still here"


class Scripted:
    """An engine that gives one answer to every caption."""

    name = "scripted"
    billed_images = 0

    def __init__(self, answer: StripText | OcrFailed) -> None:
        self.answer = answer

    def read_frames(self, frames: Iterable[Image]) -> Iterator[list[OcrBox] | OcrFailed]:
        raise NotImplementedError

    def read_strips(self, strips: Iterable[Strip]) -> Iterator[StripText | OcrFailed]:
        for _ in strips:
            yield self.answer


def test_an_engine_that_fails_is_an_error_and_never_an_empty_caption(tmp_path: Path):
    store = stored(tmp_path, lambda index: strip("text"), 12)
    engine = Scripted(OcrFailed("the model is gone"))
    (reading,) = read_captions(store, PREFIX, [FrameRange(start_frame=0, end_frame=12)], engine)
    assert reading.result.error == "the model is gone"


def test_an_engine_that_reads_many_captions_at_once_gets_them_all(tmp_path: Path):
    class Batching(Scripted):
        def read_strips(self, strips: Iterable[Strip]) -> Iterator[StripText | OcrFailed]:
            for number, _ in enumerate(list(strips)):
                yield OcrFailed("no") if number == 1 else StripText(f"caption {number}", 0.9)

    store = stored(tmp_path, lambda index: strip("text"), 12)
    asked = [FrameRange(start_frame=start, end_frame=start + 4) for start in (8, 4, 0)]
    readings = read_captions(store, PREFIX, asked, Batching(StripText("", 0.0)))
    assert [reading.result.ocr_text for reading in readings] == ["caption 2", "", "caption 0"]
    assert [reading.result.error for reading in readings] == [None, "no", None]


class OneLine:
    """Finds one long line and reads into it what it is told."""

    def __init__(self, line: Line) -> None:
        self.line = line

    def find_lines(self, strip: Image) -> list[Span]:
        return [(100, 30, 800, 65)]

    def read_lines(self, lines: list[Image]) -> list[Line]:
        return [self.line for _ in lines]


@pytest.mark.parametrize(
    "line", [Line("", 0.0), Line(",    .", 0.56), Line("0212", 0.9), Line("aulnisinaaunnaiwaa", 0.0001)]
)
def test_letters_the_engine_does_not_know_are_reported_and_not_returned(line: Line):
    read = read_picture(background(1), OneLine(line))
    assert (read.text, read.illegible) == ("", True)


class OneSpan(OneLine):
    """Finds something as high as it is wide."""

    def find_lines(self, strip: Image) -> list[Span]:
        return [(100, 20, 150, 65)]


@pytest.mark.parametrize(
    ("line", "text"),
    [(Line("二", 0.6832), ""), (Line("||", 0.85), ""), (Line("二", 0.97), "二"), (Line("好", 0.8), "好")],
)
def test_stripes_of_a_texture_are_no_text(line: Line, text: str):
    read = read_picture(background(1), OneSpan(line))
    assert (read.text, read.illegible) == (text, False)


def test_illegible_captions_are_explained_to_the_owner(tmp_path: Path):
    store = stored(tmp_path, lambda index: strip("text"), 12)
    readings = read_captions(
        store, PREFIX, [FrameRange(start_frame=0, end_frame=12)], Scripted(StripText("", 0.0, illegible=True))
    )
    assert readings[0].result.error == ILLEGIBLE
    assert "Cyrillic" in reading_warnings([readings[0].result.error])[0]
    assert "CAPTIONACC_OCR_ENGINE=google_vision" in reading_warnings([readings[0].result.error])[0]


def test_a_contact_sheet_of_many_captions_stays_small_and_of_none_is_empty(tmp_path: Path):
    store = stored(tmp_path, lambda index: strip("noise", seed=index), 64)
    ranges = [FrameRange(start_frame=start, end_frame=start + 2) for start in range(0, 64, 2)]
    readings = read_captions(store, PREFIX, ranges, Scripted(StripText("Some text that is read", 0.9)))
    assert 0 < len(contact_sheet(readings)) <= 100_000
    assert contact_sheet([]) == b""
