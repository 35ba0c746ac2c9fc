"""What the sensors start for a given catalog."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from captionacc_dagster.automation import edited
from captionacc_dagster.automation.waiting import RUNS_PER_TICK, build_waiting_sensors
from captionacc_dagster.catalog.protocol import Catalog, Stage, Video
from captionacc_dagster.partitions import videos
from gpu_ops import database
from gpu_ops.captions import database as captions_db
from gpu_ops.captions.rows import CaptionRow
from gpu_ops.contract import VideoKeys
from gpu_ops.store import ObjectStore
from tests.captionacc_dagster.builders import REGION, AddVideo, add_run, crop_result

SENSORS = {sensor.name: sensor for sensor in build_waiting_sensors(5)}


def tick(
    name: str, instance: dg.DagsterInstance, catalog: Catalog, store: ObjectStore | None = None
) -> dg.SensorResult:
    """One evaluation, with what it asks for about partitions carried out as the daemon would."""
    resources = {"catalog": catalog} if store is None else {"catalog": catalog, "store": store}
    with dg.build_sensor_context(instance=instance) as context:
        result = SENSORS[name](context, **resources)
    assert isinstance(result, dg.SensorResult)
    for request in result.dynamic_partitions_requests or []:
        instance.add_dynamic_partitions(str(videos.name), list(request.partition_keys))
    return result


def started(result: dg.SensorResult) -> list[str]:
    return [str(request.partition_key) for request in result.run_requests or []]


def test_a_new_video_becomes_a_partition_with_its_upload_and_one_run(
    instance: dg.DagsterInstance, catalog: Catalog, add_video: AddVideo
) -> None:
    video = add_video()
    result = tick("new_videos", instance, catalog)

    assert started(result) == [video.id]
    assert instance.has_dynamic_partition("videos", video.id)
    assert [event.partition for event in result.asset_events] == [video.id]
    (request,) = result.run_requests or []
    assert request.tags["tenant"] == video.tenant_id
    assert request.tags["tier"] == "free"
    assert request.tags["trigger"] == "sensor"
    assert request.tags["age_boosting"] == "on"
    assert request.tags["dagster/priority"] == "50"


def test_the_same_waiting_video_always_asks_under_the_same_run_key(
    instance: dg.DagsterInstance, catalog: Catalog, add_video: AddVideo
) -> None:
    add_video()
    first, second = (tick("new_videos", instance, catalog) for _ in range(2))
    assert [r.run_key for r in first.run_requests or []] == [r.run_key for r in second.run_requests or []]
    assert not second.asset_events


def test_a_retried_video_asks_under_a_new_run_key(
    instance: dg.DagsterInstance, catalog: Catalog, add_video: AddVideo
) -> None:
    video = add_video()
    (before,) = tick("new_videos", instance, catalog).run_requests or []
    catalog.claim(video.id, Stage.LAYOUT, "run-1")
    catalog.fail(video.id, Stage.LAYOUT, "run-1", "the file is empty")
    assert started(tick("new_videos", instance, catalog)) == []

    catalog.retry(video.id)
    (after,) = tick("new_videos", instance, catalog).run_requests or []
    assert before.run_key != after.run_key


def test_a_video_whose_run_is_queued_is_left_alone_and_does_not_hide_the_next(
    instance: dg.DagsterInstance, catalog: Catalog, add_video: AddVideo
) -> None:
    waiting = [add_video(f"{n}.mp4") for n in range(RUNS_PER_TICK + 3)]
    first = started(tick("new_videos", instance, catalog))
    assert first == [video.id for video in waiting[:RUNS_PER_TICK]]
    for video_id in first:
        add_run(
            instance,
            "video_initial_processing",
            dg.DagsterRunStatus.QUEUED,
            {"dagster/partition": video_id},
        )
    assert started(tick("new_videos", instance, catalog)) == [video.id for video in waiting[RUNS_PER_TICK:]]


@pytest.mark.parametrize("status", ["uploading", "active"])
def test_videos_that_are_not_pending_start_nothing(
    status: str, instance: dg.DagsterInstance, catalog: Catalog, add_video: AddVideo
) -> None:
    add_video(status=status)
    assert started(tick("new_videos", instance, catalog)) == []


def test_an_approval_starts_a_crop_once_and_a_reapproval_another(
    instance: dg.DagsterInstance, catalog: Catalog, add_video: AddVideo
) -> None:
    video = add_video(status="active")
    assert started(tick("layout_approvals", instance, catalog)) == []

    catalog.approve_layout(video.id)
    (first,) = tick("layout_approvals", instance, catalog).run_requests or []
    _crop(catalog, video.id)
    assert started(tick("layout_approvals", instance, catalog)) == []

    catalog.approve_layout(video.id)
    (second,) = tick("layout_approvals", instance, catalog).run_requests or []
    assert first.run_key != second.run_key


def test_a_failed_crop_is_not_started_again_until_the_next_approval(
    instance: dg.DagsterInstance, catalog: Catalog, add_video: AddVideo
) -> None:
    video = add_video(status="active")
    catalog.approve_layout(video.id)
    catalog.claim(video.id, Stage.EXTENTS, "run-1")
    catalog.fail(video.id, Stage.EXTENTS, "run-1", "out of memory")
    assert started(tick("layout_approvals", instance, catalog)) == []

    catalog.approve_layout(video.id)
    assert started(tick("layout_approvals", instance, catalog)) == [video.id]


def test_new_extents_and_an_annotators_request_start_caption_ocr(
    instance: dg.DagsterInstance, catalog: Catalog, add_video: AddVideo, store: ObjectStore
) -> None:
    video = add_video(status="active")
    catalog.approve_layout(video.id)
    assert started(tick("caption_ocr_requests", instance, catalog, store)) == []
    _crop(catalog, video.id)
    assert started(tick("caption_ocr_requests", instance, catalog, store)) == [video.id]

    row = catalog.claim(video.id, Stage.CAPTIONS, "run-2")
    catalog.finish_captions(video.id, "run-2", "key", requested_at=row.captions_requested_at)
    assert started(tick("caption_ocr_requests", instance, catalog, store)) == []

    catalog.request_captions(video.id)
    assert started(tick("caption_ocr_requests", instance, catalog, store)) == [video.id]


@pytest.mark.parametrize(
    "change", [{"ocr_status": "queued"}, {"ocr_status": "completed", "image_needs_regen": True}]
)
def test_a_caption_queued_inside_captions_db_starts_caption_ocr_once(
    change: dict[str, Any],
    instance: dg.DagsterInstance,
    catalog: Catalog,
    add_video: AddVideo,
    store: ObjectStore,
    tmp_path: Path,
) -> None:
    video = add_video(status="active")
    catalog.approve_layout(video.id)
    _crop(catalog, video.id)
    claimed = catalog.claim(video.id, Stage.CAPTIONS, "run-2")
    catalog.finish_captions(video.id, "run-2", "key", requested_at=claimed.captions_requested_at)
    row = CaptionRow(start_frame_index=0, end_frame_index=9, ocr_status="completed", caption_ocr="Hello")
    _put_captions(store, video, row, tmp_path)
    assert started(tick("caption_ocr_requests", instance, catalog, store)) == []

    _put_captions(store, video, replace(row, **change), tmp_path)
    assert started(tick("caption_ocr_requests", instance, catalog, store)) == [video.id]

    claimed = catalog.claim(video.id, Stage.CAPTIONS, "run-3")
    _put_captions(store, video, row, tmp_path)
    catalog.finish_captions(video.id, "run-3", "key", requested_at=claimed.captions_requested_at)
    assert started(tick("caption_ocr_requests", instance, catalog, store)) == []


def test_a_round_over_many_videos_goes_on_where_it_stopped(
    catalog: Catalog, add_video: AddVideo, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edited, "VIDEOS_PER_TICK", 2)
    for number in range(3):
        video = add_video(f"{number}.mp4", status="active")
        catalog.claim(video.id, Stage.CAPTIONS, "run-1")
        catalog.finish_captions(video.id, "run-1", "key", requested_at=None)
    ids = sorted(video.id for video in catalog.videos())
    half = edited.request_edited_captions(catalog, store, None)
    assert json.loads(half)["after"] == ids[1]
    whole = json.loads(edited.request_edited_captions(catalog, store, half))
    assert (whole["after"], whole["began"]) == ("", "")
    assert whole["since"] == json.loads(half)["began"]


def test_a_deleted_video_starts_nothing(
    instance: dg.DagsterInstance, catalog: Catalog, add_video: AddVideo
) -> None:
    video = add_video()
    catalog.delete_video(video.id)
    assert started(tick("new_videos", instance, catalog)) == []


def _crop(catalog: Catalog, video_id: str) -> None:
    run_id = f"crop-{datetime.now(UTC).isoformat()}"
    video = catalog.claim(video_id, Stage.EXTENTS, run_id)
    reserved = catalog.reserve_cropped_frames(video_id, run_id, REGION)
    result = crop_result(VideoKeys(video.tenant_id, video_id), reserved.version)
    catalog.finish_extents(video_id, run_id, result, approved_at=video.layout_approved_at)


def _put_captions(store: ObjectStore, video: Video, row: CaptionRow, scratch: Path) -> None:
    path = scratch / "captions.db"
    path.unlink(missing_ok=True)
    captions_db.write_rows(path, [row])
    database.publish(store, VideoKeys(video.tenant_id, video.id).captions_db, path)
