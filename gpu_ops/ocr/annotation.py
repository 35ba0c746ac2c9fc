"""From Google Vision's answer to the text of each picture on a page.

Vision sees one page and may take lines of different pictures for one paragraph or even one word. Only where a
symbol lies decides which picture it belongs to; lines are put together anew within each picture.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from gpu_ops.ocr.lines import lines_of
from gpu_ops.ocr.montage import Page

# Messages of google.cloud.vision.v1 as plain protobuf.
Annotation = Paragraph = Word = Symbol = BoundingPoly = Any

# TextAnnotation.DetectedBreak.BreakType
SPACE, SURE_SPACE, EOL_SURE_SPACE, HYPHEN, LINE_BREAK = 1, 2, 3, 4, 5

# Where Vision ends a line in the middle of a caption's, a gap of so many text heights is a space.
_SPACE_WIDTH = 0.2


@dataclass(frozen=True)
class Piece:
    """A word, or what of it lies in one picture: edges in pixels of the picture, confidence 0-1.

    `spaced` says whether a space follows, None where Vision's line ends.
    """

    text: str
    confidence: float
    left: float
    top: float
    right: float
    bottom: float
    spaced: bool | None

    @property
    def height(self) -> float:
        return self.bottom - self.top


@dataclass
class PictureText:
    """What one picture says. `doubtful`: some of it may be missing, or may be another's."""

    pieces: list[Piece] = field(default_factory=list[Piece])
    doubtful: bool = False

    def lines(self) -> list[list[Piece]]:
        """Pieces of each line, top to bottom, in reading order."""
        order = {id(piece): place for place, piece in enumerate(self.pieces)}
        lines = lines_of(self.pieces)
        # From right to left, Vision's order is the one that is read.
        return [sorted(line, key=lambda p: order[id(p)]) if _leftward(line) else line for line in lines]


def texts_of(annotation: Annotation, page: Page) -> list[PictureText]:
    """The text of each picture of the page, in order.

    What lies between the pictures is dropped, since no text is there, and so is what does not stand upright.
    """
    found = [PictureText() for _ in page.pictures]
    for paragraph in _paragraphs(annotation):
        homes: set[int] = set()
        placeless = False
        for word in paragraph.words:
            box = _box(word.bounding_box) or _around(_box(symbol.bounding_box) for symbol in word.symbols)
            if box is None:
                placeless |= bool(word.symbols)
            elif _upright(word.bounding_box):
                parts = _parts(word, box, page)
                touched = {*parts, *_pictures_at_corners(box, page)}
                homes |= touched
                for number, part in parts.items():
                    found[number].pieces.append(part)
                for number in touched:
                    found[number].doubtful |= len(touched) > 1 or not parts
        for number in homes if placeless else ():
            found[number].doubtful = True
    return found


def text_of(line: Sequence[Piece]) -> str:
    """The pieces of a line put together."""
    text = ""
    for piece, following in pairwise([*line, None]):
        assert piece is not None
        text += piece.text
        if following is not None and _space_between(piece, following):
            text += " "
    return " ".join(text.split())


def _space_between(piece: Piece, following: Piece) -> bool:
    if piece.spaced is not None:
        return piece.spaced
    gap = max(following.left - piece.right, piece.left - following.right)
    return gap > _SPACE_WIDTH * max(piece.height, following.height)


def _leftward(line: Sequence[Piece]) -> bool:
    """Whether most letters are of a script written from right to left."""
    classes = [unicodedata.bidirectional(character) for piece in line for character in piece.text]
    return sum(c in ("R", "AL") for c in classes) > classes.count("L")


def _paragraphs(annotation: Annotation) -> Iterator[Paragraph]:
    for sheet in annotation.pages:
        for block in sheet.blocks:
            yield from block.paragraphs


_Box = tuple[float, float, float, float]  # left, top, right, bottom


def _parts(word: Word, word_box: _Box, page: Page) -> dict[int, Piece]:
    """The pieces of a word, by the picture in which the centres of their symbols lie."""
    symbols: dict[int, list[tuple[Symbol, _Box]]] = defaultdict(list)
    for symbol in word.symbols:
        box = _box(symbol.bounding_box) or word_box
        number = page.at((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        if number is not None:
            symbols[number].append((symbol, box))
    return {number: _piece(members, word.confidence, page, number) for number, members in symbols.items()}


def _piece(members: Sequence[tuple[Symbol, _Box]], confidence: float, page: Page, number: int) -> Piece:
    text = ""
    spaced: bool | None = False
    for symbol, _ in members:
        found = symbol.property.detected_break
        space = found.type_ in (SPACE, SURE_SPACE)
        text += " " if spaced or (space and found.is_prefix) else ""
        # The hyphen at a line's end is seen in the picture and missing in the text.
        text += symbol.text + ("-" if found.type_ == HYPHEN else "")
        spaced = space and not found.is_prefix
        if found.type_ in (EOL_SURE_SPACE, LINE_BREAK, HYPHEN):
            spaced = None
    left, top, right, bottom = _around(box for _, box in members) or (0, 0, 0, 0)
    x, y = page.corner(number)
    scale = page.format.scale
    return Piece(
        text,
        confidence,
        (left - x) / scale,
        (top - y) / scale,
        (right - x) / scale,
        (bottom - y) / scale,
        spaced,
    )


def _pictures_at_corners(box: _Box, page: Page) -> set[int]:
    left, top, right, bottom = box
    corners = [page.at(x, y) for x in (left, right) for y in (top, bottom)]
    return {number for number in corners if number is not None}


def _box(polygon: BoundingPoly) -> _Box | None:
    """Coordinates of 0 are left out of Vision's answer and read as 0; without an extent there is no place."""
    across, down = [v.x for v in polygon.vertices], [v.y for v in polygon.vertices]
    if not across or min(across) == max(across) or min(down) == max(down):
        return None
    return min(across), min(down), max(across), max(down)


def _around(boxes: Iterable[_Box | None]) -> _Box | None:
    known = [box for box in boxes if box is not None]
    if not known:
        return None
    lefts, tops, rights, bottoms = zip(*known, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def _upright(polygon: BoundingPoly) -> bool:
    """The first two vertices are the top edge of the text as it is read."""
    if len(polygon.vertices) < 4:
        return True
    start, end = polygon.vertices[0], polygon.vertices[1]
    return abs(end.y - start.y) <= end.x - start.x
