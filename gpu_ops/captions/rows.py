"""From predicted extents to caption rows, without ever losing what an annotator did.

A re-run meets rows that somebody has confirmed, edited or annotated. Those come first: confirmed rows keep
their range, and predictions are fitted around them. Standard library only.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, Protocol

from gpu_ops.contract import CaptionOcrResult, FrameRange

State = Literal["predicted", "confirmed", "gap", "issue"]
PredictedState = Literal["predicted", "gap", "issue"]
OcrStatus = Literal["queued", "processing", "completed", "error"]

# Below this OCR confidence, where fewer than four in five are exact, a person should look at the text.
DOUBTFUL_CONFIDENCE = 0.80
# A confirmed row beside a prediction often differs by a frame or two; such remainders are not captions.
_SHORTEST_REMAINDER = 2


class PredictedExtent(Protocol):
    """One stretch of the grid, `end_frame_index` INCLUSIVE; `start_s` and `end_s` are refined seconds."""

    @property
    def start_frame_index(self) -> int: ...
    @property
    def end_frame_index(self) -> int: ...
    @property
    def state(self) -> PredictedState: ...
    @property
    def confidence(self) -> float: ...
    @property
    def start_s(self) -> float | None: ...
    @property
    def end_s(self) -> float | None: ...


@dataclass(frozen=True, kw_only=True)
class CaptionRow:
    """A row of captions.db. `id` is None until it is stored; `end_frame_index` is INCLUSIVE.

    `start_s` and `end_s` (seconds, to half a source frame, end exclusive) are known where the boundary is a
    predicted one. `text` is the annotator's, `caption_ocr` ours with `ocr_confidence` 0-1.
    """

    id: int | None = None
    start_frame_index: int
    end_frame_index: int
    state: State = "predicted"
    extents_pending: bool = False
    extents_updated_at: str | None = None
    text: str | None = None
    text_pending: bool = False
    text_status: str | None = None
    text_notes: str | None = None
    caption_ocr: str | None = None
    text_updated_at: str | None = None
    image_needs_regen: bool = False
    ocr_status: OcrStatus | None = None
    ocr_error: str | None = None
    ocr_processed_at: str | None = None
    created_at: str = ""
    start_s: float | None = None
    end_s: float | None = None
    extents_confidence: float | None = None
    ocr_confidence: float | None = None

    @property
    def frame_count(self) -> int:
        return self.end_frame_index - self.start_frame_index + 1

    @property
    def frames(self) -> FrameRange:
        return FrameRange(start_frame=self.start_frame_index, end_frame=self.end_frame_index + 1)

    @property
    def annotated(self) -> bool:
        """Whether an annotator wrote into this row."""
        return any(value is not None for value in (self.text, self.text_status, self.text_notes))

    @property
    def is_caption(self) -> bool:
        return self.state in ("predicted", "confirmed")

    @property
    def requested(self) -> bool:
        """Whether somebody asks for this row to be read (again); a reading that failed asks for nothing."""
        return self.is_caption and (self.ocr_status == "queued" or self.image_needs_regen)

    @property
    def needs_reading(self) -> bool:
        """Whether OCR has to read this row: not read yet, failed last time, or a new image was asked for."""
        return self.is_caption and (self.ocr_status != "completed" or self.image_needs_regen)


@dataclass(frozen=True)
class Merged:
    """Rows as they should be stored and the seams that still hold (see merge_same_text)."""

    rows: list[CaptionRow]
    seams: frozenset[int]


@dataclass(frozen=True)
class _Piece:
    start: int
    end: int
    state: PredictedState
    confidence: float | None

    def overlap(self, row: CaptionRow) -> int:
        return min(self.end, row.end_frame_index) - max(self.start, row.start_frame_index) + 1

    @property
    def length(self) -> int:
        return self.end - self.start + 1


def merge_extents(
    extents: Sequence[PredictedExtent],
    existing: Sequence[CaptionRow],
    *,
    frame_count: int,
    same_frames: bool,
    now: str,
    seams: Collection[int] = (),
) -> Merged:
    """Fit `extents` to the `existing` rows of captions.db; the result partitions 0..frame_count-1.

    Confirmed rows keep exactly their range. The annotations of other rows move to the new row that shares
    more than half of both ranges and has the same state; without such a row the annotated row itself stays.
    With `same_frames` (the existing rows were read from the same cropped frames) an unchanged row keeps
    everything, readings included, and boundaries in `seams` stay removed. Merging the same extents twice
    gives the same rows. Raises ValueError if extents overlap.
    """
    extents = sorted(extents, key=lambda extent: extent.start_frame_index)
    seams = frozenset(seams) if same_frames else frozenset[int]()
    stretches = _join_at_seams(_stretches(extents, frame_count), seams)
    fixed = [row for row in existing if row.state == "confirmed"]
    movable = [row for row in existing if row.state != "confirmed" and row.annotated]
    while True:
        pieces = _clip(stretches, fixed)
        matches = {id(row): _match(row, pieces) for row in movable}
        stranded = [row for row in movable if matches[id(row)] is None]
        if not stranded:
            break
        fixed += stranded
        movable = [row for row in movable if matches[id(row)] is not None]

    annotations = {matches[id(row)]: row for row in movable}
    by_range = {_span(row): row for row in existing}
    rows = [row if same_frames else _unread(row) for row in fixed]
    for piece in pieces:
        previous = annotations.get(piece) or by_range.get((piece.start, piece.end))
        rows.append(_row(piece, previous, same_frames, now))
    rows.sort(key=_span)
    return Merged([_with_times(row, extents) for row in rows], seams)


def frames_to_read(row: CaptionRow, rests: Sequence[tuple[int, int]]) -> FrameRange:
    """The frames of the row that show its text best: where a caption that comes or goes in motion is at rest
    (`rests`, first and last frame), else all of them."""
    parts = [
        FrameRange(
            start_frame=max(row.start_frame_index, first), end_frame=min(row.end_frame_index, last) + 1
        )
        for first, last in rests
        if first <= row.end_frame_index and last >= row.start_frame_index
    ]
    return max(parts, key=lambda part: part.end_frame - part.start_frame, default=row.frames)


def apply_readings(
    rows: Sequence[CaptionRow], readings: Mapping[tuple[int, int], CaptionOcrResult], now: str
) -> list[CaptionRow]:
    """Write OCR results into the rows; `readings` is keyed by (start, end INCLUSIVE) frame index.

    A predicted caption in which nothing is legible becomes a gap, unless somebody annotated it. A failure is
    kept as status `error` and never as an empty caption. Annotators' texts are left alone.
    """
    return [
        _read(row, readings[_span(row)], now) if _span(row) in readings and row.is_caption else row
        for row in rows
    ]


def merge_same_text(rows: Sequence[CaptionRow], seams: Collection[int], now: str) -> Merged:
    """Join predicted captions that follow each other without a gap and read the same: one caption, split by
    mistake.

    Annotated, confirmed and unreadable rows are left alone. A removed boundary is remembered in the seams by
    the frame index where the later row began, so that the next merge of the same extents does not bring it
    back.
    """
    joined: list[CaptionRow] = []
    removed = set(seams)
    for row in rows:
        if joined and _same_caption(joined[-1], row):
            removed.add(row.start_frame_index)
            joined[-1] = _join(joined[-1], row, now)
        else:
            joined.append(row)
    return Merged(joined, frozenset(removed))


def _stretches(extents: Sequence[PredictedExtent], frame_count: int) -> list[_Piece]:
    """The sorted extents, cut at the end of the grid, with gaps where they leave something out."""
    result: list[_Piece] = []
    position = 0
    for extent in extents:
        start, end = extent.start_frame_index, min(extent.end_frame_index, frame_count - 1)
        if start < position:
            raise ValueError(f"the extents overlap at frame {start}")
        if start > end:
            continue
        if start > position:
            result.append(_Piece(position, start - 1, "gap", None))
        result.append(_Piece(start, end, extent.state, extent.confidence))
        position = end + 1
    if position < frame_count:
        result.append(_Piece(position, frame_count - 1, "gap", None))
    return result


def _join_at_seams(stretches: Sequence[_Piece], seams: frozenset[int]) -> list[_Piece]:
    result: list[_Piece] = []
    for piece in stretches:
        last = result[-1] if result else None
        if last and piece.start in seams and last.state == piece.state == "predicted":
            weaker = min(confidence for p in (last, piece) if (confidence := p.confidence) is not None)
            result[-1] = _Piece(last.start, piece.end, "predicted", weaker)
        else:
            result.append(piece)
    return result


def _clip(stretches: Sequence[_Piece], fixed: Sequence[CaptionRow]) -> list[_Piece]:
    """What the fixed rows leave of the stretches; gaps that now touch become one.

    A predicted caption mostly covered by confirmed rows is theirs, so the rest of it is a gap.
    """
    pieces: list[_Piece] = []
    taken = sorted(_span(row) for row in fixed)
    confirmed = sorted(_span(row) for row in fixed if row.state == "confirmed")
    for stretch in stretches:
        covered = 2 * sum(piece.length for piece in _subtract(stretch, confirmed)) < stretch.length
        for piece in _subtract(stretch, taken):
            if covered or (piece != stretch and piece.length < _SHORTEST_REMAINDER):
                piece = replace(piece, state="gap")
            last = pieces[-1] if pieces else None
            if last and last.state == piece.state == "gap" and last.end + 1 == piece.start:
                pieces[-1] = replace(last, end=piece.end)
            else:
                pieces.append(piece)
    return pieces


def _span(row: CaptionRow) -> tuple[int, int]:
    return row.start_frame_index, row.end_frame_index


def _subtract(stretch: _Piece, taken: Sequence[tuple[int, int]]) -> list[_Piece]:
    remains: list[_Piece] = []
    start = stretch.start
    for first, last in taken:
        if last < start or first > stretch.end:
            continue
        if first > start:
            remains.append(replace(stretch, start=start, end=first - 1))
        start = last + 1
    if start <= stretch.end:
        remains.append(replace(stretch, start=start))
    return remains


def _match(row: CaptionRow, pieces: Sequence[_Piece]) -> _Piece | None:
    """The piece of the row's state that shares more than half of both; at most one can."""
    first = bisect_left(pieces, row.start_frame_index, key=lambda piece: piece.end)
    for piece in pieces[first:]:
        if piece.start > row.end_frame_index:
            return None
        if 2 * piece.overlap(row) > max(piece.length, row.frame_count) and piece.state == row.state:
            return piece
    return None


