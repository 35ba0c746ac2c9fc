"""`captionacc process film.mp4`: what a newcomer gets from one command."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from captionacc_dagster.assets.checks import CHECKS
from captionacc_dagster.catalog.protocol import Catalog, Stage
from gpu_ops.inventory import PLACES, artifact_of, strangers
from gpu_ops.store import ObjectStore
from tests.e2e.conftest import Captionacc
from tests.e2e.films import (
    SCRIPT,
    render_film,
    render_moving,
    render_one_wide_caption,
    render_two_places,
    render_watermarked,
)

pytestmark = pytest.mark.slow

ASSETS = (
    "video",
    "full_frames",
    "raw_ocr_db",
    "layout_db",
    "cropped_frames",
    "caption_frame_extents_db",
    "captions_db",
    "subtitles",
)


def test_a_film_becomes_subtitles_with_every_artifact_and_check_on_record(
    processed: Path, catalog: Catalog, instance: dg.DagsterInstance, store: ObjectStore
) -> None:
    found = json.loads((processed / "film.json").read_text())
    assert [(cue["start_s"], cue["end_s"], cue["text"]) for cue in found] == [
        (pytest.approx(start, abs=0.0201), pytest.approx(end, abs=0.0201), text)
        for start, end, text in SCRIPT
    ]
    assert all(0 <= (cue["end_frame_index"] + 1) / 10 - cue["end_s"] < 0.1 for cue in found)
    assert "Bring the blue umbrella." in (processed / "film.srt").read_text()
    assert (processed / "film.vtt").read_text().startswith("WEBVTT\n")

    (video,) = catalog.videos()
    assert (video.status, video.caption_status, video.error_message) == ("active", "ready", None)
    for asset in ASSETS:
        made = materialization(instance, asset, video.id)
        assert made.metadata, asset
    evaluated, failed = failed_checks(instance)
    assert evaluated == sorted(key.name for checks in CHECKS for key in checks.check_keys)
    assert failed == []
    stored = [info.key for info in store.list("")]
    assert strangers(stored, video.current_cropped_frames_version) == []
    assert {artifact_of(key).artifact for key in stored} == set(PLACES)


def test_pictures_of_the_result_are_on_the_assets_pages_and_small(
    processed: Path, catalog: Catalog, instance: dg.DagsterInstance
) -> None:
    (video,) = catalog.videos()
    for asset in ("layout_db", "caption_frame_extents_db", "captions_db"):
        pictures = [
            str(value.value)
            for value in materialization(instance, asset, video.id).metadata.values()
            if "data:image/jpeg;base64," in str(value.value)
        ]
        assert len(pictures) == 1, asset
        assert 1_000 < len(pictures[0]) < 150_000


def test_processing_again_makes_nothing_new(
    processed: Path, captionacc: Captionacc, film: Path, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    runs = instance.get_runs_count()
    again = captionacc("process", film, "--out", tmp_path / "second")
    assert again.returncode == 0
    assert instance.get_runs_count() == runs
    assert (processed / "film.srt").read_bytes() == (tmp_path / "second" / "film.srt").read_bytes()


def test_a_region_given_by_hand_crops_again_and_only_there(
    processed: Path, captionacc: Captionacc, film: Path, tmp_path: Path, catalog: Catalog
) -> None:
    done = captionacc("process", film, "--out", tmp_path, "--region", "0,0,1,0.5")
    assert done.returncode == 0, done.stderr
    (video,) = catalog.videos()
    assert video.current_cropped_frames_version == 2
    assert json.loads((tmp_path / "film.json").read_text()) == []
    assert "No captions were found. If there are some, say where with --region" in done.stdout + done.stderr


def test_a_crop_that_failed_is_made_again_though_there_is_an_older_one(
    processed: Path, captionacc: Captionacc, film: Path, tmp_path: Path, catalog: Catalog
) -> None:
    (video,) = catalog.videos()
    catalog.approve_layout(video.id)
    catalog.claim(video.id, Stage.EXTENTS, "failing")
    catalog.fail(video.id, Stage.EXTENTS, "failing", "It crashed.")

    done = captionacc("process", film, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    video = catalog.video(video.id)
    assert (video.current_cropped_frames_version, video.caption_status) == (2, "ready")


def test_a_film_without_captions_is_done_and_says_so(
    captionacc: Captionacc, tmp_path: Path, catalog: Catalog
) -> None:
    bare = tmp_path / "bare.mp4"
    render_film(bare, script=(), duration=4.0)
    done = captionacc("process", bare)
    assert done.returncode == 0, done.stderr
    assert "No captions were found" in done.stderr + done.stdout
    assert json.loads((tmp_path / "bare.json").read_text()) == []
    (video,) = catalog.videos()
    assert (video.status, video.caption_status) == ("active", None)


def test_captions_in_a_script_that_cannot_be_read_are_found_and_their_owner_is_told_what_to_do(
    captionacc: Captionacc, tmp_path: Path
) -> None:
    russian = tmp_path / "russian.mp4"
    lines = ["Где же карта города?", "Она лежит на столе.", "Тогда едем в полдень.", "Возьми с собой зонт."]
    times = [(start, end) for start, end, _ in SCRIPT]
    render_film(russian, script=[(*span, line) for span, line in zip(times, lines, strict=True)])
    done = captionacc("process", russian)
    assert done.returncode == 0, done.stderr
    assert "4 of 4 captions hold text that the local OCR cannot read" in done.stdout
    assert "CAPTIONACC_OCR_ENGINE=google_vision" in done.stdout
    found = json.loads((tmp_path / "russian.json").read_text())
    assert [(cue["start_s"], cue["end_s"], cue["text"]) for cue in found] == [
        (pytest.approx(start, abs=0.1001), pytest.approx(end, abs=0.1001), "") for start, end in times
    ]


def test_captions_at_two_places_are_read_and_one_of_them_where_it_is_given(
    captionacc: Captionacc, tmp_path: Path
) -> None:
    film = tmp_path / "film.mp4"
    truth = render_two_places(film)["captions"]
    done = captionacc("process", film)
    (region,) = re.findall(r"both were read: ([0-9.,+]+)\. ", done.stdout + done.stderr)
    assert_found(film, truth)
    above, _ = region.split("+")
    again = captionacc("process", film, "--region", above, "--out", tmp_path / "above")
    noises = [cue["text"] for cue in json.loads((tmp_path / "above" / "film.json").read_text())]
    assert noises == [caption["text"] for caption in truth if caption["box"][1] < 0.5]
    assert "both were read" not in again.stdout + again.stderr


def test_captions_that_come_word_by_word_or_zoom_in_are_one_each_and_read_whole(
    captionacc: Captionacc, tmp_path: Path
) -> None:
    film = tmp_path / "film.mp4"
    truth = render_moving(film)["captions"]
    assert captionacc("process", film).returncode == 0
    assert_found(film, truth)


def test_a_watermark_on_the_line_of_the_captions_is_no_part_of_them(
    captionacc: Captionacc, tmp_path: Path
) -> None:
    film = tmp_path / "film.mp4"
    truth = render_watermarked(film)["captions"]
    assert captionacc("process", film).returncode == 0
    assert_found(film, truth)


def test_where_a_caption_is_wider_than_the_proposed_region_a_wider_one_is_cropped(
    captionacc: Captionacc, tmp_path: Path
) -> None:
    film = tmp_path / "film.mp4"
    truth = [caption["text"] for caption in render_one_wide_caption(film)["captions"]]
    done = captionacc("process", film)
    assert "cropping wider" in done.stdout + done.stderr
    assert [cue["text"] for cue in json.loads(film.with_suffix(".json").read_text())] == truth
    again = captionacc("process", film, "--out", tmp_path / "again")
    assert "cropping wider" not in again.stdout + again.stderr


def test_several_files_are_processed_and_one_bad_one_does_not_stop_the_others(
    processed: Path, captionacc: Captionacc, film: Path, tmp_path: Path
) -> None:
    bad, good = tmp_path / "bad.mp4", tmp_path / "good.mp4"
    bad.write_text("not a video")
    shutil.copy(film, good)
    done = captionacc("process", bad, good)
    assert done.returncode == 1
    assert "bad.mp4" in done.stderr
    assert (tmp_path / "good.srt").exists()
    assert not (tmp_path / "bad.srt").exists()


def assert_found(film: Path, truth: Sequence[Any]) -> None:
    """The film's .json file has exactly these captions, their texts and their times."""
    found = json.loads(film.with_suffix(".json").read_text())
    assert [cue["text"] for cue in found] == [caption["text"] for caption in truth]
    for cue, caption in zip(found, truth, strict=True):
        assert cue["start_s"] == pytest.approx(caption["start_s"], abs=0.1001)
        assert cue["end_s"] == pytest.approx(caption["end_s"], abs=0.1001)


def materialization(instance: dg.DagsterInstance, asset: str, partition: str) -> dg.AssetMaterialization:
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=[partition]), limit=1
    ).records
    assert records, f"{asset} was not materialized"
    made = records[0].asset_materialization
    assert made is not None
    return made


def failed_checks(instance: dg.DagsterInstance) -> tuple[list[str], list[str]]:
    """Names of the checks that were evaluated, and of those among them that did not pass."""
    found = [
        event.asset_check_evaluation_data
        for run in instance.get_runs()
        for record in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        if (event := record.dagster_event) is not None
    ]
    return sorted(check.check_name for check in found), [c.check_name for c in found if not c.passed]
