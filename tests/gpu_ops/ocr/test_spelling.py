"""What spelling tells of letters that the local model cannot."""

from dataclasses import replace

import pytest

from gpu_ops.ocr.spacing import Letter
from gpu_ops.ocr.spelling import in_one_width, spelled, spelled_as


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
    assert spelled_as([text, opened], {"es"}) == [opened, opened]


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
    assert spelled_as([text], {"es"}) == [text]


def test_a_film_is_spanish_where_nearly_all_its_questions_are_opened():
    spanish = ["¿Dónde estás?", "Aquí!", "¿Y tú?\n¿Vienes?"]
    assert spelled_as(spanish, {"auto"}) == ["¿Dónde estás?", "¡Aquí!", "¿Y tú?\n¿Vienes?"]
    assert spelled_as([], set()) == []
    english = ["Where are you?", "Here!"]
    assert spelled_as(english, set()) == english
    # Two languages, one above the other.
    both = ["¿Dónde estás?\nWhere are you?", "Here!", "¿Vienes?\nAre you coming?"]
    assert spelled_as(both, {"es", "en"}) == both


@pytest.mark.parametrize(
    ("read", "spelt"),
    [
        ("I I y a quelqu'un ?", "Il y a quelqu'un ?"),
        ("I l est là.", "Il est là."),
        ("II faut partir.", "Il faut partir."),
        ("- II dort.\n- II ronfle.", "- Il dort.\n- Il ronfle."),
        ("I I I'a dit, I'homme.", "Il l'a dit, l'homme."),
        ("Henri II, roi de France", "Henri II, roi de France"),
        ("I'm sorry, I'll go.", "I'm sorry, I'll go."),
        ("Ils sont là.", "Ils sont là."),
    ],
)
def test_il_is_one_word_in_french_and_italian(read: str, spelt: str):
    assert spelled_as([read], {"fr"}) == [spelt]
    accented = ["Ça va.", "Écoute-moi.", "Qui ?"]
    assert spelled_as([read, *accented], {"auto"}) == [spelt, *accented]
    english = ["Who is it?", "In the café."] * 2 + ["Go."] * 12
    assert spelled_as(["I I don't know", *english], set())[0] == "I I don't know"


@pytest.mark.parametrize(
    ("read", "spelt"),
    [
        ("l think so.", "I think so."),
        ("What l'm saying, l can't tell", "What I'm saying, I can't tell"),
        ("C'est l'été, l'hiver", "C'est l'été, l'hiver"),
        ("Well, well..", "Well, well..."),
        ("Wait.. what?", "Wait... what?"),
        ("So... and then....", "So... and then...."),
        ("I'l I stay, you'l see", "I'll stay, you'll see"),
        ("He’l l go. We'll stay.", "He’ll go. We'll stay."),
    ],
)
def test_a_lone_i_a_short_will_and_an_ellipsis_are_spelt_out(read: str, spelt: str):
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