def _row(piece: _Piece, previous: CaptionRow | None, same_frames: bool, now: str) -> CaptionRow:
    """The row for a piece; `previous` is the row it continues."""
    pending = piece.state != "gap"
    fresh = CaptionRow(
        start_frame_index=piece.start,
        end_frame_index=piece.end,
        state=piece.state,
        extents_pending=pending,
        extents_updated_at=now,
        text_pending=piece.state == "predicted",
        ocr_status="queued" if piece.state == "predicted" else None,
        created_at=now,
        extents_confidence=piece.confidence,
    )
    if previous is None:
        return fresh
    same_range = _span(previous) == (piece.start, piece.end)
    read_and_empty = (
        piece.state == "predicted" and previous.state == "gap" and previous.ocr_status == "completed"
    )
    if same_range and same_frames and (previous.state == piece.state or read_and_empty):
        return previous
    return replace(
        fresh,
        id=previous.id,
        created_at=previous.created_at,
        extents_updated_at=previous.extents_updated_at
        if same_range and previous.state == piece.state
        else now,
        text=previous.text,
        text_pending=previous.text_pending if previous.annotated else fresh.text_pending,
        text_status=previous.text_status,
        text_notes=previous.text_notes,
        text_updated_at=previous.text_updated_at,
    )


def _unread(row: CaptionRow) -> CaptionRow:
    """A row that stays although its pictures are new: read it again, keep the old reading until then."""
    return replace(row, ocr_status="queued") if row.is_caption else row


