"""Caption rows as subtitles: SRT, WebVTT and JSON. Standard library only."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise

from gpu_ops.captions.rows import CaptionRow
from gpu_ops.contract import GRID_HZ

_SHORTEST_CUE = 0.001


@dataclass(frozen=True, kw_only=True)
class Cue:
    """One subtitle: seconds since the first frame (end exclusive), grid frames (end INCLUSIVE), confidence
    0-1.
    """

    start_s: float
    end_s: float
    start_frame_index: int
    end_frame_index: int
    text: str
    confidence: float | None


def cues(rows: Sequence[CaptionRow], *, unread: bool = False) -> list[Cue]:
    """The captions that have a text, in order: the annotator's text where there is one, else what OCR read.

    With `unread` also those that OCR failed on or whose script it does not know, with an empty text.
    Times are the refined ones (to half a source frame) where they are known, else those of the 10 Hz grid,
    `end_s = (end_frame_index + 1) / 10`. A cue never reaches into the next. A text an annotator wrote has
    confidence 1.
    """
    found = [
        cue for row in rows if row.is_caption and ((cue := _cue(row)).text or (unread and _is_unread(row)))
    ]
    found.sort(key=lambda cue: (cue.start_s, cue.end_s))
    shortened = [
        replace(cue, end_s=min(cue.end_s, following.start_s)) if following.start_s > cue.start_s else cue
        for cue, following in pairwise(found)
    ]
    return shortened + found[-1:]


def to_srt(subtitles: Sequence[Cue]) -> str:
    """SubRip text. SRT has no escapes, so an arrow inside a caption is written as one character."""
    return "".join(
        f"{number}\n{_clock(cue.start_s, ',')} --> {_clock(cue.end_s, ',')}\n{_without_arrow(cue.text)}\n\n"
        for number, cue in enumerate(subtitles, 1)
    )


def to_vtt(subtitles: Sequence[Cue]) -> str:
    """WebVTT text (W3C WebVTT: &, < and > are escaped, which covers the arrow too)."""
    return "WEBVTT\n\n" + "".join(
        f"{_clock(cue.start_s, '.')} --> {_clock(cue.end_s, '.')}\n{_escaped(cue.text)}\n\n"
        for cue in subtitles
    )


def to_json(subtitles: Sequence[Cue]) -> str:
    """A JSON list of objects with the fields of Cue; times in seconds, rounded to the millisecond."""
    entries = [
        asdict(replace(cue, start_s=round(cue.start_s, 3), end_s=round(cue.end_s, 3))) for cue in subtitles
    ]
    return json.dumps(entries, ensure_ascii=False, indent=2) + "\n"


def srt_of(rows: Sequence[CaptionRow]) -> str:
    """The captions as SubRip text."""
    return to_srt(cues(rows))


def vtt_of(rows: Sequence[CaptionRow]) -> str:
    """The captions as WebVTT text."""
    return to_vtt(cues(rows))


def json_of(rows: Sequence[CaptionRow]) -> str:
    """The captions as JSON, unread ones too: when a caption is on screen does not depend on reading it."""
    return to_json(cues(rows, unread=True))


def _is_unread(row: CaptionRow) -> bool:
    return row.text is None and row.ocr_status == "error"


def _cue(row: CaptionRow) -> Cue:
    start_s = row.start_frame_index / GRID_HZ if row.start_s is None else row.start_s
    end_s = (row.end_frame_index + 1) / GRID_HZ if row.end_s is None else row.end_s
    return Cue(
        start_s=start_s,
        end_s=max(end_s, start_s + _SHORTEST_CUE),
        start_frame_index=row.start_frame_index,
        end_frame_index=row.end_frame_index,
        text=_cleaned(row.caption_ocr if row.text is None else row.text),
        confidence=row.ocr_confidence if row.text is None else 1.0,
    )


def _cleaned(text: str | None) -> str:
    """Line breaks kept; blank lines, which would end a cue, and control characters dropped."""
    lines = (
        "".join(char for char in line if unicodedata.category(char) != "Cc")
        for line in (text or "").splitlines()
    )
    return "\n".join(stripped for line in lines if (stripped := line.strip()))


def _without_arrow(text: str) -> str:
    return text.replace("-->", "→")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{milliseconds // 1000:02d}{point}{milliseconds % 1000:03d}"
