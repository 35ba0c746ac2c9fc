"""The local engine on drawn pictures: accuracy, spaces, lines, and what it refuses."""

import subprocess
import sys
from collections.abc import Sequence
from itertools import product

import cv2
import numpy as np
import pytest
from onnxruntime import InferenceSession
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

from gpu_ops.contract import BadRequest
from gpu_ops.ocr.engine import Image, OcrFailed, Strip, StripText
from gpu_ops.ocr.languages import SUPPORTED_LANGUAGES, check_languages, google_hints
from gpu_ops.ocr.rapid import RapidEngine
from gpu_ops.ocr.recognise import LineReader, Reading
from gpu_ops.ocr.strips import Span, read_picture

SENTENCES = [
    "I don't know what you're talking about.",
    "Where have you been all night?",
    "She left at 7:45, didn't she?",
    "If it is to be, it is up to me.",
    "Mr. Johnson's car is a 1967 Mustang.",
    "You owe me $250, remember?",
    "What is it that you want from me?",
    "A man, a plan, a canal: Panama!",
    "As far as I can tell,\nhe is fine in there.",
    "Don't! Stop! Please,\nlisten to me!",
]


@pytest.fixture(scope="module")
def engine() -> RapidEngine:
    return RapidEngine()


def busy(width: int, height: int, seed: int) -> Image:
    rng = np.random.default_rng(seed)
    rough = rng.integers(0, 256, (max(2, height // 24), max(2, width // 24), 3), dtype=np.uint8)
    return cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.uint8)


def written(image: Image, text: str, at: tuple[float, float], size: int) -> Image:
    """Outlined white text centred on `at` (pixels), compressed as video would."""
    picture = Picture.fromarray(image)
    ImageDraw.Draw(picture).multiline_text(
        at,
        text,
        font=ImageFont.load_default(size),
        anchor="mm",
        align="center",
        stroke_width=max(1, size // 14),
        stroke_fill="black",
        fill="white",
    )
    coded = cv2.imencode(".jpg", np.asarray(picture), [cv2.IMWRITE_JPEG_QUALITY, 50])[1]
    return cv2.imdecode(coded, cv2.IMREAD_COLOR).astype(np.uint8)


def distance(a: str, b: str) -> int:
    """Edits between two strings."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


def test_sentences_on_busy_backgrounds_are_read_with_spaces_and_punctuation(engine: RapidEngine):
    errors = 0
    for seed, sentence in enumerate(SENTENCES):
        image = written(busy(1200, 130, seed), sentence, (600, 65), 30 + 2 * seed)
        errors += distance(read_picture(image, engine).text, sentence)
    assert errors <= 0.02 * sum(map(len, SENTENCES))


def test_a_line_much_wider_than_high_is_not_squeezed(engine: RapidEngine):
    sentence = " ".join(SENTENCES[:3])
    assert read_picture(written(busy(2400, 70, 3), sentence, (1200, 35), 34), engine).text == sentence


def test_long_lines_are_read_few_at_a_time_and_as_each_alone(monkeypatch: pytest.MonkeyPatch):
    texts = [*SENTENCES[:8], " ".join(SENTENCES[:6]), " ".join(SENTENCES[2:8])]
    lines = [written(busy(len(text) * 20 + 40, 48, 4), text, (len(text) * 10 + 20, 24), 36) for text in texts]
    reader = LineReader()
    alone = [reader.read([line])[0] for line in lines]
    shapes: list[tuple[int, ...]] = []
    run = InferenceSession.run

    def noted(session: InferenceSession, names: None, inputs: dict[str, np.ndarray]) -> object:
        shapes.extend(pixels.shape for pixels in inputs.values())
        return run(session, names, inputs)

    monkeypatch.setattr(InferenceSession, "run", noted)
    together = reader.read(lines)
    assert said(together) == said(alone)
    assert 4 < len(shapes) < len(lines)
    assert all(count == 1 or count * width <= 2560 for count, _, _, width in shapes)


def said(readings: Sequence[Reading]) -> list[str]:
    return ["".join(letter.character for letter in reading.letters) for reading in readings]


def test_words_in_condensed_letters_stay_apart(engine: RapidEngine):
    sentences = [
        "If only one of them is at home",
        "A map is not a place",
        "In fact it is a list of all that is in it",
        "The end of a long day at sea",
        "I am not sure that it was a good idea, sir.",
    ]
    errors = 0
    for share, seed in product((0.65, 0.7, 0.8), range(2 * len(sentences))):
        sentence, again = sentences[seed // 2], seed % 2
        usual = written(busy(1900, 110, seed // 2 + 10 * again), sentence, (950, 55), 40 + seed)
        condensed = cv2.resize(usual, None, fx=share, fy=1, interpolation=cv2.INTER_AREA).astype(np.uint8)
        errors += distance(read_picture(condensed, engine).text, sentence)
    assert errors <= 0.01 * 6 * sum(map(len, sentences))


def spanish(text: str) -> Image:
    """A caption that an upside-down mark opens, which the font at hand has not got."""
    black = np.zeros((130, 1200, 3), np.uint8)
    picture = written(black, text[1:], (600, 65), 44)
    width = ImageFont.load_default(44).getlength(text[1:])
    mark = written(black, {"¿": "?", "¡": "!"}[text[0]], (608 + width / 2, 54), 44)
    return np.maximum(picture, mark[::-1, ::-1])


def test_spanish_exclamations_are_opened_where_the_film_or_the_user_says_that_it_is_spanish(
    engine: RapidEngine,
):
    def read(engine: RapidEngine, pictures: Sequence[Image]) -> list[str]:
        answers = engine.read_strips([Strip(picture, picture) for picture in pictures])
        return [answer.text for answer in answers if isinstance(answer, StripText)]

    captions = ["¡No toques eso!", "¿Por que no vienes?"]
    pictures = [spanish(text) for text in captions]
    assert read(engine, pictures) == captions
    assert read(engine, pictures[:1]) != captions[:1]
    assert read(RapidEngine(languages=("es-MX",)), pictures[:1]) == captions[:1]


class ShortSighted(RapidEngine):
    """Its lines end where the last letter begins, as those of faint stops do."""

    def find_lines(self, strip: Image) -> list[Span]:
        return [
            (left, top, right - round(0.5 * (bottom - top)), bottom)
            for left, top, right, bottom in super().find_lines(strip)
        ]


def test_a_stop_beyond_the_end_of_a_line_is_found():
    engine = ShortSighted()
    for seed, sentence in enumerate(("Where did you put the map?", "It is on the kitchen table,")):
        image = written(busy(1200, 130, seed), sentence, (600, 65), 44)
        assert read_picture(image, engine).text == sentence


def test_boxes_of_a_full_frame_lie_around_their_text(engine: RapidEngine):
    frame = written(busy(1920, 1080, 5) // 2, "The quick brown fox jumps", (960, 990), 54)
    frame = written(frame, "small print of twenty", (300, 200), 20)
    boxes = {box.text: box for box in engine.read(frame)}
    caption = boxes["The quick brown fox jumps"]
    assert caption.center_x == pytest.approx(0.5, abs=0.01)
    assert caption.center_y == pytest.approx(990 / 1080, abs=0.01)
    assert 0.03 < caption.height < 0.08
    assert caption.confidence > 0.9
    assert any(abs(box.center_y - 200 / 1080) < 0.01 for box in boxes.values())


def test_a_picture_without_text_has_no_boxes_and_no_lines(engine: RapidEngine):
    assert engine.read(busy(640, 360, 1)) == []
    blank = read_picture(busy(900, 100, 1), engine)
    assert (blank.text, blank.illegible) == ("", False)


def test_a_broken_image_is_a_failure_and_not_an_empty_answer(engine: RapidEngine):
    with pytest.raises(OcrFailed, match="finding text failed"):
        engine.read(np.zeros((0, 0, 3), np.uint8))


def test_every_letter_of_a_supported_language_is_known_to_the_model(engine: RapidEngine):
    letters = {
        "cs": "ěščřžýáíéúůďťň",
        "de": "äöüß",
        "fr": "éèêëàâçîïôûùœ",
        "hu": "őű",
        "is": "ðþæö",
        "ja": "のカ時",
    }
    letters |= {
        "lv": "āčēģīķļņšūž",
        "lt": "ąčęėįšųūž",
        "pl": "ąćęłńóśźż",
        "ro": "ăâîșț",
        "tr": "ğışç",
        "zh": "的繁體",
    }
    alphabet = set(engine._reader.alphabet)
    for language, wanted in letters.items():
        assert language in SUPPORTED_LANGUAGES
        assert set(wanted) <= alphabet, language
    for unknown in ("ж", "한", "ع", "ไ", "ह", "ά", "ế"):
        assert unknown not in alphabet


def test_languages_the_engine_cannot_read_are_refused_with_a_hint():
    check_languages([], "rapid")
    check_languages(["auto", "en", "zh-Hans", "pt_BR"], "rapid")
    with pytest.raises(BadRequest, match=r"cannot read 'ru'.*CAPTIONACC_OCR_ENGINE=google_vision"):
        check_languages(["en", "ru"], "rapid")


def test_google_vision_reads_more_languages_and_is_asked_for_them_by_its_own_names():
    languages = ["auto", "ru", "ko", "zh-Hant", "he", "nb", "nn"]
    check_languages(languages, "google_vision")
    assert google_hints(languages) == ["ru", "ko", "zh", "iw", "no"]
    assert google_hints(["auto"]) == []
    with pytest.raises(BadRequest, match="Google Vision does not read 'tlh'"):
        check_languages(["en", "tlh"], "google_vision")


def test_light_modules_need_no_pixel_library():
    modules = ["captions.rows", "captions.database", "captions.subtitles", "layout.database", "layout.boxes"]
    modules += ["ocr.engine", "ocr.languages", "ocr.vision_client"]
    blocked = (
        "import sys; sys.modules |= dict.fromkeys("
        "['cv2', 'av', 'numpy', 'onnxruntime', 'PIL', 'rapidocr', 'google.cloud'])"
    )
    imports = "; ".join(f"import gpu_ops.{module}" for module in modules)
    subprocess.run([sys.executable, "-c", f"{blocked}; {imports}"], check=True)