def _with_times(row: CaptionRow, extents: Sequence[PredictedExtent]) -> CaptionRow:
    """Exact times for the boundaries that are predicted boundaries; the others fall back to the grid."""
    first = bisect_left(extents, row.start_frame_index, key=lambda extent: extent.start_frame_index)
    last = bisect_left(extents, row.end_frame_index, key=lambda extent: extent.end_frame_index)
    start_s = end_s = None
    if first < len(extents) and extents[first].start_frame_index == row.start_frame_index:
        start_s = extents[first].start_s
    if last < len(extents) and extents[last].end_frame_index == row.end_frame_index:
        end_s = extents[last].end_s
    return replace(row, start_s=start_s, end_s=end_s)


def _read(row: CaptionRow, reading: CaptionOcrResult, now: str) -> CaptionRow:
    if reading.error is not None:
        return replace(
            row,
            ocr_status="error",
            ocr_error=reading.error,
            ocr_processed_at=now,
            text_pending=row.text is None,
        )
    doubtful = not reading.ocr_text or reading.confidence < DOUBTFUL_CONFIDENCE
    read = replace(
        row,
        caption_ocr=reading.ocr_text,
        ocr_confidence=reading.confidence,
        ocr_status="completed",
        ocr_error=None,
        ocr_processed_at=now,
        image_needs_regen=False,
        text_pending=doubtful if row.text is None else row.text_pending,
    )
    if not reading.ocr_text and row.state == "predicted" and not row.annotated:
        return replace(read, state="gap", extents_pending=False, text_pending=False, extents_updated_at=now)
    return read


def _same_caption(a: CaptionRow, b: CaptionRow) -> bool:
    return (
        a.end_frame_index + 1 == b.start_frame_index
        and all(row.state == "predicted" and not row.annotated for row in (a, b))
        and all(row.ocr_status == "completed" for row in (a, b))
        and _normalised(a.caption_ocr) == _normalised(b.caption_ocr) != ""
    )


def _normalised(text: str | None) -> str:
    return "".join(unicodedata.normalize("NFKC", text or "").split())


def _join(a: CaptionRow, b: CaptionRow, now: str) -> CaptionRow:
    """One row over both, keeping the first's id and the more confident reading."""
    better = max(a, b, key=lambda row: row.ocr_confidence or 0.0)
    return replace(
        a,
        end_frame_index=b.end_frame_index,
        end_s=b.end_s,
        extents_updated_at=now,
        caption_ocr=better.caption_ocr,
        ocr_confidence=better.ocr_confidence,
        text_pending=better.text_pending,
    )


def check_no_overlap(rows: Sequence[CaptionRow]) -> list[str]:
    """One sentence for each place where two rows overlap; empty when all is well."""
    ordered = sorted(rows, key=_span)
    return [
        f"Rows {_span(a)} and {_span(b)} overlap."
        for a, b in pairwise(ordered)
        if b.start_frame_index <= a.end_frame_index
    ]
