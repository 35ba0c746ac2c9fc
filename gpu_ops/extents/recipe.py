"""The recipes a pair model is trained by. A recipe, a seed and a machine give the weights, to the bit.

Budgets are in scenes and steps, never in time, so that a busy machine makes the same model, only later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """How much is drawn and learned.

    `scenes` are drawn once, the share `hard` (0-1) of them of the hardest kinds, and seen over and over for
    `steps` steps. A batch holds `batch_scenes` scenes of 64 x 384 pixels, or as many pixels in another shape.
    """

    scenes: int
    hard: float
    steps: int
    batch_scenes: int
    learning_rate: float


RECIPES: Mapping[str, Recipe] = {
    "small": Recipe(scenes=19_200, hard=0.3, steps=6_000, batch_scenes=8, learning_rate=3e-3),
    "full": Recipe(scenes=128_000, hard=0.3, steps=30_000, batch_scenes=64, learning_rate=4e-3),
}
