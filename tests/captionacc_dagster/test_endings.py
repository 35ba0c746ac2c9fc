"""Runs that end badly or unseen leave a readable error and no lease."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from datetime import timedelta

import dagster as dg
import pytest

from captionacc_dagster import runs
from captionacc_dagster.assets.work import STOPPED
from captionacc_dagster.automation.endings import LOST, end_lost_runs, record_ending
from captionacc_dagster.catalog.lease import held_work
from captionacc_dagster.catalog.protocol import Catalog, Stage, WorkHeld
from tests.captionacc_dagster.builders import AddVideo, add_run

JOB = "video_initial_processing"


def test_a_killed_run_puts_its_video_into_error_with_a_readable_message(
    instance: dg.DagsterInstance, catalog: Catalog, add_video: AddVideo
) -> None:
    video = add_video()
    run = add_run(instance, JOB, dg.DagsterRunStatus.FAILURE, {"dagster/partition": video.id})
    catalog.claim(video.id, Stage.LAYOUT, run.run_id)

    assert record_ending(catalog, run, LOST) == [Stage.LAYOUT]
    assert catalog.video(video.id).status == "error"
    assert catalog.video(video.id).error_message == LOST


def test_a_run_that_lost_the_race_changes_nothing_when_it_ends(
    instance: dg.DagsterInstance, catalog: Catalog, add_video: AddVideo
) -> None:
    video = add_video()
    loser = add_run(instance, JOB, dg.DagsterRunStatus.CANCELED, {"dagster/partition": video.id})
    catalog.claim(video.id, Stage.LAYOUT, "winner")

    assert record_ending(catalog, loser, STOPPED) == []
    assert catalog.video(video.id).status == "processing"


def test_a_lease_nobody_renews_ends_its_run_and_frees_its_video(
    instance: dg.DagsterInstance, catalog: Catalog, add_video: AddVideo
) -> None:
    video = add_video()
    run = add_run(instance, JOB, dg.DagsterRunStatus.STARTED, {"dagster/partition": video.id})
    catalog.claim(video.id, Stage.LAYOUT, run.run_id, ttl=timedelta(seconds=-1))

    assert end_lost_runs(instance, catalog) == 1
    ended = instance.get_run_by_id(run.run_id)
    assert ended is not None
    assert ended.status is dg.DagsterRunStatus.FAILURE
    assert catalog.video(video.id).error_message == LOST
    assert end_lost_runs(instance, catalog) == 0


def test_a_live_lease_is_left_alone(
    instance: dg.DagsterInstance, catalog: Catalog, add_video: AddVideo
) -> None:
    video = add_video()
    run = add_run(instance, JOB, dg.DagsterRunStatus.STARTED, {"dagster/partition": video.id})
    catalog.claim(video.id, Stage.LAYOUT, run.run_id)
    assert end_lost_runs(instance, catalog) == 0


def test_a_run_whose_process_is_gone_is_dead_and_reported_as_failed(instance: dg.DagsterInstance) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    run = add_run(
        instance, JOB, dg.DagsterRunStatus.STARTED, {runs.PROCESS_TAG: f"{socket.gethostname()}:{gone.pid}"}
    )
    assert runs.is_dead(instance, run.run_id)
    ended = instance.get_run_by_id(run.run_id)
    assert ended is not None
    assert ended.is_finished


@pytest.mark.parametrize(
    "process",
    [f"{socket.gethostname()}:{os.getpid()}", "another-machine:1", ""],
    ids=["living", "elsewhere", "unknown"],
)
def test_a_run_of_a_living_or_unknown_process_is_not_dead(process: str, instance: dg.DagsterInstance) -> None:
    tags = {runs.PROCESS_TAG: process} if process else {}
    run = add_run(instance, JOB, dg.DagsterRunStatus.STARTED, tags)
    assert not runs.is_dead(instance, run.run_id)
    assert not runs.is_dead(instance, "00000000-0000-0000-0000-00000000abcd")


def test_work_of_a_dead_holder_is_taken_over_and_of_a_live_one_is_not(
    catalog: Catalog, add_video: AddVideo
) -> None:
    video = add_video()
    catalog.claim(video.id, Stage.LAYOUT, "first")
    with (
        pytest.raises(WorkHeld),
        held_work(catalog, video.id, Stage.LAYOUT, "second", is_dead=lambda run_id: False),
    ):
        pass
    with held_work(catalog, video.id, Stage.LAYOUT, "second", is_dead=lambda run_id: run_id == "first"):
        assert catalog.video(video.id).status == "processing"
        with pytest.raises(WorkHeld) as held:
            catalog.claim(video.id, Stage.LAYOUT, "third")
    assert held.value.holder_run_id == "second"


def test_no_lease_is_left_when_the_work_ends_however_it_ends(catalog: Catalog, add_video: AddVideo) -> None:
    video = add_video()
    with (
        pytest.raises(KeyboardInterrupt),
        held_work(catalog, video.id, Stage.LAYOUT, "first", is_dead=lambda _: False),
    ):
        raise KeyboardInterrupt
    catalog.claim(video.id, Stage.LAYOUT, "second")
