"""A run that is killed or stopped while its computation goes on at Modal, in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from captionacc_dagster.approval import approve
from captionacc_dagster.artifacts import keys_of
from captionacc_dagster.assets.work import STOPPED
from captionacc_dagster.automation.endings import record_ending
from captionacc_dagster.catalog.protocol import Catalog, Stage, Video
from captionacc_dagster.instance import open_instance
from captionacc_dagster.partitions import videos
from captionacc_dagster.settings import Settings
from gpu_ops import database
from gpu_ops.contract import VideoKeys, to_json
from gpu_ops.layout import database as layout_db
from gpu_ops.layout.boxes import Layout
from gpu_ops.store import ObjectStore
from tests.captionacc_dagster.builders import REGION, AddVideo, crop_result
from tests.servers.modal_server import Call, ModalServer

ROOT = Path(__file__).parent.parent.parent
Start = Callable[[], "subprocess.Popen[str]"]


@pytest.fixture
def server() -> Iterator[ModalServer]:
    server = ModalServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    with open_instance(settings) as opened:
        yield opened


@pytest.fixture
def video(
    catalog: Catalog, store: ObjectStore, instance: dg.DagsterInstance, add_video: AddVideo, tmp_path: Path
) -> Video:
    """A video whose layout is approved."""
    added = add_video(status="active")
    layout_db.write_layout(tmp_path / "layout.db", Layout(region=REGION), [], 1280, 720)
    database.publish(store, keys_of(added).layout_db, tmp_path / "layout.db")
    instance.add_dynamic_partitions(str(videos.name), [added.id])
    return approve(catalog, store, added, REGION)


@pytest.fixture
def start(settings: Settings, video: Video, server: ModalServer) -> Iterator[Start]:
    """Starts a run of the video in a process of its own."""
    started: list[subprocess.Popen[str]] = []

    def begin() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.captionacc_dagster.modal_run", video.id],
            cwd=ROOT,
            env={**os.environ, "CAPTIONACC_HOME": str(settings.home), **server.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()


def test_the_run_after_a_killed_one_goes_on_with_its_call_and_pays_for_no_other(
    start: Start, server: ModalServer, catalog: Catalog, instance: dg.DagsterInstance, video: Video
) -> None:
    killed = start()
    wait_until(lambda: bool(server.calls) and server.calls[0].times_asked > 0, killed)
    killed.kill()
    killed.wait()
    # The failure sensor notices first: the video is in error and its version given up.
    (run,) = instance.get_runs()
    assert record_ending(catalog, run, "It was killed.") == [Stage.EXTENTS]

    next_run = start()
    asked = server.calls[0].times_asked
    wait_until(lambda: server.calls[0].times_asked > asked, next_run)
    server.every_call = answers_verification
    answers_crop(server.calls[0])
    output, _ = next_run.communicate(timeout=60)
    assert len([call for call in server.calls if call.function.startswith("crop")]) == 1, output
    done = catalog.video(video.id)
    assert (done.error_message, done.layout_approval_processed_at) == (None, video.layout_approved_at)
    versions = catalog.cropped_frames_versions(video.id)
    assert [(each.version, each.status) for each in versions] == [(1, "active")]


def test_a_stopped_run_ends_its_call(
    start: Start, server: ModalServer, catalog: Catalog, video: Video
) -> None:
    stopped = start()
    wait_until(lambda: bool(server.calls) and server.calls[0].times_asked > 0, stopped)
    stopped.send_signal(signal.SIGTERM)
    stopped.wait(30)
    assert server.calls[0].cancelled
    assert catalog.video(video.id).error_message == STOPPED


def answers_crop(call: Call) -> None:
    request = call.order["request"]
    keys = VideoKeys(request["tenant_id"], request["video_id"])
    call.returns({"answer": to_json(crop_result(keys, request["version"]))})


def answers_verification(call: Call) -> None:
    call.returns({"answer": {"frame_count": 250, "chunk_count": 12, "problems": []}})


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
