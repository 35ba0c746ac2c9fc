"""The recovery schedule: every stuck video is started again or named with its reason."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from captionacc_dagster.automation.stuck import ask_again, build_recovery_schedule, recover
from captionacc_dagster.automation.waiting import RUNS_PER_TICK
from captionacc_dagster.catalog.protocol import Catalog, Stage
from gpu_ops.store import ObjectStore
from tests.captionacc_dagster.builders import AddVideo, add_run

AT_ONCE = timedelta(0)


@pytest.fixture
def stored_instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """A schedule's context opens the instance by reference, which an ephemeral one has not."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


def now() -> datetime:
    return datetime.now(UTC)


def test_a_pending_video_that_nothing_works_on_is_triggered(
    instance: dg.DagsterInstance, catalog: Catalog, store: ObjectStore, add_video: AddVideo
) -> None:
    video = add_video()
    assert [v.id for v in recover(catalog, store, instance, AT_ONCE, now()).triggered] == [video.id]


def test_a_young_video_is_left_to_the_sensor(
    instance: dg.DagsterInstance, catalog: Catalog, store: ObjectStore, add_video: AddVideo
) -> None:
    add_video()
    found = recover(catalog, store, instance, timedelta(minutes=10), now())
    assert (found.triggered, found.skipped) == ([], {})


def test_an_unfinished_run_and_a_recent_one_are_reasons_to_wait(
    instance: dg.DagsterInstance, catalog: Catalog, store: ObjectStore, add_video: AddVideo
) -> None:
    busy, recent = add_video("busy.mp4"), add_video("recent.mp4")
    job = "video_initial_processing"
    add_run(instance, job, dg.DagsterRunStatus.QUEUED, {"dagster/partition": busy.id})
    add_run(instance, job, dg.DagsterRunStatus.FAILURE, {"dagster/partition": recent.id})

    found = recover(catalog, store, instance, AT_ONCE, now())
    assert found.skipped == {busy.id: "active_runs", recent.id: "recently_processed"}
    later = recover(catalog, store, instance, AT_ONCE, now() + timedelta(minutes=6))
    assert [video.id for video in later.triggered] == [recent.id]


def test_an_upload_without_its_object_is_incomplete_and_with_it_is_triggered(
    instance: dg.DagsterInstance, catalog: Catalog, store: ObjectStore, add_video: AddVideo
) -> None:
    video = add_video(status="uploading")
    assert recover(catalog, store, instance, AT_ONCE, now()).skipped == {video.id: "upload_incomplete"}
    store.put(video.storage_key, b"frames")
    assert [v.id for v in recover(catalog, store, instance, AT_ONCE, now()).triggered] == [video.id]


def test_a_large_backlog_is_worked_off_over_several_ticks(
    instance: dg.DagsterInstance, catalog: Catalog, store: ObjectStore, add_video: AddVideo
) -> None:
    for number in range(RUNS_PER_TICK + 2):
        add_video(f"{number}.mp4")
    found = recover(catalog, store, instance, AT_ONCE, now())
    assert len(found.triggered) == RUNS_PER_TICK
    assert list(found.skipped.values()) == ["next_tick"] * 2


def test_an_approval_whose_run_ended_before_it_began_is_asked_for_again(
    instance: dg.DagsterInstance, catalog: Catalog, add_video: AddVideo
) -> None:
    lost, busy, young = (add_video(f"{name}.mp4", status="active") for name in ("lost", "busy", "young"))
    asked = catalog.approve_layout(lost.id).layout_approved_at
    catalog.approve_layout(busy.id)
    add_run(instance, "crop_and_infer", dg.DagsterRunStatus.QUEUED, {"dagster/partition": busy.id})

    assert ask_again(catalog, instance, timedelta(minutes=10), now()) == {}
    assert ask_again(catalog, instance, AT_ONCE, now()) == {lost.id: Stage.EXTENTS}
    again = catalog.video(lost.id).layout_approved_at
    assert asked is not None
    assert again is not None
    assert again > asked
    assert catalog.video(young.id).layout_approved_at is None


def test_the_schedule_tags_its_runs_as_recovery_and_adds_missing_partitions(
    stored_instance: dg.DagsterInstance, catalog: Catalog, store: ObjectStore, add_video: AddVideo
) -> None:
    video = add_video()
    (request,) = tick(stored_instance, catalog, store)
    assert (request.partition_key, request.tags["trigger"]) == (video.id, "recovery")
    assert stored_instance.has_dynamic_partition("videos", video.id)


def test_the_schedule_reports_what_it_skipped_and_why(
    stored_instance: dg.DagsterInstance, catalog: Catalog, store: ObjectStore, add_video: AddVideo
) -> None:
    add_video(status="uploading")
    skipped = tick(stored_instance, catalog, store).skip_message
    assert skipped == "0 triggered, 1 skipped (1 upload_incomplete)"


def tick(instance: dg.DagsterInstance, catalog: Catalog, store: ObjectStore) -> Any:
    """One evaluation of the schedule."""
    with dg.build_schedule_context(instance=instance, scheduled_execution_time=now()) as context:
        return build_recovery_schedule(AT_ONCE, 15)(context, catalog=catalog, store=store)
