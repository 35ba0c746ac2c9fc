"""Google Vision as the engine, through the real client and a server that really looks at the images."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

from gpu_ops.contract import (
    CaptionOcrRequest,
    CropInferRequest,
    ExtractRequest,
    FrameRange,
    VideoKeys,
    silent,
)
from gpu_ops.footage.sample import CHINESE
from gpu_ops.functions import (
    Workbench,
    crop_and_infer_caption_frame_extents,
    extract_frames_and_ocr,
    generate_caption_ocr,
)
from gpu_ops.ocr import vision
from gpu_ops.ocr.engine import Image, OcrFailed, Strip, StripText
from gpu_ops.ocr.montage import Format, Page
from gpu_ops.ocr.vision import VisionEngine
from gpu_ops.store import ObjectStore
from tests.e2e.films import SCRIPT, render_film
from tests.servers.vision import (
    Reader,
    SeenLine,
    VisionServer,
    local_reader,
    marked,
    marker_reader,
    paragraph,
    reply,
    serving,
)

KEYS = VideoKeys("00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002")
FONTS = (None, CHINESE.path)  # Pillow's own, and one with Chinese


@pytest.fixture(scope="module")
def really_reading() -> Reader:
    return local_reader()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[VisionServer]:
    with serving(lambda _: []) as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


def engine() -> VisionEngine:
    return VisionEngine.from_environment(["en", "zh"])


@lru_cache
def busy(width: int, height: int, seed: int, cell: int = 24) -> Image:
    rng = np.random.default_rng(seed)
    rough = rng.integers(0, 256, (height // cell, width // cell, 3), dtype=np.uint8) // 2
    return cv2.resize(rough, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8)


def written(image: Image, text: str, size: int, font: Path | None = None, y: float = 0.5) -> Image:
    """Outlined white text, centred."""
    height, width = image.shape[:2]
    picture = Picture.fromarray(image)
    ImageDraw.Draw(picture).multiline_text(
        (width / 2, y * height),
        text,
        font=ImageFont.truetype(font, size) if font else ImageFont.load_default(size),
        anchor="mm",
        align="center",
        stroke_width=max(1, size // 14),
        stroke_fill="black",
        fill="white",
    )
    return np.asarray(picture)


def of(picture: Image) -> Strip:
    return Strip(picture, picture)


def test_eight_hundred_captions_of_an_hour_in_1080p_cost_at_most_five_images(server: VisionServer):
    texts = [
        f"This is number {n}, isn't it?" if n % 3 else f"这是 {n}\nand a second line" for n in range(800)
    ]
    server.reader = marker_reader(texts)
    strips = (
        of(marked(busy(1700, 120, n % 20), n, left=60 + 5 * (n % 40), top=35, size=50)) for n in range(800)
    )
    reading = engine()
    answers = list(reading.read_strips(strips))
    assert [answer.text for answer in answers if isinstance(answer, StripText)] == texts
    assert reading.billed_images == server.image_count <= 5


def test_captions_in_several_fonts_and_sizes_survive_the_page(server: VisionServer, really_reading: Reader):
    server.reader = really_reading
    sentences = [
        "Where have you been all night?",
        "She left at 7:45, didn't she?",
        "Mr. Johnson's car\nis a 1967 Mustang.",
        "我们没有时间了。",
        "别忘记你的钥匙。\nDon't forget your keys.",
        "You owe me $250, remember?",
    ]
    shown = [
        (sentence, size, font)
        for sentence in sentences
        for size in (30, 40, 52)
        for font in FONTS
        if font or sentence.isascii()
    ]
    strips = [
        of(written(busy(1700, 160, n % 5, cell=60), sentence, size, font))
        for n, (sentence, size, font) in enumerate(shown)
    ]
    reading = engine()
    answers = [answer.text for answer in reading.read_strips(strips) if isinstance(answer, StripText)]
    assert len(answers) == len(shown)
    wrong = [(a, s) for a, s in zip(answers, shown, strict=True) if squeezed(a) != squeezed(s[0])]
    assert len(wrong) <= 1, wrong
    assert reading.billed_images <= 2


def squeezed(text: str) -> str:
    """Without spaces, since the local OCR that plays Vision here may lose one on its own."""
    return text.replace(" ", "")


def test_a_median_without_text_is_looked_at_again_in_the_frame(server: VisionServer, really_reading: Reader):
    server.reader = really_reading
    empty = busy(1200, 100, 1, cell=50)
    strips = [
        of(written(empty, "always there", 44)),
        Strip(empty, written(empty, "moving text", 44)),
        of(empty),
    ]
    reading = engine()
    answers = list(reading.read_strips(strips))
    assert [answer.text for answer in answers if isinstance(answer, StripText)] == [
        "always there",
        "moving text",
        "",
    ]
    assert reading.billed_images == 2


def page_of(strips: list[Strip], per_page: int, room: float = 1.0) -> Page:
    form = Format.of(strips[0].median, per_page, room)
    return Page(form, [form.fitted(strip.median) for strip in strips])


def line(page: Page, number: int, text: str, confidence: float = 0.98) -> SeenLine:
    x, y = page.corner(number)
    return SeenLine(text, x + 100, y + 30, x + 100 + 20 * len(text), y + 70, confidence)


def mingled(page: Page) -> dict:
    """One word over the first two strips."""
    answer = paragraph([line(page, 0, "mingled")])
    answer["words"][0]["symbols"] += paragraph([line(page, 1, "words")])["words"][0]["symbols"]
    return reply([answer, paragraph([line(page, 2, "fine")])])


def test_captions_that_a_page_mingles_are_read_again_apart(server: VisionServer, really_reading: Reader):
    server.reader = really_reading
    texts = ["one caption", "another", "fine"]
    strips = [of(written(busy(1200, 100, 1, cell=50), text, 44)) for text in texts]
    server.replies.append(mingled(page_of(strips, vision.CAPTIONS_PER_PAGE)))
    answers = list(engine().read_strips(strips))
    assert [answer.text for answer in answers if isinstance(answer, StripText)] == texts
    assert [len(images) for images in server.requests] == [1, 1]
    second = cv2.imdecode(np.frombuffer(server.requests[1][0], np.uint8), cv2.IMREAD_COLOR)
    assert second.shape[0] < 2.5 * (100 + 64)  # the two in doubt, and not the third


def test_captions_that_stay_mingled_are_for_a_person_to_look_at(server: VisionServer):
    strips = [of(busy(1200, 100, 1)) for _ in range(3)]
    server.replies.append(mingled(page_of(strips, vision.CAPTIONS_PER_PAGE)))
    server.replies.append(mingled(page_of(strips[:2], 100, 2.0)))
    first, second, third = engine().read_strips(strips)
    assert (first, second) == (StripText("mingled", 0.4), StripText("words", 0.4))
    assert third == StripText("fine", pytest.approx(0.98))


def test_an_uncertain_reading_is_replaced_by_a_second_one(server: VisionServer):
    strips = [of(busy(1200, 100, 1))]
    server.replies.append(reply([paragraph([line(page_of(strips, 200), 0, "l0ok", confidence=0.3)])]))
    server.replies.append(reply([paragraph([line(page_of(strips, 100, 2.0), 0, "look", confidence=0.45)])]))
    assert list(engine().read_strips(strips)) == [StripText("look", pytest.approx(0.45))]


def test_a_page_that_cannot_be_read_is_an_error_and_never_an_empty_caption(server: VisionServer):
    broken = {"error": {"code": 3, "message": "Bad image data."}}
    server.replies.extend([broken, broken])
    answers = list(engine().read_strips([of(busy(1200, 100, 1))] * 3))
    assert [str(answer) for answer in answers if isinstance(answer, OcrFailed)] == [
        "Google Vision refused an image: Bad image data."
    ] * 3


def test_a_page_too_large_for_a_request_is_sent_in_parts(
    server: VisionServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(vision, "LARGEST_IMAGE_BYTES", 60_000)
    texts = [f"caption {n}" for n in range(12)]
    server.reader = marker_reader(texts)
    strips = [of(marked(busy(1700, 120, n, cell=8), n, left=60, top=35, size=50)) for n in range(12)]
    reading = engine()
    answers = list(reading.read_strips(strips))
    assert [answer.text for answer in answers if isinstance(answer, StripText)] == texts
    assert reading.billed_images > 2
    assert max(len(image) for images in server.requests for image in images) <= 60_000


def test_frames_share_pages_and_get_their_own_boxes(server: VisionServer):
    texts = [f"frame {n}" for n in range(17)]
    server.reader = marker_reader(texts)
    frames = [marked(busy(1920, 1080, 1), n, left=400, top=900, size=60) for n in range(17)]
    reading = engine()
    found = list(reading.read_frames(iter(frames)))
    assert [[box.text for box in boxes] for boxes in found if isinstance(boxes, list)] == [[t] for t in texts]
    for boxes in found:
        assert isinstance(boxes, list)
        assert boxes[0].left == pytest.approx(490 / 1920, abs=0.003)
        assert boxes[0].top == pytest.approx(900 / 1080, abs=0.003)
        assert boxes[0].height == pytest.approx(0.85 * 60 / 1080, abs=0.005)
    assert reading.billed_images == 2


def test_texts_far_apart_on_one_line_of_a_frame_are_separate_boxes(server: VisionServer):
    frame = busy(1280, 720, 1)
    left, right = SeenLine("a caption", 400, 640, 700, 680), SeenLine("LOGO", 1100, 645, 1200, 685)
    page = Page(Format.of(frame, vision.FRAMES_PER_PAGE), [frame])
    x, y = page.corner(0)
    shifted = [
        SeenLine(seen.text, seen.left + x, seen.top + y, seen.right + x, seen.bottom + y)
        for seen in (left, right)
    ]
    server.replies.append(reply([paragraph(shifted)]))
    (boxes,) = engine().read_frames([frame])
    assert isinstance(boxes, list)
    assert [box.text for box in boxes] == ["a caption", "LOGO"]


def test_a_film_is_read_with_google_vision_alone(
    server: VisionServer, really_reading: Reader, tmp_path: Path
):
    server.reader = really_reading
    store = ObjectStore.open((tmp_path / "store").as_uri())
    render_film(tmp_path / "film.mp4")
    store.upload(tmp_path / "film.mp4", KEYS.video)
    bench = Workbench(store, threads=1, ocr_engine="google_vision", progress=silent)
    owner = {"video_key": KEYS.video, "tenant_id": KEYS.tenant_id, "video_id": KEYS.video_id}
    layout = extract_frames_and_ocr(bench, ExtractRequest(**owner))
    assert layout.region is not None
    assert layout.ocr_engine == "google_vision document text"
    assert 1 <= layout.billed_images == server.image_count <= 3

    crop = CropInferRequest(**owner, crop_region=layout.region, version=1, run_id="test")
    crop_and_infer_caption_frame_extents(bench, crop)
    inside = tuple(
        FrameRange(start_frame=round(10 * start) + 1, end_frame=round(10 * end)) for start, end, _ in SCRIPT
    )
    batch = generate_caption_ocr(
        bench,
        CaptionOcrRequest(chunks_prefix=KEYS.cropped_frames(1), captions=inside, languages=["en"]),
    )
    assert [caption.ocr_text for caption in batch.captions] == [text for _, _, text in SCRIPT]
    assert batch.billed_images == 1
    assert server.hints[-1] == ["en"]
