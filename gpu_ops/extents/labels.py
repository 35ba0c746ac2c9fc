"""The five labels of a pair of frames (a, b), in the order of every probability vector here."""

from __future__ import annotations

LABELS = ("same", "different", "empty_empty", "empty_valid", "valid_empty")
SAME, DIFFERENT, EMPTY_EMPTY, EMPTY_VALID, VALID_EMPTY = range(5)

# Asking about (b, a) instead of (a, b) exchanges appearing and disappearing.
REVERSED = (SAME, DIFFERENT, EMPTY_EMPTY, VALID_EMPTY, EMPTY_VALID)
