"""Vision's answers, put back where they belong: no text ends up in a neighbour's caption unnoticed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from google.cloud.vision import TextAnnotation
from google.protobuf.json_format import ParseDict

from gpu_ops.ocr.annotation import PictureText, text_of, texts_of
from gpu_ops.ocr.engine import Image
from gpu_ops.ocr.montage import Format, Page
from tests.servers.vision import Reply, SeenLine, box, paragraph, reply

WIDTH, HEIGHT, LINE = 1700, 120, 50
STRIP: Image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
FORMAT = Format.of(STRIP, 200)
PAGE = Page(FORMAT, [FORMAT.fitted(STRIP)] * 40)
BELOW = 2  # strips lie in two columns, so this one is below strip 0


def line(number: int, text: str, *, left: float = 200, top: float = 35, height: float = LINE) -> SeenLine:
    """A line at a place, in the strip's own pixels, of strip `number`."""
    x, y = PAGE.corner(number)
    right = left + 0.5 * height * len(text)
    scale = FORMAT.scale
    return SeenLine(text, x + scale * left, y + scale * top, x + scale * right, y + scale * (top + height))


def found(paragraphs: Sequence[Reply]) -> list[PictureText]:
    annotation = TextAnnotation.pb()()
    ParseDict(reply(paragraphs).get("fullTextAnnotation", {}), annotation)
    return texts_of(annotation, PAGE)


def texts(answers: Sequence[PictureText]) -> dict[int, str]:
    """What the strips say that say anything."""
    return {
        number: "\n".join(text_of(line) for line in answer.lines())
        for number, answer in enumerate(answers)
        if answer.pieces
    }


def doubts(answers: Sequence[PictureText]) -> list[int]:
    return [number for number, answer in enumerate(answers) if answer.doubtful]


def test_each_caption_gets_its_lines_with_spaces_and_without_where_there_are_none():
    answers = found(
        [
            paragraph([line(0, "It's 7:45, isn't it?")]),
            paragraph([line(2, "别忘记你的钥匙。", top=5), line(2, "Don't forget!", top=62)]),
        ]
    )
    assert texts(answers) == {0: "It's 7:45, isn't it?", 2: "别忘记你的钥匙。\nDon't forget!"}
    assert doubts(answers) == []


def test_boxes_are_mapped_back_to_the_pixels_of_the_picture():
    (piece,) = found([paragraph([line(4, "word", left=300, top=40)])])[4].pieces
    edges = np.array([piece.left, piece.top, piece.right, piece.bottom])
    assert np.abs(edges - [300, 40, 400, 90]).max() < 1 / FORMAT.scale


def test_a_paragraph_over_several_captions_is_taken_apart():
    answers = found([paragraph([line(number, f"caption number {number}") for number in range(6)])])
    assert texts(answers) == {number: f"caption number {number}" for number in range(6)}
    assert doubts(answers) == []


def test_the_order_of_paragraphs_does_not_matter():
    answers = found(
        [
            paragraph([line(3, "second line", top=62)]),
            paragraph([line(5, "elsewhere")]),
            paragraph([line(3, "line", left=400, top=5)]),
            paragraph([line(3, "first", left=200, top=5)]),
        ]
    )
    assert texts(answers)[3] == "first line\nsecond line"


def test_boxes_somewhat_out_of_place_stay_in_their_caption():
    shift = FORMAT.down / FORMAT.scale / 4
    answers = found(
        [
            paragraph([line(0, "too high", top=-shift - LINE / 2 + 1)]),
            paragraph([line(2, "too low", top=HEIGHT + shift - LINE / 2 - 1)]),
        ]
    )
    assert texts(answers) == {0: "too high", 2: "too low"}


def test_coordinates_of_zero_are_left_out_of_an_answer():
    word = paragraph([line(0, "edge")])
    for part in (word["words"][0], *word["words"][0]["symbols"]):
        for vertex in part["boundingBox"]["vertices"][:2]:
            del vertex["y"]
    assert texts(found([word]))[0] == "edge"


def test_a_word_whose_place_is_missing_leaves_its_caption_in_doubt():
    answer = paragraph([line(1, "where is it")])
    for part in (answer["words"][1], *answer["words"][1]["symbols"]):
        part["boundingBox"] = {}
    answers = found([answer, paragraph([line(0, "fine")])])
    assert doubts(answers) == [1]


def test_text_between_the_captions_is_dropped():
    x, y = PAGE.corner(0)
    below = y + FORMAT.height + FORMAT.down / 2
    answers = found(
        [
            paragraph([line(0, "true")]),
            paragraph([SeenLine("————", x + 100, below - 4, x + 500, below + 4)]),
            paragraph([SeenLine("|", x - FORMAT.across / 2, y, x - FORMAT.across / 2 + 5, y + 80)]),
        ]
    )
    assert texts(answers) == {0: "true"}
    assert doubts(answers) == []


def test_a_word_between_captions_that_reaches_into_one_leaves_it_in_doubt():
    x, y = PAGE.corner(0)
    below = y + FORMAT.height
    answers = found([paragraph([SeenLine("half", x + 100, below - 2, x + 300, below + 20)])])
    assert texts(answers) == {}
    assert doubts(answers) == [0]


def test_a_word_torn_between_captions_leaves_both_in_doubt():
    answer = paragraph([line(0, "split")])
    below = paragraph([line(BELOW, "words")])
    answer["words"][0]["symbols"] += below["words"][0]["symbols"]
    answers = found([answer, paragraph([line(1, "fine")])])
    assert doubts(answers) == [0, BELOW]
    assert texts(answers) == {0: "split", BELOW: "words", 1: "fine"}


def test_a_box_over_two_captions_leaves_both_in_doubt():
    answer = paragraph([line(0, "tall")])
    x, y = PAGE.corner(0)
    answer["words"][0]["boundingBox"] = box(x + 10, y + 10, x + 90, PAGE.corner(BELOW)[1] + 10)
    assert doubts(found([answer])) == [0, BELOW]


def test_text_that_does_not_stand_upright_is_no_caption():
    answer = paragraph([line(0, "sideways")])
    for part in (answer["words"][0], *answer["words"][0]["symbols"]):
        vertices = part["boundingBox"]["vertices"]
        part["boundingBox"]["vertices"] = vertices[1:] + vertices[:1]
    assert texts(found([answer, paragraph([line(0, "upright", top=60)])]))[0] == "upright"


def test_text_from_right_to_left_keeps_its_order():
    text = "صباح الخير"
    drawn = line(0, text)
    answer = paragraph([drawn])
    first, second = answer["words"]
    first["boundingBox"], second["boundingBox"] = second["boundingBox"], first["boundingBox"]
    for word in (first, second):
        for symbol in word["symbols"]:
            symbol["boundingBox"] = word["boundingBox"]
    assert texts(found([answer]))[0] == text


def test_breaks_become_what_the_viewer_sees():
    def with_break(word: dict[str, Any], **what: object) -> None:
        word["symbols"][-1]["property"] = {"detectedBreak": what}

    answer = paragraph([line(0, "one two three", top=5), line(0, "four", top=62)])
    with_break(answer["words"][0], type="SURE_SPACE")
    with_break(answer["words"][1], type="EOL_SURE_SPACE")  # Vision broke the line where the viewer sees none
    with_break(answer["words"][2], type="HYPHEN")
    assert texts(found([answer]))[0] == "one two three-\nfour"


def test_an_empty_answer_is_empty_captions():
    assert texts(found([])) == {}
