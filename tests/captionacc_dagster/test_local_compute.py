"""Local compute: what a misbehaving worker process becomes in the run that ordered it."""

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from captionacc_dagster.catalog.lease import HeldWork
from captionacc_dagster.catalog.protocol import Catalog, Stage
from captionacc_dagster.resources.compute import WorkStopped
from captionacc_dagster.resources.local_compute import LocalCompute
from captionacc_dagster.settings import Settings
from gpu_ops.contract import (
    BadVideo,
    CaptionOcrBatch,
    CaptionOcrRequest,
    ComputeError,
    FrameRange,
    TimeLimitExceeded,
    WorkerCrashed,
)
from tests.captionacc_dagster.builders import AddVideo

REQUEST = CaptionOcrRequest(chunks_prefix="some/prefix", captions=(FrameRange(start_frame=0, end_frame=9),))
ANSWER = {"captions": [], "ocr_engine": "fake", "processing_duration_seconds": 1.0}
PREAMBLE = """
import os, signal, subprocess, sys, time
from pathlib import Path
from dagster_pipes import open_dagster_pipes
with open_dagster_pipes() as pipes:
    def say(**message): pipes.report_custom_message(message)
"""
SLEEPER = """
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path({pids!r}).write_text(f"{{os.getpid()}} {{child.pid}}")
    time.sleep(600)
"""


class Listener:
    def __init__(self) -> None:
        self.heard: list[tuple[str, float, float]] = []

    def stage(self, video: str, stage: str) -> None: ...

    def note(self, message: str) -> None: ...

    def progress(self, step: str, done: float, total: float) -> None:
        self.heard.append((step, done, total))


@pytest.fixture
def call(
    tmp_path: Path, instance: dg.DagsterInstance, catalog: Catalog, add_video: AddVideo
) -> Callable[..., Any]:
    """Runs one compute call inside a real run, the worker being the given script; answers result or error."""

    def run(
        script: str, *, limit: float = 60, stop: threading.Event | None = None, listener: Any = None
    ) -> Any:
        worker = tmp_path / "worker.py"
        worker.write_text(PREAMBLE + script)
        settings = Settings(home=tmp_path / "home", captions_time_limit_s=limit)
        compute = LocalCompute(settings, listener, (sys.executable, str(worker)))
        held = HeldWork(catalog, add_video(), Stage.CAPTIONS, "run", stop or threading.Event())
        answers: list[Any] = []

        @dg.asset
        def ordered(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
            try:
                answers.append(compute.generate_caption_ocr(context, REQUEST, held))
            except ComputeError as error:
                answers.append(error)
            return dg.MaterializeResult()

        assert dg.materialize([ordered], instance=instance).success
        return answers[0]

    return run


def test_an_answer_arrives_with_the_progress_on_the_way(call: Callable[..., Any]) -> None:
    listener = Listener()
    answer = call(
        f"""
    for done in (1, 2): say(progress={{"step": "verify", "done": done, "total": 2}})
    say(answer={ANSWER})
""",
        listener=listener,
    )
    assert answer == CaptionOcrBatch(captions=(), ocr_engine="fake", processing_duration_seconds=1.0)
    assert listener.heard == [("verify", 1, 2), ("verify", 2, 2)]


def test_progress_is_heard_while_the_work_goes_on(call: Callable[..., Any], tmp_path: Path) -> None:
    """The worker waits until its progress was heard: only a listener told at once lets it end."""
    heard = tmp_path / "heard"

    class Answering(Listener):
        def progress(self, step: str, done: float, total: float) -> None:
            heard.touch()

    answer = call(
        f"""
    say(progress={{"step": "verify", "done": 1, "total": 2}})
    while not Path({str(heard)!r}).exists(): time.sleep(0.05)
    say(answer={ANSWER})
""",
        listener=Answering(),
    )
    assert isinstance(answer, CaptionOcrBatch)


def test_a_failure_keeps_its_kind_and_its_sentence(call: Callable[..., Any]) -> None:
    error = call('    say(failure={"kind": "BadVideo", "message": "The file is empty."})')
    assert isinstance(error, BadVideo)
    assert str(error) == "The file is empty."


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("    os.kill(os.getpid(), signal.SIGSEGV)", "crashed with SIGSEGV in native code"),
        ("    os.kill(os.getpid(), signal.SIGKILL)", "most likely because the machine ran out of memory"),
        ("    sys.stderr.write('no space left'); sys.stderr.flush(); os._exit(3)", "no space left"),
    ],
)
def test_a_crash_says_what_happened(call: Callable[..., Any], script: str, message: str) -> None:
    error = call(script)
    assert isinstance(error, WorkerCrashed)
    assert message in str(error)


def test_the_time_limit_kills_the_worker_and_its_children(call: Callable[..., Any], tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    error = call(SLEEPER.format(pids=str(pids)), limit=2)
    assert isinstance(error, TimeLimitExceeded)
    assert "time limit of 2 seconds" in str(error)
    assert_gone(pids)


def test_losing_the_lease_kills_the_worker_and_its_children(call: Callable[..., Any], tmp_path: Path) -> None:
    pids, stop = tmp_path / "pids", threading.Event()

    def lose() -> None:
        while not pids.exists():
            time.sleep(0.05)
        stop.set()

    threading.Thread(target=lose, daemon=True).start()
    error = call(SLEEPER.format(pids=str(pids)), stop=stop)
    assert isinstance(error, WorkStopped)
    assert_gone(pids)


def assert_gone(pids: Path) -> None:
    for pid in map(int, pids.read_text().split()):
        deadline = time.monotonic() + 10
        while _alive(pid):
            assert time.monotonic() < deadline, f"process {pid} is still there"
            time.sleep(0.05)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
