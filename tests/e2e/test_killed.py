"""`kill -9` in every stage: the next run completes, nothing is left half-written, no lease is stuck."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from captionacc_dagster.catalog.protocol import Catalog, Stage, Video
from captionacc_dagster.settings import Settings
from gpu_ops.contract import VideoKeys
from gpu_ops.store import ObjectStore
from tests.e2e.conftest import Captionacc

pytestmark = pytest.mark.slow

UNDER_WAY: dict[Stage, Callable[[Video], bool]] = {
    Stage.LAYOUT: lambda video: video.status == "processing",
    Stage.EXTENTS: lambda video: (
        video.caption_status == "processing" and video.current_cropped_frames_version is None
    ),
    Stage.CAPTIONS: lambda video: (
        video.caption_status == "processing" and video.current_cropped_frames_version is not None
    ),
}


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


@pytest.mark.parametrize("stage", list(Stage))
def test_a_killed_compute_process_is_replaced_and_the_film_completes(
    stage: Stage,
    process: subprocess.Popen[str],
    settings: Settings,
    catalog: Catalog,
    store: ObjectStore,
    tmp_path: Path,
) -> None:
    worker = worker_in(stage, settings, catalog)
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
    film: Path,
    tmp_path: Path,
) -> None:
    worker = worker_in(stage, settings, catalog)
    process.send_signal(signal.SIGKILL)
    process.wait()
    psutil.wait_procs([worker], timeout=10)
    assert not worker.is_running()

    done = captionacc("process", film, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "blue umbrella" in (tmp_path / "out" / "film.srt").read_text()
    assert_clean(catalog, store, settings)


def worker_in(stage: Stage, settings: Settings, catalog: Catalog) -> psutil.Process:
    """The compute process of the stage, as soon as it is at work."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if any(UNDER_WAY[stage](video) for video in catalog.videos()) and (found := workers(settings)):
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
