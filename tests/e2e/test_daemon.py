"""Runs of the daemon, killed and cancelled: nothing is stuck, and the catalog says what happened."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import dagster as dg
import psutil
import pytest

from captionacc_dagster.assets.work import STOPPED
from captionacc_dagster.catalog.protocol import Catalog, Video
from captionacc_dagster.runs import PROCESS_TAG
from captionacc_dagster.settings import Settings
from tests.e2e.conftest import Captionacc
from tests.e2e.dev import dagster_dev, graphql, wait_for
from tests.e2e.test_killed import workers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TERMINATE = """mutation ($run: String!) {
  terminateRun(runId: $run) { __typename ... on TerminateRunFailure { message } }
}"""


def test_a_killed_run_is_retried_by_itself_and_a_cancelled_one_says_so_and_can_be_retried(
    captionacc: Captionacc,
    film: Path,
    tmp_path: Path,
    settings: Settings,
    catalog: Catalog,
    instance: dg.DagsterInstance,
) -> None:
    log = tmp_path / "dev.log"
    killed, cancelled = tmp_path / "killed.mp4", tmp_path / "cancelled.mp4"
    shutil.copy(film, killed)
    cancelled.write_bytes(film.read_bytes() + b"\0")  # the same film under another hash

    def video(name: str) -> Video:
        return next(video for video in catalog.videos() if video.display_path == name)

    def at_work() -> bool:
        return under_way(instance) is not None and bool(workers(settings))

    with dagster_dev(settings, log) as address:
        assert captionacc("ingest", killed).returncode == 0
        wait_for("the computation", at_work, 180, log)
        (worker,) = workers(settings)
        os.kill(process_of(under_way(instance)), signal.SIGKILL)
        psutil.wait_procs([worker], timeout=20)
        assert not worker.is_running()
        wait_for("the layout", lambda: video("killed.mp4").status == "active", 240, log)
        assert video("killed.mp4").error_message is None

        assert captionacc("ingest", cancelled).returncode == 0
        wait_for("the computation", at_work, 180, log)
        (worker,) = workers(settings)
        run = under_way(instance)
        assert run is not None
        assert "TerminateRunSuccess" in graphql(address, TERMINATE, {"run": run.run_id})
        wait_for("the cancellation", lambda: video("cancelled.mp4").status == "error", 240, log)
        assert video("cancelled.mp4").error_message == STOPPED
        psutil.wait_procs([worker], timeout=20)
        assert not worker.is_running()

        assert captionacc("retry", "cancelled.mp4").returncode == 0
        wait_for("the second try", lambda: video("cancelled.mp4").status == "active", 240, log)


def under_way(instance: dg.DagsterInstance) -> dg.DagsterRun | None:
    """The run that is being carried out, once it has noted its process."""
    runs = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
    return next((run for run in runs if PROCESS_TAG in run.tags), None)


def process_of(run: dg.DagsterRun | None) -> int:
    assert run is not None
    return int(run.tags[PROCESS_TAG].rpartition(":")[2])
