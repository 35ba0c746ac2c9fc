"""captions.db: the schema that the product's clients share, and reading and writing its rows.

Two tables are this project's own and hidden from nobody: `caption_details` keeps refined times and
confidences beside the rows, `caption_seams` the boundaries removed because both sides read the same. Standard
library only.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gpu_ops.captions.rows import CaptionRow

SCHEMA_VERSION = 2

_SCHEMA = """
CREATE TABLE IF NOT EXISTS database_metadata (
    key TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS captions (
    id INTEGER PRIMARY KEY NOT NULL,
    start_frame_index INTEGER NOT NULL DEFAULT 0,
    end_frame_index INTEGER NOT NULL DEFAULT 0,
    caption_frame_extents_state TEXT NOT NULL DEFAULT 'predicted'
        CHECK (caption_frame_extents_state IN ('predicted', 'confirmed', 'gap', 'issue')),
    caption_frame_extents_pending INTEGER NOT NULL DEFAULT 0,
    caption_frame_extents_updated_at TEXT,
    text TEXT,
    text_pending INTEGER NOT NULL DEFAULT 0,
    text_status TEXT,
    text_notes TEXT,
    caption_ocr TEXT,
    text_updated_at TEXT,
    image_needs_regen INTEGER NOT NULL DEFAULT 0,
    caption_ocr_status TEXT DEFAULT 'queued'
        CHECK (caption_ocr_status IN ('queued', 'processing', 'completed', 'error')),
    caption_ocr_error TEXT,
    caption_ocr_processed_at TEXT,
    created_at TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS idx_captions_frame_range ON captions (start_frame_index, end_frame_index);
CREATE INDEX IF NOT EXISTS idx_captions_extents_pending
    ON captions (caption_frame_extents_pending) WHERE caption_frame_extents_pending = 1;
CREATE INDEX IF NOT EXISTS idx_captions_text_pending ON captions (text_pending) WHERE text_pending = 1;
CREATE TABLE IF NOT EXISTS caption_details (
    caption_id INTEGER PRIMARY KEY NOT NULL,
    start_s REAL,
    end_s REAL,
    extents_confidence REAL,
    ocr_confidence REAL
);
CREATE TABLE IF NOT EXISTS caption_seams (frame_index INTEGER PRIMARY KEY NOT NULL);
"""

# captions.db's column for each field of CaptionRow that it holds
_COLUMNS: Mapping[str, str] = {
    "start_frame_index": "start_frame_index",
    "end_frame_index": "end_frame_index",
    "state": "caption_frame_extents_state",
    "extents_pending": "caption_frame_extents_pending",
    "extents_updated_at": "caption_frame_extents_updated_at",
    "text": "text",
    "text_pending": "text_pending",
    "text_status": "text_status",
    "text_notes": "text_notes",
    "caption_ocr": "caption_ocr",
    "text_updated_at": "text_updated_at",
    "image_needs_regen": "image_needs_regen",
    "ocr_status": "caption_ocr_status",
    "ocr_error": "caption_ocr_error",
    "ocr_processed_at": "caption_ocr_processed_at",
    "created_at": "created_at",
}
_DETAILS = ("start_s", "end_s", "extents_confidence", "ocr_confidence")
_FLAGS = ("extents_pending", "text_pending", "image_needs_regen")


def read_rows(path: Path) -> list[CaptionRow]:
    """Every row in order of its range; empty when the file does not exist. Works on files without our
    tables.
    """
    if not path.exists():
        return []
    with _open(path) as db:
        details = {row[0]: row[1:] for row in _select(db, "caption_details", ("caption_id", *_DETAILS))}
        order = "ORDER BY start_frame_index, end_frame_index, id"
        rows = db.execute(f"SELECT id, {', '.join(_COLUMNS.values())} FROM captions {order}").fetchall()
    return [_row(number, values, details.get(number, (None,) * len(_DETAILS))) for number, *values in rows]


def read_seams(path: Path) -> frozenset[int]:
    """The frame indices at which a predicted boundary was removed (see rows.merge_same_text)."""
    if not path.exists():
        return frozenset()
    with _open(path) as db:
        return frozenset(row[0] for row in _select(db, "caption_seams", ("frame_index",)))


def read_metadata(path: Path) -> dict[str, str]:
    """database_metadata as a dictionary; empty when the file does not exist."""
    if not path.exists():
        return {}
    with _open(path) as db:
        return dict(_select(db, "database_metadata", ("key", "value")))


def write_rows(
    path: Path,
    rows: Sequence[CaptionRow],
    *,
    seams: Collection[int] = (),
    metadata: Mapping[str, str] | None = None,
) -> list[CaptionRow]:
    """Make `path` hold exactly these rows and return them with their ids, creating the file if there is none.

    All in one transaction. Rows with an id update that row, rows without get a new one, others are deleted.
    `metadata` is added to database_metadata, for example {"cropped_frames_version": "3"}.
    """
    with _open(path) as db:
        db.executescript(_SCHEMA)
        with db:
            facts = {"schema_version": str(SCHEMA_VERSION), **(metadata or {})}
            db.executemany(
                "INSERT OR REPLACE INTO database_metadata (key, value) VALUES (?, ?)", facts.items()
            )
            kept = {row.id for row in rows if row.id is not None}
            gone = [(number,) for (number,) in db.execute("SELECT id FROM captions") if number not in kept]
            db.executemany("DELETE FROM captions WHERE id = ?", gone)
            db.execute("DELETE FROM caption_details")
            db.execute("DELETE FROM caption_seams")
            db.executemany("INSERT INTO caption_seams VALUES (?)", ((index,) for index in sorted(seams)))
            for row in rows:
                _store(db, row)
    return read_rows(path)


def _store(db: sqlite3.Connection, row: CaptionRow) -> None:
    columns = ("id", *_COLUMNS.values())
    values = (row.id, *(getattr(row, name) for name in _COLUMNS))
    marks = ", ".join("?" * len(columns))
    updates = ", ".join(f"{column} = excluded.{column}" for column in _COLUMNS.values())
    cursor = db.execute(
        f"INSERT INTO captions ({', '.join(columns)}) VALUES ({marks})"
        f" ON CONFLICT (id) DO UPDATE SET {updates}",
        values,
    )
    number = row.id if row.id is not None else cursor.lastrowid
    db.execute(
        f"INSERT INTO caption_details (caption_id, {', '.join(_DETAILS)}) VALUES (?, ?, ?, ?, ?)",
        (number, *(getattr(row, name) for name in _DETAILS)),
    )


def _row(number: int, values: Sequence[Any], details: Sequence[Any]) -> CaptionRow:
    fields: dict[str, Any] = dict(zip((*_COLUMNS, *_DETAILS), (*values, *details), strict=True))
    fields |= {name: bool(fields[name]) for name in _FLAGS}
    return CaptionRow(id=number, **fields)


def _select(db: sqlite3.Connection, table: str, columns: Sequence[str]) -> list[Any]:
    """The table's rows, none if this file has no such table."""
    if (
        db.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)).fetchone()
        is None
    ):
        return []
    return db.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall()


@contextmanager
def _open(path: Path) -> Generator[sqlite3.Connection]:
    db = sqlite3.connect(path)
    try:
        yield db
    finally:
        db.close()
