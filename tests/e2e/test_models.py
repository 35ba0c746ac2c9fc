"""A re-run can name the model; which one made an artifact is on record everywhere."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest

from captionacc_dagster.catalog.protocol import Catalog, Video
from captionacc_dagster.definitions import build_definitions
from captionacc_dagster.settings import Settings
from gpu_ops import database
from gpu_ops.contract import VideoKeys
from gpu_ops.extents import registry
from gpu_ops.store import ObjectStore
from tests.e2e.conftest import Captionacc

pytestmark = pytest.mark.slow


def models_on_record(store: ObjectStore, video: Video, scratch: Path) -> tuple[str, str]:
    """The model that the extents and the captions in the store say they come from."""
    keys = VideoKeys(video.tenant_id, video.id)
    answers: list[str] = []
    for key, query in (
        (keys.caption_frame_extents_db, "SELECT model_version FROM run_metadata"),
        (keys.captions_db, "SELECT value FROM database_metadata WHERE key = 'model_version'"),
    ):
        path = scratch / "asked.db"
        assert database.fetch(store, key, path)
        with closing(sqlite3.connect(path)) as connection:
            answers.append(connection.execute(query).fetchone()[0])
    extents, captions = answers
    return extents, captions


def test_a_film_is_done_again_with_the_model_before_and_only_once(
    processed: Path, captionacc: Captionacc, film: Path, tmp_path: Path, catalog: Catalog, store: ObjectStore
) -> None:
    (video,) = catalog.videos()
    current, previous, *_ = (record.version for record in registry.models())
    assert models_on_record(store, video, tmp_path) == (current, current)

    for _ in range(2):
        done = captionacc("process", film, "--out", tmp_path, "--model", previous)
        assert done.returncode == 0, done.stderr
        assert models_on_record(store, video, tmp_path) == (previous, previous)
        assert catalog.video(video.id).current_cropped_frames_version == 2

    done = captionacc("process", film, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert models_on_record(store, video, tmp_path) == (current, current)


def test_a_run_that_names_an_unknown_model_fails_with_the_known_ones_and_leaves_the_video_alone(
    processed: Path, catalog: Catalog, settings: Settings, instance: dg.DagsterInstance
) -> None:
    (before,) = catalog.videos()
    job = build_definitions(settings).resolve_job_def("crop_and_infer")
    result = job.execute_in_process(
        instance=instance,
        partition_key=before.id,
        raise_on_error=False,
        run_config={"ops": {"crop_and_infer_extents": {"config": {"model_version": "zzz"}}}},
    )
    (failure,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert failure.user_failure_data is not None
    assert str(failure.user_failure_data.description).startswith("There is no pair model of version zzz; ins")
    assert catalog.video(before.id) == before
