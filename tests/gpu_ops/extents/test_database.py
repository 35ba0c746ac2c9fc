from __future__ import annotations

import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gpu_ops.extents import database
from gpu_ops.extents.pieces import Rest
from gpu_ops.extents.predict import ExtentPredictor, Prediction
from tests.gpu_ops.extents.plain_model import Frame, PlainModel, strip

BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RUN = database.RunRecord(
    run_id="run-1", cropped_frames_version=3, started_at=BEGAN, completed_at=BEGAN + timedelta(seconds=9)
)


@pytest.fixture
def prediction() -> Prediction:
    predictor = ExtentPredictor(PlainModel())
    for i in range(30):
        predictor.add(Frame(i, i / 10, (i + 1) / 10, strip(1 if 10 <= i < 20 else 0)))
    return predictor.finish()


def test_what_is_written_is_read_back(tmp_path: Path, prediction: Prediction) -> None:
    path = tmp_path / "caption_frame_extents.db"
    database.write(path, prediction, RUN)
    extents = database.read_extents(path)
    assert [(e.start_frame_index, e.end_frame_index, e.state) for e in extents] == [
        (0, 9, "gap"),
        (10, 19, "predicted"),
        (20, 29, "gap"),
    ]
    assert [(e.start_s, e.end_s) for e in extents] == [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)]


def test_there_is_one_row_per_consecutive_pair_with_both_directions(
    tmp_path: Path, prediction: Prediction
) -> None:
    path = tmp_path / "caption_frame_extents.db"
    database.write(path, prediction, RUN)
    with sqlite3.connect(path) as connection:
        rows = connection.execute(
            "SELECT frame1_index, frame2_index, forward_predicted_label, backward_predicted_label,"
            " forward_prob_empty_valid, backward_prob_valid_empty, forward_confidence"
            " FROM pair_results ORDER BY id"
        ).fetchall()
        run = connection.execute("SELECT * FROM run_metadata").fetchall()
    assert [row[:2] for row in rows] == [(i, i + 1) for i in range(29)]
    assert rows[9][2:4] == ("empty_valid", "valid_empty")
    assert rows[9][4] == pytest.approx(0.96)
    assert rows[9][5] == pytest.approx(0.96)
    assert rows[9][6] == pytest.approx(0.96)
    assert run == [(3, "plain", "plain", "run-1", BEGAN.isoformat(), RUN.completed_at.isoformat(), 29, 9.0)]


def test_where_moving_captions_are_at_rest_is_read_back_and_an_older_run_knows_of_none(
    tmp_path: Path, prediction: Prediction
) -> None:
    path = tmp_path / "caption_frame_extents.db"
    database.write(path, replace(prediction, rests=[Rest(12, 19), Rest(24, 26)]), RUN)
    assert database.read_rests(path) == [(12, 19), (24, 26)]
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE rests")
    assert database.read_rests(path) == []


def test_a_run_is_written_only_once(tmp_path: Path, prediction: Prediction) -> None:
    path = tmp_path / "caption_frame_extents.db"
    database.write(path, prediction, RUN)
    with pytest.raises(FileExistsError, match="written once"):
        database.write(path, prediction, RUN)


def test_the_control_plane_reads_extents_and_versions_without_pixel_libraries() -> None:
    code = (
        "import sys\n"
        "for name in ('numpy', 'cv2', 'av', 'torch', 'onnxruntime'): sys.modules[name] = None\n"
        "from gpu_ops.extents import database, labels, registry\n"
        "assert registry.current_version()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
