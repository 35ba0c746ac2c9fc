"""caption_frame_extents.db: one immutable inference run in SQLite. Standard library only, so the control
plane reads it.

Pair probabilities come as rows of five numbers in the order of labels.LABELS; any sequence of sequences will
do.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from gpu_ops.extents.labels import LABELS

_PROBABILITY_COLUMNS = [f"{way}_prob_{label}" for way in ("forward", "backward") for label in LABELS]
_SCHEMA = f"""
CREATE TABLE run_metadata(
    cropped_frames_version INTEGER NOT NULL,
    model_version TEXT NOT NULL,
    model_checkpoint_path TEXT NOT NULL,
    run_id TEXT PRIMARY KEY,
    started_at TEXT NOT NULL,
    completed_at TEXT NOT NULL,
    total_pairs INTEGER NOT NULL,
    processing_time_seconds REAL NOT NULL
);
CREATE TABLE pair_results(
    id INTEGER PRIMARY KEY,
    frame1_index INTEGER NOT NULL,
    frame2_index INTEGER NOT NULL,
    forward_predicted_label TEXT NOT NULL,
    forward_confidence REAL NOT NULL,
    {" REAL NOT NULL, ".join(_PROBABILITY_COLUMNS[:5])} REAL NOT NULL,
    backward_predicted_label TEXT NOT NULL,
    backward_confidence REAL NOT NULL,
    {" REAL NOT NULL, ".join(_PROBABILITY_COLUMNS[5:])} REAL NOT NULL,
    processing_time_ms REAL NOT NULL,
    UNIQUE(frame1_index, frame2_index)
);
CREATE TABLE extents(
    start_frame_index INTEGER PRIMARY KEY,
    end_frame_index INTEGER NOT NULL,
    state TEXT NOT NULL CHECK(state IN ('predicted', 'gap', 'issue')),
    confidence REAL NOT NULL,
    start_s REAL NOT NULL,
    end_s REAL NOT NULL
);
CREATE TABLE rests(
    first_frame_index INTEGER PRIMARY KEY,
    last_frame_index INTEGER NOT NULL
);
"""


class _Extent(Protocol):
    @property
    def start_frame_index(self) -> int: ...
    @property
    def end_frame_index(self) -> int: ...
    @property
    def state(self) -> str: ...
    @property
    def confidence(self) -> float: ...
    @property
    def start_s(self) -> float: ...
    @property
    def end_s(self) -> float: ...


class _Rest(Protocol):
    @property
    def first(self) -> int: ...
    @property
    def last(self) -> int: ...


class _Prediction(Protocol):
    @property
    def forward(self) -> Any: ...
    @property
    def backward(self) -> Any: ...
    @property
    def extents(self) -> Sequence[_Extent]: ...
    @property
    def rests(self) -> Sequence[_Rest]: ...
    @property
    def model_version(self) -> str: ...
    @property
    def model_checkpoint_path(self) -> str: ...


@dataclass(frozen=True)
class StoredExtent:
    """A row of `extents`: frames inclusive at both ends, times in seconds with `end_s` exclusive."""

    start_frame_index: int
    end_frame_index: int
    state: Literal["predicted", "gap", "issue"]
    confidence: float
    start_s: float
    end_s: float


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What run_metadata says besides the model; times are aware datetimes."""

    run_id: str
    cropped_frames_version: int
    started_at: datetime
    completed_at: datetime


def write(path: Path, prediction: _Prediction, run: RunRecord) -> None:
    """Create the database at `path` (which must not exist) from a prediction. Raises FileExistsError."""
    if path.exists():
        raise FileExistsError(f"{path} exists already; an inference run is written once")
    pairs = len(prediction.forward)
    seconds = (run.completed_at - run.started_at).total_seconds()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(_SCHEMA)
        connection.execute(
            "INSERT INTO run_metadata VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                run.cropped_frames_version,
                prediction.model_version,
                prediction.model_checkpoint_path,
                run.run_id,
                run.started_at.isoformat(),
                run.completed_at.isoformat(),
                pairs,
                seconds,
            ),
        )
        marks = ", ".join("?" * 17)
        connection.executemany(
            f"INSERT INTO pair_results VALUES (NULL, {marks})",
            _pair_rows(prediction, seconds * 1000 / max(1, pairs)),
        )
        connection.executemany(
            "INSERT INTO extents VALUES (?, ?, ?, ?, ?, ?)",
            (
                (e.start_frame_index, e.end_frame_index, e.state, e.confidence, e.start_s, e.end_s)
                for e in prediction.extents
            ),
        )
        connection.executemany(
            "INSERT INTO rests VALUES (?, ?)", ((rest.first, rest.last) for rest in prediction.rests)
        )


def _pair_rows(prediction: _Prediction, milliseconds: float) -> Iterator[tuple[object, ...]]:
    for first, (forward, backward) in enumerate(zip(prediction.forward, prediction.backward, strict=True)):
        yield (first, first + 1, *_answer(forward), *_answer(backward), milliseconds)


def _answer(probabilities: Sequence[float]) -> tuple[object, ...]:
    """Label, its probability, and all five."""
    values = [min(1.0, max(0.0, float(value))) for value in probabilities]
    best = max(range(len(LABELS)), key=values.__getitem__)
    return (LABELS[best], values[best], *values)


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)


def read_extents(path: Path) -> list[StoredExtent]:
    """The extents of the run stored at `path`, in order."""
    with closing(_opened(path)) as connection:
        rows = connection.execute(
            "SELECT start_frame_index, end_frame_index, state, confidence, start_s, end_s"
            " FROM extents ORDER BY start_frame_index"
        )
        return [StoredExtent(*row) for row in rows]


def read_rests(path: Path) -> list[tuple[int, int]]:
    """First and last frame (inclusive) of every stretch in which a caption that comes or goes in motion is
    at rest; none of a run that did not look for them."""
    with closing(_opened(path)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'rests'").fetchone():
            return []
        return connection.execute(
            "SELECT first_frame_index, last_frame_index FROM rests ORDER BY first_frame_index"
        ).fetchall()


def read_origin(path: Path) -> tuple[int, str]:
    """The version of the cropped frames that the run stored at `path` looked at, and the model's version."""
    with closing(_opened(path)) as connection:
        query = "SELECT cropped_frames_version, model_version FROM run_metadata"
        cropped_frames_version, model_version = connection.execute(query).fetchone()
        return int(cropped_frames_version), str(model_version)
