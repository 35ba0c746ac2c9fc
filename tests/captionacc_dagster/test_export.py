"""Captions become files that stay in their folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from captionacc_dagster.catalog.protocol import Video
from captionacc_dagster.export import export, safe_stem
from gpu_ops import database
from gpu_ops.captions import database as captions_db
from gpu_ops.captions.rows import CaptionRow
from gpu_ops.contract import MissingObject, VideoKeys
from gpu_ops.store import ObjectStore
from tests.captionacc_dagster.builders import AddVideo


def store_captions(store: ObjectStore, video: Video, scratch: Path) -> None:
    """Two captions, 1.0-2.0 s and 2.0-3.5 s, with a gap before them."""
    path = scratch / "captions.db"
    captions_db.write_rows(
        path,
        [
            CaptionRow(start_frame_index=0, end_frame_index=9, state="gap"),
            CaptionRow(start_frame_index=10, end_frame_index=19, caption_ocr="Hello", ocr_confidence=0.9),
            CaptionRow(start_frame_index=20, end_frame_index=34, caption_ocr="你好", ocr_confidence=0.8),
        ],
    )
    database.publish(store, VideoKeys(video.tenant_id, video.id).captions_db, path)
    path.unlink()


def test_each_format_is_written_beside_the_others(
    add_video: AddVideo, store: ObjectStore, tmp_path: Path
) -> None:
    video = add_video("holiday.film.mkv")
    store_captions(store, video, tmp_path)
    cues, files = export(store, video, tmp_path / "new" / "out", ["srt", "vtt", "json"])
    assert [file.name for file in files] == ["holiday.film.srt", "holiday.film.vtt", "holiday.film.json"]
    assert [cue.text for cue in cues] == ["Hello", "你好"]
    assert "00:00:01,000 --> 00:00:02,000\nHello\n" in files[0].read_text("utf-8")
    assert files[1].read_text("utf-8").startswith("WEBVTT\n")
    assert json.loads(files[2].read_text("utf-8"))[1] == {
        "start_s": 2.0,
        "end_s": 3.5,
        "start_frame_index": 20,
        "end_frame_index": 34,
        "text": "你好",
        "confidence": 0.8,
    }
    assert sorted(path.name for path in files[0].parent.iterdir()) == sorted(file.name for file in files)


def test_a_video_without_captions_says_so(add_video: AddVideo, store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(MissingObject, match="no captions yet"):
        export(store, add_video(), tmp_path / "out", ["srt"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("display_path", "name"),
    [
        ("../../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\film.mp4", "film"),
        ("..", None),
        ("....mp4", None),
        ("/", None),
        ("a\nb.mp4", "a_b"),
        ('it\'s "fine".mp4', "it's _fine_"),
        ("\x1b[31mred.mp4", "_[31mred"),
        ("nul\x00byte.mp4", "nul_byte"),
        (".hidden.mp4", "hidden"),
        ("映画" * 200 + ".mp4", ("映画" * 200)[:66]),
        ("caf\udce9.mp4", "caf_"),
    ],
)
def test_no_name_leads_out_of_the_folder(
    display_path: str, name: str | None, add_video: AddVideo, store: ObjectStore, tmp_path: Path
) -> None:
    video = add_video("placeholder")
    store_captions(store, video, tmp_path)
    hostile = Video(
        id=video.id,
        tenant_id=video.tenant_id,
        display_path=display_path,
        storage_key=video.storage_key,
        status="active",
        created_at=video.created_at,
        layout_requested_at=video.layout_requested_at,
    )
    _, (file,) = export(store, hostile, tmp_path / "out", ["srt"])
    assert file == tmp_path / "out" / f"{name or video.id}.srt"
    assert list((tmp_path / "out").iterdir()) == [file]


def test_the_fallback_is_used_where_nothing_of_a_name_is_left() -> None:
    assert safe_stem(" . ", fallback="captions") == "captions"


def test_an_older_export_is_replaced_whole(add_video: AddVideo, store: ObjectStore, tmp_path: Path) -> None:
    video = add_video()
    store_captions(store, video, tmp_path)
    (tmp_path / "film.srt").write_text("something much longer than the captions\n" * 100)
    _, (file,) = export(store, video, tmp_path, ["srt"])
    assert "something" not in file.read_text("utf-8")
