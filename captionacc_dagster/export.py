"""A video's captions as files beside each other: `<stem>.srt`, `.vtt`, `.json`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from captionacc_dagster.artifacts import read_captions
from captionacc_dagster.catalog.protocol import Video
from gpu_ops.captions import subtitles
from gpu_ops.captions.rows import CaptionRow
from gpu_ops.captions.subtitles import Cue
from gpu_ops.store import ObjectStore

FORMATS: Mapping[str, Callable[[Sequence[CaptionRow]], str]] = {
    "srt": subtitles.srt_of,
    "vtt": subtitles.vtt_of,
    "json": subtitles.json_of,
}
LONGEST_NAME_BYTES = 200


def export(
    store: ObjectStore, video: Video, folder: Path, formats: Sequence[str]
) -> tuple[list[Cue], list[Path]]:
    """Write the video's captions into `folder` (made where absent) and answer them with the files' paths.

    They are named after the video. Files are replaced whole. Raises MissingObject while it has no captions.
    """
    rows = read_captions(store, video)
    files = write_captions(rows, folder, formats, stem=_stem_of(video.display_path), fallback=video.id)
    return subtitles.cues(rows), files


def write_captions(
    rows: Sequence[CaptionRow], folder: Path, formats: Sequence[str], *, stem: str, fallback: str
) -> list[Path]:
    """Write captions into `folder` (made where absent), a file for each format, each replaced whole.

    `fallback` names the files where nothing of `stem` can be part of a file name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = safe_stem(stem, fallback=fallback)
    return [_write(folder / f"{name}.{kind}", FORMATS[kind](rows)) for kind in formats]


def safe_stem(stem: str, *, fallback: str) -> str:
    """`stem` as a file name that stays in its folder and can be typed; `fallback` if nothing remains."""
    kept = "".join(char if char.isprintable() and char not in '/\\:*?"<>|' else "_" for char in stem)
    short = kept.encode("utf-8", "replace")[:LONGEST_NAME_BYTES].decode("utf-8", "ignore")
    return short.strip(" .") or fallback


def _stem_of(display_path: str) -> str:
    name = display_path.replace("\\", "/").rsplit("/", 1)[-1]
    return name.rsplit(".", 1)[0] or name


def _write(path: Path, text: str) -> Path:
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8", newline="\n")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path
