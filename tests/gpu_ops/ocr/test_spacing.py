"""Spaces are kept where letters stand apart, and only there."""

from __future__ import annotations

from collections.abc import Sequence

from gpu_ops.ocr.spacing import Letter, space_odds


def line(text: str, gap: float, chance: float, widths: float = 0.5) -> list[Letter]:
    """Letters of equal width; where `text` has a space they stand `gap` further apart, and the recogniser
    gives one that `chance`."""
    letters: list[Letter] = []
    center = 0.0
    for word in text.split():
        for position, character in enumerate(word):
            first = position == 0 and bool(letters)
            center += widths + gap * first
            letters.append(Letter(character, 0.99, center, chance if first else 1e-5))
    return letters


def text_of(letters: Sequence[Letter]) -> str:
    odds = [*space_odds(letters), 0.0]
    return "".join(x.character + " " * (o > 0) for x, o in zip(letters, odds, strict=True))


def test_a_space_that_the_recogniser_is_sure_of_is_one() -> None:
    assert text_of(line("one on one", gap=0.15, chance=0.9)) == "one on one"


def test_letters_that_stand_apart_need_little_more_to_be_two_words() -> None:
    assert text_of(line("one on one", gap=0.25, chance=0.02)) == "one on one"
    assert text_of(line("one on one", gap=0.0, chance=0.02)) == "oneonone"


def test_a_wide_gap_alone_is_none() -> None:
    assert text_of(line("aeon den", gap=0.3, chance=1e-5)) == "aeonden"


def test_there_is_none_before_a_comma() -> None:
    assert text_of(line("one , on", gap=0.2, chance=0.3)) == "one, on"


def test_an_apostrophe_or_a_hyphen_holds_a_word_together_and_a_dash_at_the_beginning_does_not() -> None:
    assert text_of(line("they ' re well - known", gap=0.25, chance=0.05)) == "they're well-known"
    assert text_of(line("- No one", gap=0.25, chance=0.05)) == "- No one"


def test_numbers_and_times_stay_whole() -> None:
    assert text_of(line("at 9:30 and 3.14", gap=0.25, chance=0.4)) == "at 9:30 and 3.14"


def test_chinese_is_written_without_them_however_it_is_spread() -> None:
    assert text_of(line("我们 没有", gap=0.6, chance=0.1, widths=1.0)) == "我们没有"
    assert text_of(line("我们 没有", gap=0.6, chance=0.4, widths=1.0)) == "我们 没有"


def test_a_single_letter_and_none_have_no_spaces() -> None:
    assert space_odds([]) == space_odds(line("a", gap=0, chance=0)) == ()
