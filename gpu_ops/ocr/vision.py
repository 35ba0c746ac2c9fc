"""Google Vision as an OCR engine: pages of captions or frames, and a second look where a page leaves doubts.

Vision is paid for by the image. A page holds 200 captions or 16 frames of a 1080p video, so an hour of film
with 800 captions takes 4 images for its captions and 23 for its full frames, not 1,160.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

import cv2
import numpy as np

from gpu_ops.ocr.annotation import PictureText, Piece, text_of, texts_of
from gpu_ops.ocr.engine import Image, OcrBox, OcrFailed, Strip, StripText
from gpu_ops.ocr.languages import google_hints
from gpu_ops.ocr.montage import Format, Page
from gpu_ops.ocr.strips import SURE_ENOUGH, stretched
from gpu_ops.ocr.vision_client import LARGEST_IMAGE_BYTES, VisionClient

CAPTIONS_PER_PAGE = 200
FRAMES_PER_PAGE = 16
# A second look shows fewer captions at a time, larger and further from each other.
_CAPTIONS_PER_SECOND_PAGE, _SECOND_ROOM = 100, 2.0
# The confidence of a reading that two looks left in doubt is at most this.
_DOUBTED = 0.4
_KEPT_QUALITY = 95
# As with the local engine: pieces of one row further apart are separate boxes; lower lines are specks.
_WIDEST_GAP = 1.5
_SPECK = 0.4


class VisionEngine:
    """gpu_ops.ocr.engine.OcrEngine by document text detection."""

    name = "google_vision document text"

    def __init__(self, client: VisionClient, languages: Sequence[str] = ()) -> None:
        self._client = client
        self._hints = google_hints(languages)

    @classmethod
    def from_environment(cls, languages: Sequence[str]) -> VisionEngine:
        """Raises contract.OcrRefused without a valid key in the environment."""
        return cls(VisionClient.from_environment(), languages)

    @property
    def billed_images(self) -> int:
        return self._client.billed_images

    def read_frames(self, frames: Iterable[Image]) -> Iterator[list[OcrBox] | OcrFailed]:
        """The lines of each frame; pages of 16 frames at a time."""
        shapes: list[tuple[int, int]] = []

        def drawn() -> Iterator[Image]:
            for frame in frames:
                shapes.append((frame.shape[0], frame.shape[1]))
                yield frame

        for number, found in enumerate(self._read(drawn(), FRAMES_PER_PAGE)):
            yield found if isinstance(found, OcrFailed) else _boxes(found, *shapes[number])

    def read_strips(self, strips: Iterable[Strip]) -> Iterator[StripText | OcrFailed]:
        """What each caption says; all are looked at before the first answer.

        Looked at twice is what came back empty, uncertain or mingled with a neighbour; what then is still in
        doubt has a low confidence.
        """
        kept: dict[int, tuple[bytes, bytes]] = {}

        def medians() -> Iterator[Image]:
            for number, strip in enumerate(strips):
                kept[number] = _packed(strip.median), _packed(strip.frame)
                yield strip.median

        answers: dict[int, StripText | OcrFailed] = {}
        for number, found in enumerate(self._read(medians(), CAPTIONS_PER_PAGE)):
            answers[number] = _answer(found)
            if _is_settled(answers[number]):
                del kept[number]
        answers |= self._second_look({number: answers[number] for number in kept}, kept)
        yield from (answers[number] for number in range(len(answers)))

    def _second_look(
        self, first: Mapping[int, StripText | OcrFailed], kept: Mapping[int, tuple[bytes, bytes]]
    ) -> dict[int, StripText | OcrFailed]:
        owners: list[int] = []

        def pictures() -> Iterator[Image]:
            for number, answer in first.items():
                median, frame = (_unpacked(jpeg) for jpeg in kept[number])
                for picture in (stretched(median), frame) if _is_empty(answer) else (median,):
                    owners.append(number)
                    yield picture

        second: dict[int, StripText | OcrFailed] = {}
        for place, found in enumerate(self._read(pictures(), _CAPTIONS_PER_SECOND_PAGE, _SECOND_ROOM)):
            number, answer = owners[place], _answer(found)
            if _is_empty(first[number]) and not _is_settled(answer):
                continue  # such pictures make letters of textures
            if number not in second and not _is_empty(answer):
                second[number] = answer
        return {**first, **second}

    def _read(
        self, pictures: Iterable[Image], per_page: int, room: float = 1.0
    ) -> Iterator[PictureText | OcrFailed]:
        """The text of each picture; pages are read as soon as they are full."""
        form: Format | None = None
        fitted: list[Image] = []
        for picture in pictures:
            needed = Format.of(picture, per_page, room)
            if form is not None and (needed != form or len(fitted) == form.capacity):
                yield from self._read_page(Page(form, fitted))
                fitted = []
            form = needed
            fitted.append(form.fitted(picture))
        if form is not None:
            yield from self._read_page(Page(form, fitted))

    def _read_page(self, page: Page) -> list[PictureText | OcrFailed]:
        jpeg = page.jpeg(LARGEST_IMAGE_BYTES)
        if jpeg is None and len(page.pictures) > 1:
            return [found for half in page.halves() for found in self._read_page(half)]
        if jpeg is None:
            return [OcrFailed("the picture is too large for Google Vision")]
        (annotation,) = self._client.read([jpeg], self._hints)
        if isinstance(annotation, OcrFailed):
            return [annotation] * len(page.pictures)
        return [*texts_of(annotation, page)]


def _answer(found: PictureText | OcrFailed) -> StripText | OcrFailed:
    """A caption's lines with the confidence of the least certain word."""
    if isinstance(found, OcrFailed):
        return found
    lines = found.lines()
    tallest = max((_height(line) for line in lines), default=0.0)
    lines = [line for line in lines if _height(line) >= _SPECK * tallest]
    confidence = min((piece.confidence for line in lines for piece in line), default=0.0)
    return StripText(
        "\n".join(text_of(line) for line in lines),
        min(confidence, _DOUBTED) if found.doubtful else confidence,
    )


def _is_empty(answer: StripText | OcrFailed) -> bool:
    return isinstance(answer, StripText) and not answer.text


def _is_settled(answer: StripText | OcrFailed) -> bool:
    return isinstance(answer, StripText) and answer.confidence >= SURE_ENOUGH


def _boxes(found: PictureText, height: int, width: int) -> list[OcrBox]:
    """One box for each stretch of a line without a wide gap."""
    boxes: list[OcrBox] = []
    for line in found.lines():
        for stretch in _stretches(line):
            left, right = min(piece.left for piece in stretch), max(piece.right for piece in stretch)
            top, bottom = min(piece.top for piece in stretch), max(piece.bottom for piece in stretch)
            boxes.append(
                OcrBox(
                    text_of(stretch),
                    min(piece.confidence for piece in stretch),
                    max(0.0, left / width),
                    max(0.0, top / height),
                    min(1.0, right / width),
                    min(1.0, bottom / height),
                )
            )
    return boxes


def _stretches(line: Sequence[Piece]) -> list[list[Piece]]:
    stretches = [[line[0]]]
    for before, piece in pairwise(line):
        gap = max(piece.left - before.right, before.left - piece.right)
        if gap > _WIDEST_GAP * min(before.height, piece.height):
            stretches.append([])
        stretches[-1].append(piece)
    return stretches


def _height(line: Sequence[Piece]) -> float:
    return max(piece.height for piece in line)


def _packed(picture: Image) -> bytes:
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _KEPT_QUALITY])[1].tobytes()


def _unpacked(jpeg: bytes) -> Image:
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)
