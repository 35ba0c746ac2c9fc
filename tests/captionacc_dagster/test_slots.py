"""Compute slots: so many computations on one machine and no more, whoever ordered them."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from captionacc_dagster.resources.slots import compute_slot


def test_the_third_of_two_slots_waits_until_one_is_free(tmp_path: Path) -> None:
    never, told, entered = threading.Event(), threading.Event(), threading.Event()

    def third() -> None:
        with compute_slot(tmp_path, 2, never, told.set):
            entered.set()

    with compute_slot(tmp_path, 2, never, told.set):
        with compute_slot(tmp_path, 2, never, told.set):
            assert not told.is_set()
            thread = threading.Thread(target=third)
            thread.start()
            assert told.wait(10)
            assert not entered.wait(0.5)
        assert entered.wait(10)
    thread.join()


def test_a_killed_holder_frees_its_slot(tmp_path: Path) -> None:
    script = f"""
import threading, time
from pathlib import Path
from captionacc_dagster.resources.slots import compute_slot
with compute_slot(Path({str(tmp_path)!r}), 1, threading.Event(), lambda: None):
    print("held", flush=True)
    time.sleep(600)
"""
    holder = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    began = time.monotonic()
    with compute_slot(tmp_path, 1, threading.Event(), lambda: None):
        assert time.monotonic() - began < 5


def test_whoever_is_told_to_stop_does_not_wait(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with (
        compute_slot(tmp_path, 1, threading.Event(), lambda: None),
        compute_slot(tmp_path, 1, stop, lambda: None),
    ):
        pass
