"""raw-ocr.db, layout.db and layout-server.db: the files, and how a re-run leaves an annotator's work in
place.

In the databases a box's y axis points UP (contract); everywhere else in this project it points down. The flip
happens here and nowhere else. Standard library only: the control plane reads the approved region with this
module.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from gpu_ops.contract import GRID_HZ
from gpu_ops.layout.boxes import Anchor, FrameBox, Layout
from gpu_ops.ocr.engine import OcrBox
from gpu_ops.regions import CropRegion

SCHEMA_VERSION = 1
_SAME_BOX_IOU = 0.5

_RAW_OCR_SCHEMA = """
CREATE TABLE IF NOT EXISTS database_metadata (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    schema_version INTEGER NOT NULL DEFAULT 1,
    created_at TEXT NOT NULL DEFAULT '',
    migrated_at TEXT
);
CREATE TABLE IF NOT EXISTS full_frame_ocr (
    id INTEGER PRIMARY KEY,
    frame_index INTEGER NOT NULL DEFAULT 0,
    box_index INTEGER NOT NULL DEFAULT 0,
    text TEXT NOT NULL DEFAULT '',
    confidence REAL NOT NULL DEFAULT 0,
    x REAL NOT NULL DEFAULT 0,
    y REAL NOT NULL DEFAULT 0,
    width REAL NOT NULL DEFAULT 0,
    height REAL NOT NULL DEFAULT 0,
    timestamp_seconds REAL NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL DEFAULT '',
    UNIQUE (frame_index, box_index)
);
"""

_LAYOUT_SCHEMA = """
CREATE TABLE IF NOT EXISTS database_metadata (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    schema_version INTEGER NOT NULL DEFAULT 1,
    created_at TEXT NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS boxes (
    frame_index INTEGER NOT NULL,
    box_index INTEGER NOT NULL,
    bbox_left REAL NOT NULL DEFAULT 0,
    bbox_top REAL NOT NULL DEFAULT 0,
    bbox_right REAL NOT NULL DEFAULT 0,
    bbox_bottom REAL NOT NULL DEFAULT 0,
    text TEXT NOT NULL DEFAULT '',
    label TEXT CHECK (label IN ('in', 'out', 'clear')),
    label_updated_at TEXT,
    predicted_label TEXT CHECK (predicted_label IN ('in', 'out')),
    predicted_confidence REAL,
    PRIMARY KEY (frame_index, box_index)
);
CREATE TABLE IF NOT EXISTS layout_config (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    frame_width INTEGER NOT NULL DEFAULT 0,
    frame_height INTEGER NOT NULL DEFAULT 0,
    crop_left REAL NOT NULL DEFAULT 0,
    crop_top REAL NOT NULL DEFAULT 0,
    crop_right REAL NOT NULL DEFAULT 1,
    crop_bottom REAL NOT NULL DEFAULT 1,
    selection_left REAL NOT NULL DEFAULT 0,
    selection_top REAL NOT NULL DEFAULT 0,
    selection_right REAL NOT NULL DEFAULT 1,
    selection_bottom REAL NOT NULL DEFAULT 1,
    vertical_center REAL,
    vertical_std REAL,
    box_height REAL,
    box_height_std REAL,
    anchor_type TEXT CHECK (anchor_type IN ('left', 'center', 'right')),
    anchor_position REAL,
    top_edge_std REAL,
    bottom_edge_std REAL,
    horizontal_std_slope REAL,
    horizontal_std_intercept REAL,
    crop_region_version INTEGER NOT NULL DEFAULT 0,
    updated_at TEXT NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS crop_gap (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    gap_top REAL NOT NULL DEFAULT 0,
    gap_bottom REAL NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS preferences (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    layout_approved INTEGER NOT NULL DEFAULT 0 CHECK (layout_approved IN (0, 1))
);
"""

_LAYOUT_SERVER_SCHEMA = """
CREATE TABLE IF NOT EXISTS database_metadata (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    schema_version INTEGER NOT NULL DEFAULT 1,
    created_at TEXT NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS box_classification_model (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    model_data BLOB NOT NULL DEFAULT x'',
    model_version TEXT NOT NULL DEFAULT '',
    trained_at TEXT NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS analysis_results (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    vertical_position REAL,
    vertical_std REAL,
    box_height REAL,
    box_height_std REAL,
    top_edge_std REAL,
    bottom_edge_std REAL,
    horizontal_std_slope REAL,
    horizontal_std_intercept REAL,
    analysis_model_version TEXT NOT NULL DEFAULT '',
    ocr_visualization_image BLOB,
    computed_at TEXT NOT NULL DEFAULT ''
);
"""


@dataclass(frozen=True)
class BoxModel:
    """A fitted box classifier as stored: its bytes and the version of the method that wrote them."""

    data: bytes
    version: str


def write_raw_ocr(path: Path, frames: Mapping[int, Sequence[OcrBox]]) -> None:
    """Write complete OCR results, `frames`: 10 Hz frame index -> its boxes. Replaces a file that is there."""
    path.unlink(missing_ok=True)
    now = _now()
    with _database(path, _RAW_OCR_SCHEMA) as db:
        db.execute(
            "INSERT INTO database_metadata (id, schema_version, created_at) VALUES (1, ?, ?)",
            (SCHEMA_VERSION, now),
        )
        db.executemany(
            "INSERT INTO full_frame_ocr (frame_index, box_index, text, confidence, x, y, width, height,"
            " timestamp_seconds, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    index,
                    number,
                    box.text,
                    box.confidence,
                    box.left,
                    1 - box.bottom,
                    box.width,
                    box.height,
                    index / GRID_HZ,
                    now,
                )
                for index in sorted(frames)
                for number, box in enumerate(frames[index])
            ),
        )


def read_raw_ocr(path: Path) -> dict[int, list[OcrBox]]:
    """The inverse of write_raw_ocr (frames without boxes are absent)."""
    frames: dict[int, list[OcrBox]] = {}
    with _existing(path) as db:
        for index, text, confidence, x, y, width, height in db.execute(
            "SELECT frame_index, text, confidence, x, y, width, height FROM full_frame_ocr"
            " ORDER BY frame_index, box_index"
        ):
            box = OcrBox(text, confidence, left=x, top=1 - y - height, right=x + width, bottom=1 - y)
            frames.setdefault(index, []).append(box)
    return frames


def write_layout(
    path: Path, layout: Layout, boxes: Sequence[FrameBox], frame_width: int, frame_height: int
) -> None:
    """Create layout.db, or bring the one at `path` up to date with a new analysis.

    Labels move to the box that covers the same place; a labelled box that OCR no longer finds stays. A layout
    that is approved keeps its whole layout_config. A video without captions gets crop_region_version 0 and
    the default crop.
    """
    now = _now()
    labelled = [box for box in read_boxes(path) if box.label is not None] if path.exists() else []
    with _database(path, _LAYOUT_SCHEMA) as db:
        db.execute(
            "INSERT OR IGNORE INTO database_metadata (id, schema_version, created_at) VALUES (1, ?, ?)",
            (SCHEMA_VERSION, now),
        )
        db.execute("INSERT OR IGNORE INTO preferences (id) VALUES (1)")
        db.execute("DELETE FROM boxes")
        db.executemany(
            "INSERT INTO boxes (frame_index, box_index, bbox_left, bbox_top, bbox_right, bbox_bottom, text,"
            " label, label_updated_at, predicted_label, predicted_confidence)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (_box_row(box) for box in carry_labels(boxes, labelled)),
        )
        if not _approved(db):
            _write_config(db, layout, frame_width, frame_height, now)


def carry_labels(boxes: Sequence[FrameBox], labelled: Sequence[FrameBox]) -> list[FrameBox]:
    """Give `boxes` the labels that annotators gave to earlier boxes of the same frame and place.

    Places are the same when intersection over union is at least 0.5. A labelled box without a counterpart is
    appended to its frame under the next free box_index.
    """
    result = list(boxes)
    taken: set[int] = set()
    for old in labelled:
        candidates = [
            (overlap_ratio(old.box, new.box), position)
            for position, new in enumerate(boxes)
            if new.frame_index == old.frame_index and position not in taken
        ]
        ratio, position = max(candidates, default=(0.0, -1))
        if ratio >= _SAME_BOX_IOU:
            taken.add(position)
            result[position] = replace(
                result[position], label=old.label, label_updated_at=old.label_updated_at
            )
        else:
            numbers = [box.box_index for box in result if box.frame_index == old.frame_index]
            result.append(replace(old, box_index=max(numbers, default=-1) + 1))
    return sorted(result, key=lambda box: (box.frame_index, box.box_index))


def overlap_ratio(a: OcrBox, b: OcrBox) -> float:
    """Intersection over union of two boxes, 0-1."""
    width = min(a.right, b.right) - max(a.left, b.left)
    height = min(a.bottom, b.bottom) - max(a.top, b.top)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (a.width * a.height + b.width * b.height - shared)


def read_boxes(path: Path) -> list[FrameBox]:
    """Every box of a layout.db, in order of frame and box."""
    with _existing(path) as db:
        rows = db.execute(
            "SELECT frame_index, box_index, bbox_left, bbox_top, bbox_right, bbox_bottom, text, label,"
            " label_updated_at, predicted_label, predicted_confidence"
            " FROM boxes ORDER BY frame_index, box_index"
        ).fetchall()
    return [
        FrameBox(
            frame_index,
            box_index,
            OcrBox(text, confidence or 0.0, left, 1 - top, right, 1 - bottom),
            label,
            label_updated_at,
            predicted_label,
            confidence,
        )
        for (
            frame_index,
            box_index,
            left,
            top,
            right,
            bottom,
            text,
            label,
            label_updated_at,
            predicted_label,
            confidence,
        ) in rows
    ]


def read_crop_region(path: Path) -> CropRegion | None:
    """The crop region of a layout.db, predicted or approved; None when no captions were found and none was
    set.

    A gap counts while it lies inside the crop: an annotator may have drawn another one since.
    """
    with _existing(path) as db:
        row = db.execute(
            "SELECT crop_left, crop_top, crop_right, crop_bottom, crop_region_version"
            " FROM layout_config WHERE id = 1"
        ).fetchone()
        if row is None:
            return None
        *edges, version = row
        untouched = version == 0 and edges == [0, 0, 1, 1]
        if untouched and not _approved(db):
            return None
        left, top, right, bottom = edges
        gap_top, gap_bottom = _gap(db) or (top, bottom)
        if top < gap_top and gap_bottom < bottom:
            return CropRegion(left, top, right, bottom, gap_top, gap_bottom)
        return CropRegion(left, top, right, bottom)


def read_approved(path: Path) -> bool:
    """Whether an annotator has approved this layout.db."""
    with _existing(path) as db:
        return _approved(db)


def set_approved(path: Path, region: CropRegion | None) -> None:
    """Approve the layout in `path`, with `region` as its crop region if one is given (else the one it has).

    Raises ValueError if no region is given and the layout has none.
    """
    if region is None and read_crop_region(path) is None:
        raise ValueError("this video has no predicted caption region: give one to approve its layout")
    with _database(path, _LAYOUT_SCHEMA) as db:
        db.execute("INSERT OR IGNORE INTO layout_config (id) VALUES (1)")
        if region is not None:
            db.execute(
                "UPDATE layout_config SET crop_left = ?, crop_top = ?, crop_right = ?, crop_bottom = ?,"
                " crop_region_version = crop_region_version + 1, updated_at = ? WHERE id = 1",
                (*_edges(region), _now()),
            )
            _write_gap(db, region)
        db.execute("INSERT INTO preferences VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET layout_approved = 1")


def write_layout_server(path: Path, layout: Layout, model: BoxModel | None, preview_jpeg: bytes) -> None:
    """Write layout-server.db: the fitted classifier (None: there was nothing to fit) and the analysis."""
    path.unlink(missing_ok=True)
    now = _now()
    with _database(path, _LAYOUT_SERVER_SCHEMA) as db:
        db.execute(
            "INSERT INTO database_metadata (id, schema_version, created_at) VALUES (1, ?, ?)",
            (SCHEMA_VERSION, now),
        )
        if model is not None:
            db.execute(
                "INSERT INTO box_classification_model VALUES (1, ?, ?, ?)", (model.data, model.version, now)
            )
        measured = _measured(layout)
        db.execute(
            "INSERT INTO analysis_results VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*measured, model.version if model else "", preview_jpeg, now),
        )


def read_model(path: Path) -> BoxModel | None:
    """The classifier stored in a layout-server.db."""
    with _existing(path) as db:
        row = db.execute(
            "SELECT model_data, model_version FROM box_classification_model WHERE id = 1"
        ).fetchone()
    return BoxModel(*row) if row else None


def _write_config(
    db: sqlite3.Connection, layout: Layout, frame_width: int, frame_height: int, now: str
) -> None:
    crop = layout.region or CropRegion(0, 0, 1, 1)
    selection = layout.selection or CropRegion(0, 0, 1, 1)
    anchor: tuple[Anchor, float] | tuple[None, None] = (None, None)
    if layout.region:
        anchor = (layout.anchor, layout.anchor_position)
    values = (
        *(frame_width, frame_height),
        *_edges(crop),
        *_edges(selection),
        *_measured(layout),
        *anchor,
    )
    before = db.execute(
        "SELECT crop_left, crop_top, crop_right, crop_bottom, crop_region_version FROM layout_config"
    ).fetchone()
    version = before[4] if before else 0
    same = before is not None and (*before[:4], _gap(db)) == (*_edges(crop), _gap_of(crop))
    if layout.region is None:
        version = 0
    elif not same:
        version += 1
    _write_gap(db, crop)
    columns = (
        "frame_width, frame_height, crop_left, crop_top, crop_right, crop_bottom, selection_left,"
        " selection_top, selection_right, selection_bottom, vertical_center, vertical_std, box_height,"
        " box_height_std, top_edge_std, bottom_edge_std, horizontal_std_slope, horizontal_std_intercept,"
        " anchor_type, anchor_position, crop_region_version, updated_at"
    )
    marks = ", ".join("?" * (len(values) + 2))
    db.execute(
        f"INSERT OR REPLACE INTO layout_config (id, {columns}) VALUES (1, {marks})", (*values, version, now)
    )


def _edges(region: CropRegion) -> tuple[float, float, float, float]:
    return region.left, region.top, region.right, region.bottom


def _gap_of(region: CropRegion) -> tuple[float, float] | None:
    top, bottom = region.gap_top, region.gap_bottom
    return None if top is None or bottom is None else (top, bottom)


def _write_gap(db: sqlite3.Connection, region: CropRegion) -> None:
    db.execute("DELETE FROM crop_gap")
    if gap := _gap_of(region):
        db.execute("INSERT INTO crop_gap VALUES (1, ?, ?)", gap)


def _gap(db: sqlite3.Connection) -> tuple[float, float] | None:
    """None also in a file from before there were gaps."""
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'crop_gap'").fetchone():
        return None
    return db.execute("SELECT gap_top, gap_bottom FROM crop_gap").fetchone()


def _measured(layout: Layout) -> tuple[float | None, ...]:
    """vertical centre, its std, box height, its std, edge stds, slope, intercept; all None without
    captions.
    """
    if layout.region is None:
        return (None,) * 8
    return (
        layout.vertical_center,
        layout.vertical_std,
        layout.box_height,
        layout.box_height_std,
        layout.top_edge_std,
        layout.bottom_edge_std,
        layout.horizontal_std_slope,
        layout.horizontal_std_intercept,
    )


def _box_row(box: FrameBox) -> tuple[object, ...]:
    return (
        *(box.frame_index, box.box_index),
        *(box.box.left, 1 - box.box.top, box.box.right, 1 - box.box.bottom),
        *(box.box.text, box.label, box.label_updated_at, box.predicted_label, box.predicted_confidence),
    )


def _approved(db: sqlite3.Connection) -> bool:
    row = db.execute("SELECT layout_approved FROM preferences WHERE id = 1").fetchone()
    return bool(row and row[0])


@contextmanager
def _database(path: Path, schema: str) -> Generator[sqlite3.Connection]:
    db = sqlite3.connect(path)
    try:
        db.executescript(schema)
        with db:
            yield db
    finally:
        db.close()


@contextmanager
def _existing(path: Path) -> Generator[sqlite3.Connection]:
    db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        yield db
    finally:
        db.close()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
