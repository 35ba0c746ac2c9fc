"""Which pieces of text stand on one line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar


class Piece(Protocol):
    """A rectangle with text; any unit, origin at the TOP left."""

    @property
    def left(self) -> float: ...
    @property
    def top(self) -> float: ...
    @property
    def right(self) -> float: ...
    @property
    def bottom(self) -> float: ...


AnyPiece = TypeVar("AnyPiece", bound=Piece)


def lines_of(pieces: Iterable[AnyPiece]) -> list[list[AnyPiece]]:
    """Pieces grouped into text lines, top to bottom, each left to right.

    Pieces belong to one line when they overlap vertically by more than half of the lower one's height.
    """
    lines: list[list[AnyPiece]] = []
    for piece in sorted(pieces, key=lambda piece: piece.top + piece.bottom):
        home = next((line for line in lines if _level(line[-1], piece)), None)
        if home is None:
            lines.append([piece])
        else:
            home.append(piece)
    for line in lines:
        line.sort(key=lambda piece: piece.left)
    return lines


def _level(a: Piece, b: Piece) -> bool:
    shared = min(a.bottom, b.bottom) - max(a.top, b.top)
    return 2 * shared > min(a.bottom - a.top, b.bottom - b.top)
