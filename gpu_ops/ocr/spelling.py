"""Spelling that tells what letter a line holds where the local model cannot, or confuses two.

It has no upside-down exclamation mark, takes I and l for each other and for two words where they stand side
by side, reads two of the three dots of an ellipsis, and Chinese punctuation in Latin lines.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import replace

from gpu_ops.ocr.spacing import Letter

_TO_HALF_WIDTH = str.maketrans("，。！？：；（）", ",.!?:;()")
# An l that is a word, or that "m", "ll", "ve" or "d" follow, is an I (the French l' is followed by more).
_LONE_L = re.compile(r"(?<![\w'’])l(?=\s|$|['’](?:m|ll|ve|d)\b)")
# What will is shortened to, though its last letter was dropped or taken for an I.
_SHORT_WILL = re.compile(r"(?<=[A-Za-z])(['’])l(?: [lI])?(?![\w'’])")
_TWO_DOTS = re.compile(r"(?<![.\s])\.\.(?!\.)")
# Where a sentence ends and another begins; a title's stop ends none.
_SENTENCE_END = re.compile(r"(?<!\bSr)(?<!\bSra)(?<!\bSrta)(?<!\bDr)(?<!\bDra)(?<!\bUd)[.?!…]+[\"”»)\]]*\s+")
_EXCLAMATION = re.compile(r"([-–—♪♫\"“«(\[\s]*)(?:i\s?)?((?=[^\W\d_])[^¡¿]*?(!+)[\"”»)\]♪♫\s]*)", re.DOTALL)
# French and Italian: "Il" as two words, or as a number where a sentence begins, and "l'" before a word.
_IL = re.compile(r"(?<![\w'’])I [lI](?=\s)|(?:^|(?<=[.?!…\-–—] ))II(?= [a-zà-ÿ])", re.MULTILINE)
_ELISION = re.compile(r"(?<![\w'’])I(?=['’](?!m\b|ll\b|ve\b|d\b)[a-zà-ÿ])")
_ACCENTS = re.compile("[àâçèéêëîïôùûœìò]", re.IGNORECASE)
# The share of a film's questions that an upside-down mark opens where all its captions are Spanish, and of
# captions with accents where they are French or Italian.
_SPANISH, _ACCENTED = 0.8, 0.15


def in_one_width(letters: Sequence[Letter]) -> list[Letter]:
    """The letters of a line, whose punctuation is of half width unless it holds Chinese or Japanese."""
    if any(_is_wide_letter(each.character) for each in letters):
        return list(letters)
    return [replace(each, character=each.character.translate(_TO_HALF_WIDTH)) for each in letters]


def _is_wide_letter(character: str) -> bool:
    return character.isalpha() and unicodedata.east_asian_width(character) == "W"


def spelled(line: str) -> str:
    """A line as it must be spelt, in whatever language."""
    return _TWO_DOTS.sub("...", _LONE_L.sub("I", _SHORT_WILL.sub(r"\1ll", line)))


def spelled_as(captions: Sequence[str], languages: Collection[str]) -> list[str]:
    """The captions of a film as its language spells them: the only one of these (BCP 47 primary subtags), or
    else the one that the captions look like."""
    if set(languages) == {"es"} or _is_spanish(captions):
        return [_with_opening_marks(text) for text in captions]
    if set(languages) in ({"fr"}, {"it"}) or _is_accented(captions):
        return [_ELISION.sub("l", _IL.sub("Il", text)) for text in captions]
    return list(captions)


def _is_spanish(texts: Sequence[str]) -> bool:
    questions = sum(text.count("?") for text in texts)
    return sum(text.count("¿") for text in texts) > _SPANISH * questions


def _is_accented(texts: Sequence[str]) -> bool:
    return sum(_ACCENTS.search(text) is not None for text in texts) > _ACCENTED * len(texts)


def _with_opening_marks(text: str) -> str:
    """Spanish text with as many marks before each exclamation as are behind it.

    One that begins in small letters may have begun in the caption before, or in the middle of the sentence,
    and stays as it is.
    """
    sentences: list[str] = []
    start = 0
    for end in [*(match.end() for match in _SENTENCE_END.finditer(text)), len(text)]:
        sentences.append(_opened(text[start:end]))
        start = end
    return "".join(sentences)


def _opened(sentence: str) -> str:
    exclamation = _EXCLAMATION.fullmatch(sentence)
    if exclamation is None or not exclamation[2][0].isupper():
        return sentence
    before, words, marks = exclamation.groups()
    return before + "¡" * len(marks) + words
