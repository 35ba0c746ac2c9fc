"""Stage times: exact where Python runs, right where libraries run threads of their own, absent otherwise."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from gpu_ops.stages import VARIABLE, stage, stage_times, staged

WORK_S = 0.15


def burn(seconds: float = WORK_S) -> None:
    """Use so much CPU time in this thread."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "times"))
    return tmp_path / "times"


def report_in(folder: Path) -> dict[str, Any]:
    (path,) = folder.iterdir()
    return json.loads(path.read_text())


def test_a_stage_inside_another_is_charged_only_once(folder: Path) -> None:
    with stage_times("call"), stage("outer"):
        burn()
        with stage("inner"):
            burn()
        burn()
    report = report_in(folder)
    assert report["call"] == "call"
    assert report["stages"]["inner"] == pytest.approx(WORK_S, abs=0.05)
    assert report["stages"]["outer"] == pytest.approx(2 * WORK_S, abs=0.05)
    assert report["process"] >= 3 * WORK_S


def test_making_an_item_is_charged_and_using_it_is_not(folder: Path) -> None:
    def made() -> Any:
        for number in range(3):
            burn(WORK_S / 3)
            yield number

    with stage_times("call"):
        for _ in staged("making", made()):
            burn(WORK_S)
    assert report_in(folder)["stages"] == {"making": pytest.approx(WORK_S, abs=0.05)}


def test_stages_of_several_threads_add_up(folder: Path) -> None:
    def work() -> None:
        with stage("encode"):
            burn()

    with stage_times("call"):
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert report_in(folder)["stages"]["encode"] == pytest.approx(2 * WORK_S, abs=0.08)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads have names and times in /proc")
def test_threads_of_a_library_belong_to_the_stage_that_started_them(folder: Path) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (1500, 1500), dtype=np.uint8)
    started = time.process_time()
    cv2.setNumThreads(1)  # ends threads that were started before, which no other number does
    cv2.setNumThreads(2)
    try:
        with stage_times("call"), stage("blur"):
            for _ in range(12):
                cv2.GaussianBlur(picture, (0, 0), 15)
            time.sleep(0.1)
    finally:
        cv2.setNumThreads(-1)
    used = time.process_time() - started
    assert report_in(folder)["stages"]["blur"] == pytest.approx(used, rel=0.2, abs=0.05)


def test_nothing_is_measured_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    before = threading.active_count()
    with stage_times("call"), stage("decode"):
        assert threading.active_count() == before
    assert list(tmp_path.iterdir()) == []
