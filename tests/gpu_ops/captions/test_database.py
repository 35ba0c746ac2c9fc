"""captions.db as clients see it: the contract's columns, stable ids, and files that others wrote."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from gpu_ops.captions.database import read_metadata, read_rows, read_seams, write_rows
from gpu_ops.captions.rows import CaptionRow

ROWS = [
    CaptionRow(start_frame_index=0, end_frame_index=9, state="gap", created_at="2026-01-01T00:00:00.000Z"),
    CaptionRow(
        start_frame_index=10,
        end_frame_index=29,
        text="字幕\nsecond line",
        text_pending=True,
        caption_ocr="字募",
        ocr_status="completed",
        start_s=1.01,
        end_s=2.98,
        extents_confidence=0.9,
        ocr_confidence=0.7,
        created_at="2026-01-01T00:00:00.000Z",
    ),
]


def test_rows_come_back_as_they_were_written(tmp_path: Path):
    path = tmp_path / "captions.db"
    stored = write_rows(path, ROWS, seams={5, 3}, metadata={"cropped_frames_version": "2"})
    assert [replace(row, id=None) for row in stored] == ROWS
    assert read_rows(path) == stored
    assert read_seams(path) == {3, 5}
    assert read_metadata(path) == {"schema_version": "2", "cropped_frames_version": "2"}


def test_ids_stay_and_rows_that_are_gone_are_deleted(tmp_path: Path):
    path = tmp_path / "captions.db"
    gap, caption = write_rows(path, ROWS)
    later = write_rows(path, [replace(caption, text="edited"), replace(gap, id=None, end_frame_index=4)])
    assert [row.id for row in later if row.text == "edited"] == [caption.id]
    assert len(later) == 2


def test_the_schema_is_the_contract_s(tmp_path: Path):
    path = tmp_path / "captions.db"
    write_rows(path, ROWS)
    db = sqlite3.connect(path)
    columns = [row[1] for row in db.execute("PRAGMA table_info(captions)")]
    assert columns == [
        *("id", "start_frame_index", "end_frame_index", "caption_frame_extents_state"),
        *("caption_frame_extents_pending", "caption_frame_extents_updated_at", "text", "text_pending"),
        *("text_status", "text_notes", "caption_ocr", "text_updated_at", "image_needs_regen"),
        *("caption_ocr_status", "caption_ocr_error", "caption_ocr_processed_at", "created_at"),
    ]
    tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in tables:
        for _, name, _, not_null, default, primary_key in db.execute(f"PRAGMA table_info({table})"):
            assert primary_key or not not_null or default is not None, f"{table}.{name} needs a DEFAULT"
    indices = " ".join(
        sql for (sql,) in db.execute("SELECT sql FROM sqlite_master WHERE type = 'index' AND sql != ''")
    )
    for column in ("start_frame_index, end_frame_index", "extents_pending", "text_pending"):
        assert column in indices


def test_a_file_that_a_client_wrote_without_our_tables_is_read(tmp_path: Path):
    path = tmp_path / "captions.db"
    write_rows(path, ROWS)
    db = sqlite3.connect(path)
    db.executescript("DROP TABLE caption_details; DROP TABLE caption_seams")
    db.execute("INSERT INTO captions (start_frame_index, end_frame_index, text) VALUES (30, 39, 'added')")
    db.commit()
    assert read_seams(path) == frozenset()
    added = read_rows(path)[-1]
    assert (added.text, added.state, added.needs_reading) == ("added", "predicted", True)


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path):
    path = tmp_path / "captions.db"
    before = write_rows(path, ROWS)
    broken = replace(ROWS[0], state="nonsense")  # type: ignore[arg-type]
    with pytest.raises(sqlite3.IntegrityError):
        write_rows(path, [broken])
    assert read_rows(path) == before


def test_a_video_without_captions_db_has_no_rows(tmp_path: Path):
    assert read_rows(tmp_path / "none.db") == []
    assert not (tmp_path / "none.db").exists()
