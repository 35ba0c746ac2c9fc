"""What spelling tells of letters that the local model cannot."""

from dataclasses import replace

import pytest

from gpu_ops.ocr.spacing import Letter
from gpu_ops.ocr.spelling import in_one_width, is_spanish, spelled, with_opening_marks


@pytest.mark.parametrize(
    ("text", "opened"),
    [
        ("No toques eso!", "¡No toques eso!"),
        ("Hola! Qué tal!", "¡Hola! ¡Qué tal!"),
        ("¿Qué? No me digas!", "¿Qué? ¡No me digas!"),
        ("iSocorro!!", "¡¡Socorro!!"),
        ("Sr. López, venga!", "¡Sr. López, venga!"),
        ("- Corre!\n- Voy!", "- ¡Corre!\n- ¡Voy!"),
        ("Vete...\nAhora mismo!", "Vete...\n¡Ahora mismo!"),
        ("«Fuego!»", "«¡Fuego!»"),
        ("♪ Cielito lindo! ♪", "♪ ¡Cielito lindo! ♪"),
        ("Ay, no! Otra vez no.", "¡Ay, no! Otra vez no."),
    ],
)
def test_a_spanish_exclamation_gets_the_mark_that_opens_it(text: str, opened: str):
    assert with_opening_marks(text) == opened
    assert with_opening_marks(opened) == opened


@pytest.mark.parametrize(
    "text",
    [
        "",
        "!",
        "Otra vez no.",
        "Julia, ¡cállate ya!",
        "¿Qué?!",
        "que no lo soporto!",
        "20 años!",
        "¿Sí? - ¡No!",
    ],
)
def test_what_is_no_exclamation_from_its_beginning_stays_as_it_is(text: str):
    assert with_opening_marks(text) == text


def test_a_film_is_spanish_where_nearly_all_its_questions_are_opened():
    spanish = ["¿Dónde estás?", "Aquí.", "¿Y tú?\n¿Vienes?"]
    assert is_spanish(spanish)
    assert not is_spanish([])
    assert not is_spanish(["Where are you?", "Here!"])
    # Two languages, one above the other.
    assert not is_spanish([f"{line}\nWhere are you?" for line in spanish])


@pytest.mark.parametrize(
    ("read", "spelt"),
    [
        ("l think so.", "I think so."),
        ("What l'm saying, l can't tell", "What I'm saying, I can't tell"),
        ("C'est l'été, l'hiver", "C'est l'été, l'hiver"),
        ("Well, well..", "Well, well..."),
        ("Wait.. what?", "Wait... what?"),
        ("So... and then....", "So... and then...."),
    ],
)
def test_a_lone_i_and_an_ellipsis_are_spelt_out(read: str, spelt: str):
    assert spelled(read) == spelt


def letters(text: str) -> list[Letter]:
    letter = Letter("", chance=0.9, center=0.0, space_before=0.0)
    return [replace(letter, character=character, center=0.5 * n) for n, character in enumerate(text)]


def test_punctuation_in_a_latin_line_is_of_half_width():
    def narrowed(text: str) -> str:
        return "".join(each.character for each in in_one_width(letters(text)))

    assert narrowed("IFIWEREYOU，I'DLEAVE。") == "IFIWEREYOU,I'DLEAVE."
    assert narrowed("真的吗？OK，好！") == "真的吗？OK，好！"
    assert narrowed("「ホント？」") == "「ホント？」"
