"""Spelling that tells what letter a line holds where the local model cannot, or confuses two.

It has no upside-down exclamation mark, mistakes an I that stands alone for an l, reads two of the three dots
of an ellipsis where they stand close together, and Chinese punctuation in Latin lines.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace

from gpu_ops.ocr.spacing import Letter

_TO_HALF_WIDTH = str.maketrans("，。！？：；（）", ",.!?:;()")
# An l that is a word, or that "m", "ll", "ve" or "d" follow, is an I (the French l' is followed by more).
_LONE_L = re.compile(r"(?<![\w'’])l(?=\s|$|['’](?:m|ll|ve|d)\b)")
_TWO_DOTS = re.compile(r"(?<![.\s])\.\.(?!\.)")
# Where a sentence ends and another begins; a title's stop ends none.
_SENTENCE_END = re.compile(r"(?<!\bSr)(?<!\bSra)(?<!\bSrta)(?<!\bDr)(?<!\bDra)(?<!\bUd)[.?!…]+[\"”»)\]]*\s+")
_EXCLAMATION = re.compile(r"([-–—♪♫\"“«(\[\s]*)(?:i\s?)?((?=[^\W\d_])[^¡¿]*?(!+)[\"”»)\]♪♫\s]*)", re.DOTALL)
# The share of a film's questions that an upside-down mark opens where all its captions are Spanish.
_SPANISH = 0.8


def in_one_width(letters: Sequence[Letter]) -> list[Letter]:
    """The letters of a line, whose punctuation is of half width unless it holds Chinese or Japanese."""
    if any(_is_wide_letter(each.character) for each in letters):
        return list(letters)
    return [replace(each, character=each.character.translate(_TO_HALF_WIDTH)) for each in letters]


def _is_wide_letter(character: str) -> bool:
    return character.isalpha() and unicodedata.east_asian_width(character) == "W"


def spelled(line: str) -> str:
    """A line as it must be spelt where the model cannot tell."""
    return _TWO_DOTS.sub("...", _LONE_L.sub("I", line))


def is_spanish(texts: Sequence[str]) -> bool:
    """Whether these captions of a film are Spanish, and spelt with care."""
    questions = sum(text.count("?") for text in texts)
    return sum(text.count("¿") for text in texts) > _SPANISH * questions


def with_opening_marks(text: str) -> str:
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
