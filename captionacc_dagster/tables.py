"""What the commands print: tables for people, JSON for programs."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from captionacc_dagster.catalog.protocol import CroppedFramesVersion, Video
from captionacc_dagster.doctor import Finding
from captionacc_dagster.progress import printable
from gpu_ops.captions.subtitles import Cue
from gpu_ops.extents.registry import ModelRecord

# Where nobody looks at a screen, a row is better long than folded.
PIPE_COLUMNS = 240

_COLOURS = {
    "ok": "green",
    "note": "yellow",
    "missing": "red",
    "active": "green",
    "ready": "green",
    "processing": "cyan",
    "error": "red",
}


def print_json(data: object) -> None:
    """Write `data` to standard output as JSON; times become ISO-8601."""
    print(json.dumps(data, ensure_ascii=False, indent=2, default=_plain))


def print_line(text: str) -> None:
    """Write one line to standard output, safe for a terminal."""
    _console().print(Text(printable(text)), soft_wrap=True)


def video_facts(video: Video) -> Mapping[str, Any]:
    """A video as JSON-ready data."""
    return dataclasses.asdict(video)


def print_videos(videos: Sequence[Video]) -> None:
    """One row a video."""
    rows = [
        (video.id, video.display_path, video.status, video.caption_status or "", video.error_message or "")
        for video in videos
    ]
    _print_table(("video", "file", "status", "captions", "what went wrong"), rows)


def print_video(video: Video, versions: Sequence[CroppedFramesVersion]) -> None:
    """Everything the catalog knows about one video."""
    rows = [
        (name.replace("_", " "), _shown(value))
        for name, value in dataclasses.asdict(video).items()
        if value not in (None, "")
    ]
    rows += [
        (f"cropped frames v{each.version}", f"{each.status}, {each.total_frames or 0} frames")
        for each in versions
    ]
    _print_table(("", ""), rows)


def print_cues(cues: Sequence[Cue]) -> None:
    """One row a caption."""
    rows = [
        (
            f"{cue.start_s:.1f}",
            f"{cue.end_s:.1f}",
            "\n".join(printable(line) for line in cue.text.splitlines()),
            "" if cue.confidence is None else f"{cue.confidence:.2f}",
        )
        for cue in cues
    ]
    _print_table(("start (s)", "end (s)", "text", "confidence"), rows)


def print_models(records: Sequence[ModelRecord]) -> None:
    """One row a model; the first is the current one."""
    rows = [
        (
            record.version,
            record.created_at[:10],
            "not scored" if record.f1 is None else f"{record.f1:.3f}",
            "current" if number == 0 else "",
        )
        for number, record in enumerate(records)
    ]
    _print_table(("model", "made", "F1 at 0.1 s", ""), rows)


def print_findings(findings: Sequence[Finding]) -> None:
    """One row a finding."""
    rows = [(each.what, each.state, each.detail, each.remedy) for each in findings]
    _print_table(("", "state", "found", "what to do"), rows)


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(show_header=any(columns), box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in ("video", "state"))
    for row in rows:
        table.add_row(*(Text(_clean(cell), style=_COLOURS.get(cell, "")) for cell in row))
    _console().print(table)


def _clean(cell: str) -> str:
    return "\n".join(printable(line) for line in cell.split("\n"))


def _console() -> Console:
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else PIPE_COLUMNS, highlight=False)


def _shown(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {count}" for key, count in value.items())
    return str(value)


def _plain(value: object) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)
