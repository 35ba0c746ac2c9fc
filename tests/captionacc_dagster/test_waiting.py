"""What the sensors start for a given catalog."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg
import pytest

from captionacc_dagster.automation.waiting import RUNS_PER_TICK, build_waiting_sensors
from captionacc_dagster.catalog.protocol import Catalog, Stage
from captionacc_dagster.partitions import videos
from gpu_ops.contract import VideoKeys
from tests.captionacc_dagster.builders import REGION, AddVideo, add_run, crop_result

SENSORS = {sensor.name: sensor for sensor in build_waiting_sensors(5)}


def tick(name: str, instance: dg.DagsterInstance, catalog: Catalog) -> dg.SensorResult:
    """One evaluation, with what it asks for about partitions carried out as the daemon would."""
    with dg.build_sensor_context(instance=instance) as context:
        result = SENSORS[name](context, catalog=catalog)
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
    instance: dg.DagsterInstance, catalog: Catalog, add_video: AddVideo
) -> None:
    video = add_video(status="active")
    catalog.approve_layout(video.id)
    assert started(tick("caption_ocr_requests", instance, catalog)) == []
    _crop(catalog, video.id)
    assert started(tick("caption_ocr_requests", instance, catalog)) == [video.id]

    row = catalog.claim(video.id, Stage.CAPTIONS, "run-2")
    catalog.finish_captions(video.id, "run-2", "key", requested_at=row.captions_requested_at)
    assert started(tick("caption_ocr_requests", instance, catalog)) == []

    catalog.request_captions(video.id)
    assert started(tick("caption_ocr_requests", instance, catalog)) == [video.id]


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
