"""What a second look settles about single steps, whatever neighbouring frames say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from gpu_ops.extents.decode import PairEvidence
from gpu_ops.extents.labels import LABELS

CORRECTED = 0.98


@dataclass(frozen=True)
class Correction:
    """The pairs `first_pair` to `last_pair` (inclusive; pair i is frames i and i + 1) have this label after
    all."""

    first_pair: int
    last_pair: int
    label: int

    def moved(self, by: int) -> Correction:
        """The same, of pairs numbered from `by` less."""
        return Correction(self.first_pair + by, self.last_pair + by, self.label)


def corrected(evidence: PairEvidence, corrections: Iterable[Correction]) -> PairEvidence:
    """The evidence with the corrected pairs settled and the wider pairs across them silenced."""
    near, two, three = (
        np.array(rows, np.float32) for rows in (evidence.near, evidence.two_apart, evidence.three_apart)
    )
    for correction in corrections:
        first, end = correction.first_pair, correction.last_pair + 1
        near[first:end] = (1 - CORRECTED) / (len(LABELS) - 1)
        near[first:end, correction.label] = CORRECTED
        two[max(0, first - 1) : end] = 1 / len(LABELS)
        three[max(0, first - 2) : end] = 1 / len(LABELS)
    return PairEvidence(near, two, three)
