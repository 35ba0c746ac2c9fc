"""`kill -9` in every stage: the next run completes, nothing is left half-written, no lease is stuck."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest

from captionacc_dagster.assets.work import STOPPED
from captionacc_dagster.catalog.protocol import Catalog, Stage
from captionacc_dagster.jobs import JOB_OF_STAGE
from captionacc_dagster.settings import Settings
from gpu_ops.contract import VideoKeys
from gpu_ops.store import ObjectStore
from tests.e2e.conftest import Captionacc

pytestmark = pytest.mark.slow


@pytest.fixture
def process(settings: Settings, film: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """`captionacc process` under way in the background."""
    command = Path(sys.executable).parent / "captionacc"
    started = subprocess.Popen(
        [command, "process", film, "--out", tmp_path / "out"],
        env={**os.environ, "CAPTIONACC_HOME": str(settings.home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    yield started
    started.kill()
    started.wait()


def test_a_killed_compute_process_is_replaced_and_the_film_completes(
    process: subprocess.Popen[str],
    settings: Settings,
    catalog: Catalog,
    store: ObjectStore,
    instance: dg.DagsterInstance,
    tmp_path: Path,
) -> None:
    # Who waits for a process does not know its stage; this one leaves the most behind.
    worker = worker_in(Stage.EXTENTS, settings, instance)
    worker.send_signal(signal.SIGKILL)

    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert "blue umbrella" in (tmp_path / "out" / "film.srt").read_text()
    assert_clean(catalog, store, settings)


@pytest.mark.parametrize("stage", list(Stage))
def test_a_killed_run_leaves_nothing_behind_and_the_next_one_completes(
    stage: Stage,
    process: subprocess.Popen[str],
    captionacc: Captionacc,
    settings: Settings,
    catalog: Catalog,
    store: ObjectStore,
    instance: dg.DagsterInstance,
    film: Path,
    tmp_path: Path,
) -> None:
    worker = worker_in(stage, settings, instance)
    process.send_signal(signal.SIGKILL)
    process.wait()
    psutil.wait_procs([worker], timeout=10)
    assert not worker.is_running()

    done = captionacc("process", film, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "blue umbrella" in (tmp_path / "out" / "film.srt").read_text()
    assert_clean(catalog, store, settings)


def test_ctrl_c_ends_at_once_says_so_and_the_same_command_goes_on(
    process: subprocess.Popen[str],
    captionacc: Captionacc,
    settings: Settings,
    catalog: Catalog,
    store: ObjectStore,
    instance: dg.DagsterInstance,
    film: Path,
    tmp_path: Path,
) -> None:
    worker = worker_in(Stage.EXTENTS, settings, instance)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Stopped" in output
    assert "Traceback" not in output
    psutil.wait_procs([worker], timeout=10)
    assert workers(settings) == []
    (video,) = catalog.videos()
    assert (video.caption_status, video.error_message) == ("error", STOPPED)

    done = captionacc("process", film, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert_clean(catalog, store, settings)


def test_two_terminals_on_one_film_share_the_work(
    process: subprocess.Popen[str],
    captionacc: Captionacc,
    settings: Settings,
    catalog: Catalog,
    store: ObjectStore,
    instance: dg.DagsterInstance,
    film: Path,
    tmp_path: Path,
) -> None:
    worker_in(Stage.LAYOUT, settings, instance)
    second = captionacc("process", film, "--out", tmp_path / "second")
    assert second.returncode == 0, second.stderr
    assert process.wait(timeout=240) == 0
    assert second.stderr.count("Another run is at work") <= len(Stage)
    assert instance.get_runs_count() <= 2 * len(Stage)
    (video,) = catalog.videos()
    assert video.current_cropped_frames_version == 1
    assert (tmp_path / "out/film.srt").read_text() == (tmp_path / "second/film.srt").read_text()
    assert_clean(catalog, store, settings)


def worker_in(stage: Stage, settings: Settings, instance: dg.DagsterInstance) -> psutil.Process:
    """The compute process of the stage, as soon as it is at work."""
    started = dg.RunsFilter(job_name=JOB_OF_STAGE[stage], statuses=[dg.DagsterRunStatus.STARTED])
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if instance.get_runs(started) and (found := workers(settings)):
            return found[0]
        time.sleep(0.02)
    raise AssertionError(f"{stage} did not begin")


def workers(settings: Settings) -> list[psutil.Process]:
    """Compute processes of this test's home."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if "gpu_ops.worker" in process.cmdline() and process.environ().get("CAPTIONACC_HOME") == str(
                settings.home
            ):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def assert_clean(catalog: Catalog, store: ObjectStore, settings: Settings) -> None:
    (video,) = catalog.videos()
    assert (video.status, video.caption_status, video.error_message) == ("active", "ready", None)
    assert workers(settings) == []
    for stage in Stage:
        catalog.claim(video.id, stage, "afterwards")
        catalog.release(video.id, stage, "afterwards")
    keys, version = VideoKeys(video.tenant_id, video.id), video.current_cropped_frames_version
    assert version is not None
    unfinished = [
        info.key
        for info in store.list(keys.client)
        if "/cropped_frames_v" in info.key and not info.key.startswith(f"{keys.cropped_frames(version)}/")
    ]
    assert unfinished == []
    assert [path for path in settings.store_path.rglob("*") if path.is_file() and "#" in path.name] == []
