"""The layout files: coordinates as the contract has them, and annotators' work after a re-run."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from gpu_ops.layout.boxes import FrameBox, Layout
from gpu_ops.layout.database import (
    BoxModel,
    read_approved,
    read_boxes,
    read_crop_region,
    read_model,
    read_raw_ocr,
    set_approved,
    write_layout,
    write_layout_server,
    write_raw_ocr,
)
from gpu_ops.ocr.engine import OcrBox
from gpu_ops.regions import CropRegion

CAPTION = OcrBox("caption", 0.9, 0.25, 0.875, 0.75, 0.9375)
LOGO = OcrBox("logo", 0.8, 0.0, 0.0, 0.125, 0.0625)
REGION = CropRegion(0.125, 0.8125, 0.875, 0.96875)
FOUND = Layout(
    region=REGION, selection=CropRegion(0.25, 0.875, 0.75, 0.9375), vertical_center=0.9, box_height=0.06
)
BOXES = [
    FrameBox(0, 0, CAPTION, predicted_label="in", predicted_confidence=0.9),
    FrameBox(0, 1, LOGO, predicted_label="out", predicted_confidence=0.8),
]


TWO_PLACES = CropRegion(0.125, 0.0625, 0.875, 0.96875, 0.15625, 0.8125)


def sql(path: Path, statement: str, *values: object) -> list[tuple]:
    with sqlite3.connect(path) as db:
        return db.execute(statement, values).fetchall()


def test_raw_ocr_is_stored_from_the_bottom_left_and_read_back_from_the_top_left(tmp_path: Path):
    path = tmp_path / "raw-ocr.db"
    write_raw_ocr(path, {100: [CAPTION, LOGO], 0: []})
    assert sql(
        path, "SELECT frame_index, box_index, x, y, width, height, timestamp_seconds FROM full_frame_ocr"
    ) == [
        (100, 0, 0.25, 0.0625, 0.5, 0.0625, 10.0),
        (100, 1, 0.0, 0.9375, 0.125, 0.0625, 10.0),
    ]
    assert read_raw_ocr(path) == {100: [CAPTION, LOGO]}


def test_layout_boxes_have_their_top_above_their_bottom(tmp_path: Path):
    path = tmp_path / "layout.db"
    write_layout(path, FOUND, BOXES, 1920, 1080)
    assert sql(
        path, "SELECT bbox_left, bbox_top, bbox_right, bbox_bottom FROM boxes WHERE text = 'caption'"
    ) == [(0.25, 0.125, 0.75, 0.0625)]
    assert read_boxes(path)[0].box.top == CAPTION.top
    assert read_crop_region(path) == REGION
    assert sql(path, "SELECT anchor_type, crop_region_version FROM layout_config") == [("center", 1)]


def test_a_video_without_captions_has_no_region_until_somebody_sets_one(tmp_path: Path):
    path = tmp_path / "layout.db"
    write_layout(path, Layout(), [], 640, 360)
    assert read_crop_region(path) is None
    with pytest.raises(ValueError, match="no predicted caption region"):
        set_approved(path, None)
    assert not read_approved(path)
    set_approved(path, REGION)
    assert read_approved(path)
    assert read_crop_region(path) == REGION


def test_labels_survive_a_rerun_and_follow_their_box(tmp_path: Path):
    path = tmp_path / "layout.db"
    write_layout(path, FOUND, BOXES, 1920, 1080)
    sql(path, "UPDATE boxes SET label = 'out', label_updated_at = 'then' WHERE box_index = 0")
    moved = replace(CAPTION, left=0.26, text="captlon")
    write_layout(path, FOUND, [FrameBox(0, 0, LOGO), FrameBox(0, 1, moved, predicted_label="in")], 1920, 1080)
    logo, caption = read_boxes(path)
    assert (logo.label, caption.label, caption.label_updated_at) == (None, "out", "then")
    assert caption.predicted_label == "in"


def test_a_label_that_the_analysis_already_knew_is_not_doubled(tmp_path: Path):
    path = tmp_path / "layout.db"
    write_layout(path, FOUND, BOXES, 1920, 1080)
    sql(path, "UPDATE boxes SET label = 'out', label_updated_at = 'then' WHERE box_index = 0")
    write_layout(path, FOUND, [replace(BOXES[0], label="out"), BOXES[1]], 1920, 1080)
    assert [(box.label, box.label_updated_at) for box in read_boxes(path)] == [("out", "then"), (None, None)]


def test_a_labelled_box_that_ocr_no_longer_finds_stays(tmp_path: Path):
    path = tmp_path / "layout.db"
    write_layout(path, FOUND, BOXES, 1920, 1080)
    sql(path, "UPDATE boxes SET label = 'in' WHERE box_index = 0")
    write_layout(path, FOUND, [FrameBox(0, 0, LOGO), FrameBox(100, 0, CAPTION)], 1920, 1080)
    assert [(box.frame_index, box.box.text, box.label) for box in read_boxes(path)] == [
        (0, "logo", None),
        (0, "caption", "in"),
        (100, "caption", None),
    ]


def test_an_approved_layout_keeps_its_configuration_and_an_unapproved_one_is_renewed(tmp_path: Path):
    path = tmp_path / "layout.db"
    write_layout(path, FOUND, BOXES, 1920, 1080)
    other = replace(FOUND, region=CropRegion(0, 0.5, 1, 1))
    write_layout(path, other, BOXES, 1920, 1080)
    assert read_crop_region(path) == other.region
    assert sql(path, "SELECT crop_region_version FROM layout_config") == [(2,)]

    set_approved(path, None)
    approved = sql(path, "SELECT * FROM layout_config")
    write_layout(path, FOUND, BOXES, 1920, 1080)
    assert sql(path, "SELECT * FROM layout_config") == approved
    assert read_approved(path)


def test_not_null_columns_have_defaults(tmp_path: Path):
    write_layout(tmp_path / "layout.db", FOUND, BOXES, 1920, 1080)
    write_raw_ocr(tmp_path / "raw.db", {0: [LOGO]})
    write_layout_server(tmp_path / "server.db", FOUND, None, b"")
    for path in tmp_path.glob("*.db"):
        for (table,) in sql(path, "SELECT name FROM sqlite_master WHERE type = 'table'"):
            for _, name, _, not_null, default, primary_key in sql(path, f"PRAGMA table_info({table})"):
                assert primary_key or not not_null or default is not None, f"{path.name} {table}.{name}"


def test_the_server_database_keeps_model_analysis_and_picture(tmp_path: Path):
    path = tmp_path / "layout-server.db"
    write_layout_server(path, FOUND, BoxModel(b"weights", "boxes-1"), b"jpeg")
    assert read_model(path) == BoxModel(b"weights", "boxes-1")
    assert sql(
        path,
        "SELECT vertical_position, analysis_model_version, ocr_visualization_image FROM analysis_results",
    ) == [(0.9, "boxes-1", b"jpeg")]
    write_layout_server(path, Layout(), None, b"")
    assert read_model(path) is None


def test_a_gap_is_kept_until_another_crop_is_drawn(tmp_path: Path):
    path = tmp_path / "layout.db"
    write_layout(path, replace(FOUND, region=TWO_PLACES), BOXES, 1920, 1080)
    assert read_crop_region(path) == TWO_PLACES
    write_layout(path, replace(FOUND, region=TWO_PLACES), BOXES, 1920, 1080)
    assert sql(path, "SELECT crop_region_version FROM layout_config") == [(1,)]
    sql(path, "UPDATE layout_config SET crop_top = 0.03125")
    assert read_crop_region(path) == replace(TWO_PLACES, top=0.03125)
    sql(path, "UPDATE layout_config SET crop_top = 0.8125")
    assert read_crop_region(path) == REGION
    set_approved(path, TWO_PLACES)
    assert read_crop_region(path) == TWO_PLACES
    set_approved(path, REGION)
    assert read_crop_region(path) == REGION


def test_a_layout_from_before_there_were_gaps_is_read_and_approved(tmp_path: Path):
    path = tmp_path / "layout.db"
    write_layout(path, FOUND, BOXES, 1920, 1080)
    sql(path, "DROP TABLE crop_gap")
    assert read_crop_region(path) == REGION
    set_approved(path, TWO_PLACES)
    assert read_crop_region(path) == TWO_PLACES
