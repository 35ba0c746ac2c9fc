"""How much processor time each stage of a call takes, for those who ask: the benchmark, or an operator.

`with stage("encode"):` marks a stage. Nothing is measured, at the price of one look at a variable, unless
CAPTIONACC_STAGE_TIMES names a folder: then each call leaves a file there with seconds by stage.

A Python thread is charged exactly, a stage inside another only to the inner one. Threads that libraries start
are charged to the stage they were started in, which they tell by the name they inherit (Linux); FFmpeg gives
its threads names of its own, so the stage that decodes claims them by their beginning.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import TypeVar

VARIABLE = "CAPTIONACC_STAGE_TIMES"
DECODER_THREADS = "av:"

_LONGEST_NAME = 15  # the kernel keeps no more of a thread's name
_LOOK_EVERY_S = 0.2
_TASKS = Path("/proc/self/task")

Item = TypeVar("Item")


def stage(name: str, threads: str | None = None) -> AbstractContextManager[object]:
    """What runs inside belongs to stage `name`; so do threads whose own name begins with `threads`."""
    return _NOTHING if _clock is None else _Stage(_clock, name, threads)


def staged(name: str, items: Iterable[Item], threads: str | None = None) -> Generator[Item]:
    """The items; making each belongs to stage `name`, what is done with it does not."""
    iterator = iter(items)
    while True:
        with stage(name, threads):
            try:
                item = next(iterator)
            except StopIteration:
                return
        yield item


@contextmanager
def stage_times(call: str) -> Generator[None]:
    """Measure what runs inside if CAPTIONACC_STAGE_TIMES asks for it, and leave `<call>-<pid>.json` there:
    {"call", "stages": {name: CPU seconds}, "process": CPU seconds of this process since it started}."""
    global _clock
    folder = os.environ.get(VARIABLE)
    if not folder:
        yield
        return
    clock = _clock = _Clock()
    try:
        yield
    finally:
        _clock = None
        report = {"call": call, "stages": clock.stop(), "process": time.process_time()}
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"{call}-{os.getpid()}.json").write_text(json.dumps(report))


class _Stage:
    def __init__(self, clock: _Clock, name: str, threads: str | None) -> None:
        self._clock = clock
        self._name = name
        self._threads = threads

    def __enter__(self) -> None:
        self._clock.enter(self._name, self._threads)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clock.leave()


class _Mine(threading.local):
    """A thread's open stages, innermost last, and its CPU time when the innermost was last charged."""

    def __init__(self) -> None:
        self.open: list[str] = []
        self.charged_until = 0.0
        self.name_file = -1
        with suppress(OSError):
            self.name_file = os.open(_TASKS / str(threading.get_native_id()) / "comm", os.O_RDWR)
            self.own_name = os.read(self.name_file, 64).strip()

    def __del__(self) -> None:
        if self.name_file >= 0:
            os.close(self.name_file)


class _Clock:
    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._stage_of_name: dict[str, str] = {}
        self._claims: dict[str, str] = {}
        self._lock = threading.Lock()
        self._mine = _Mine()
        self._native = {task: _run_time(task) for task in _native_tasks()}
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="stage-times", daemon=True)
        self._watcher.start()

    def enter(self, name: str, threads: str | None) -> None:
        with self._lock:
            self._stage_of_name[name[:_LONGEST_NAME]] = name
            if threads is not None:
                self._claims[threads] = name
        self._charge()
        self._mine.open.append(name)
        self._show()

    def leave(self) -> None:
        self._charge()
        self._mine.open.pop()
        self._show()

    def stop(self) -> dict[str, float]:
        """CPU seconds by stage."""
        self._done.set()
        self._watcher.join()
        with self._lock:
            return dict(self._seconds)

    def _charge(self) -> None:
        mine, now = self._mine, time.thread_time()
        if mine.open:
            with self._lock:
                self._seconds[mine.open[-1]] += now - mine.charged_until
        mine.charged_until = now

    def _show(self) -> None:
        """Give this thread the stage's name, which threads started from here on inherit."""
        mine = self._mine
        if mine.name_file >= 0:
            name = mine.open[-1].encode()[:_LONGEST_NAME] if mine.open else mine.own_name
            os.write(mine.name_file, name)

    def _watch(self) -> None:
        while not self._done.wait(_LOOK_EVERY_S):
            self._look()
        self._look()

    def _look(self) -> None:
        """Charge what the libraries' threads ran since the last look."""
        for task in _native_tasks():
            ran = _run_time(task)
            before, self._native[task] = self._native.get(task, 0.0), ran
            with self._lock:
                name = self._stage_of(_name_of(task))
                if name is not None:
                    self._seconds[name] += max(0.0, ran - before)

    def _stage_of(self, thread: str) -> str | None:
        if thread in self._stage_of_name:
            return self._stage_of_name[thread]
        return next((name for start, name in self._claims.items() if thread.startswith(start)), None)


def _native_tasks() -> list[str]:
    """Ids of this process's threads that Python did not start."""
    ours = {str(thread.native_id) for thread in threading.enumerate()}
    try:
        return [task for task in os.listdir(_TASKS) if task not in ours]
    except OSError:
        return []


def _name_of(task: str) -> str:
    with suppress(OSError):
        return (_TASKS / task / "comm").read_text().strip()
    return ""


def _run_time(task: str) -> float:
    """Seconds the thread has run; 0 for one that has ended."""
    with suppress(OSError, ValueError, IndexError):
        return int((_TASKS / task / "schedstat").read_text().split()[0]) / 1e9
    return 0.0


_NOTHING: AbstractContextManager[object] = nullcontext()
_clock: _Clock | None = None
