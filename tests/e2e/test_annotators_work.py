"""What annotators did survives every re-run: labels, confirmed captions, edited texts, an approved region."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import dagster as dg
import pytest

from captionacc_dagster.catalog.protocol import Catalog, Video
from captionacc_dagster.definitions import build_definitions
from captionacc_dagster.settings import Settings
from gpu_ops import database
from gpu_ops.contract import VideoKeys
from gpu_ops.store import ObjectStore
from tests.e2e.conftest import Captionacc

pytestmark = pytest.mark.slow

CROP = "SELECT crop_left, crop_top, crop_right, crop_bottom FROM layout_config"
PREDICTED = "SELECT id FROM captions WHERE caption_frame_extents_state = 'predicted' ORDER BY id LIMIT 3"


@contextmanager
def edited(store: ObjectStore, key: str, scratch: Path) -> Iterator[sqlite3.Connection]:
    """The database as the annotation app writes it: fetched, changed, put back."""
    path = scratch / "edited.db"
    assert database.fetch(store, key, path)
    with closing(sqlite3.connect(path)) as connection, connection:
        yield connection
    database.publish(store, key, path)


def test_labels_confirmed_captions_and_texts_survive_a_run_of_every_stage(
    processed: Path,
    captionacc: Captionacc,
    tmp_path: Path,
    catalog: Catalog,
    store: ObjectStore,
    settings: Settings,
    instance: dg.DagsterInstance,
) -> None:
    (video,) = catalog.videos()
    keys = VideoKeys(video.tenant_id, video.id)
    with edited(store, keys.layout_db, tmp_path) as db:
        db.execute("UPDATE boxes SET label = 'in', label_updated_at = '2026-01-01T00:00:00+00:00'")
        (labelled,) = db.execute("SELECT count(*) FROM boxes").fetchone()
        region = db.execute(CROP).fetchone()
    with edited(store, keys.captions_db, tmp_path) as db:
        confirmed, written, noted = (row[0] for row in db.execute(PREDICTED))
        db.execute(
            "UPDATE captions SET caption_frame_extents_state = 'confirmed', "
            "end_frame_index = end_frame_index - 2 WHERE id = ?",
            (confirmed,),
        )
        db.execute("UPDATE captions SET text = 'A better text', text_status = 'ok' WHERE id = ?", (written,))
        db.execute("UPDATE captions SET text_notes = 'check the name' WHERE id = ?", (noted,))
        before = rows(db, (confirmed, written, noted))

    rerun(settings, instance, video)

    with edited(store, keys.layout_db, tmp_path) as db:
        assert db.execute("SELECT count(*) FROM boxes WHERE label = 'in'").fetchone() == (labelled,)
        assert db.execute(CROP).fetchone() == region
    with edited(store, keys.captions_db, tmp_path) as db:
        assert rows(db, (confirmed, written, noted)) == before
    exported = captionacc("export", "film.mp4", "--out", tmp_path / "after")
    assert exported.returncode == 0, exported.stderr
    assert "A better text" in (tmp_path / "after" / "film.srt").read_text()


def rows(db: sqlite3.Connection, ids: tuple[int, ...]) -> list[tuple[object, ...]]:
    """What the annotator did, and where."""
    marks = ", ".join("?" * len(ids))
    return db.execute(
        "SELECT id, start_frame_index, end_frame_index, caption_frame_extents_state, text, "
        f"text_status, text_notes FROM captions WHERE id IN ({marks}) ORDER BY id",
        ids,
    ).fetchall()


def rerun(settings: Settings, instance: dg.DagsterInstance, video: Video) -> None:
    """Every stage once more, as an operator who materializes everything from the UI."""
    definitions = build_definitions(settings)
    for job in ("video_initial_processing", "crop_and_infer", "caption_ocr"):
        result = definitions.resolve_job_def(job).execute_in_process(
            instance=instance, partition_key=video.id, raise_on_error=True
        )
        assert result.success
