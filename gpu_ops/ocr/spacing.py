"""Where words end: what the recogniser thinks of a space there, and how far apart the letters are.

The recogniser alone misses spaces in narrow type and invents some in wide type. Logistic regression on both,
fitted by `python -m gpu_ops.ocr.calibrate --spaces`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Fitted to 2,100 spaces and 10,300 other gaps in 512 lines of seed 5 in 230 Latin faces. In five-fold
# validation 94.5 % of the lines have all spaces and no other; with the recogniser's chance alone, at its best
# limit, 91.5 %.
WEIGHTS = (3.46, 0.97, 6.22, -8.77)
# Beside characters as wide as high, apostrophes and hyphens the distance says nothing: what the recogniser
# thinks decides.
_LIKELY_ALONE = 0.18
_JOINING = "'’-"
_LEAST_CHANCE, _MOST_CHANCE = 1e-5, 1 - 1e-3
_UNLIKELY_SPACE = 0.02

# How wide letters are in most faces, in letter sizes.
_WIDTHS = (
    ("ijl!'.,:;|", 0.26),
    ('frtI()[]-"/', 0.33),
    ("cksvxyzJ", 0.48),
    ("wm", 0.8),
    ("M", 0.85),
    ("W@%", 0.95),
)


@dataclass(frozen=True)
class Letter:
    """A character of a line that is no space.

    `chance` (0-1) is its probability, `center` how many line heights from the left it stands, `space_before`
    (0-1) the highest probability of a space since the letter before.
    """

    character: str
    chance: float
    center: float
    space_before: float


def space_odds(letters: Sequence[Letter]) -> tuple[float, ...]:
    """The log-odds of a space after each letter but the last."""
    if len(letters) < 2:
        return ()
    odds = gap_terms(letters) @ np.array(WEIGHTS)
    # A dash at the beginning says who speaks, and stands apart.
    alone = np.array(
        [_is_wide(x.character) or (n > 0 and x.character in _JOINING) for n, x in enumerate(letters)]
    )
    chances = np.array([letter.space_before for letter in letters[1:]])
    by_recogniser = _logit(chances) - _logit(_LIKELY_ALONE)
    return tuple(np.where(alone[:-1] | alone[1:], by_recogniser, odds).tolist())


def gap_terms(letters: Sequence[Letter]) -> NDArray[np.float64]:
    """What speaks for a space after each letter but the last, one row each: a constant, the log-odds of the
    recogniser, how much further apart the two stand than they would in a word (letter sizes), and whether a
    full stop or comma follows.
    """
    chances = np.array([letter.space_before for letter in letters[1:]])
    distances = np.diff([letter.center for letter in letters])
    widths = np.array([_width(letter.character) for letter in letters])
    usual = (widths[:-1] + widths[1:]) / 2
    inside = chances < _UNLIKELY_SPACE
    scale = float(np.median((distances / usual)[inside if inside.sum() >= 3 else slice(None)]))
    excess = np.clip(distances / max(scale, 1e-6) - usual, -0.6, 0.9)
    stops = np.array([letter.character in ".," for letter in letters[1:]], float)
    return np.stack([np.ones_like(chances), _logit(chances), excess, stops], axis=1)


def _logit(chance: float | NDArray[np.float64]) -> NDArray[np.float64]:
    clipped = np.clip(chance, _LEAST_CHANCE, _MOST_CHANCE)
    return np.log(clipped / (1 - clipped))


def _is_wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in "WF"


def _width(character: str) -> float:
    plain = unicodedata.normalize("NFD", character)[0]
    if _is_wide(plain):
        return 1.0
    for letters, width in _WIDTHS:
        if plain in letters:
            return width
    return 0.66 if plain.isupper() else 0.54
