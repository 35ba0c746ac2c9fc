"""The compute functions in a process of their own on this machine.

Progress and log lines arrive in the run while it works; a time limit, a cancelled run or a lost lease kills
the process with its children; a crash becomes a WorkerCrashed that says what happened.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

import dagster as dg

from captionacc_dagster.catalog.lease import HeldWork
from captionacc_dagster.progress import ProgressListener
from captionacc_dagster.resources.compute import (
    STOPPED,
    Answer,
    Compute,
    Context,
    Order,
    Reports,
    WorkStopped,
    answer_of,
)
from captionacc_dagster.resources.messages import WholeMessageReader
from captionacc_dagster.resources.slots import compute_slot
from captionacc_dagster.settings import Settings
from gpu_ops.contract import TimeLimitExceeded, WorkerCrashed

POLL_SECONDS = 0.1
STDERR_TAIL_BYTES = 2000
WAITING = "Waiting: this machine is busy with other videos."


@dataclass(frozen=True)
class LocalCompute(Compute):
    """The compute functions in a local process. `listener` also hears progress: a terminal, say."""

    settings: Settings
    listener: ProgressListener | None = None
    command: Sequence[str] = (sys.executable, "-m", "gpu_ops.worker")

    def _carry_out(self, context: Context, order: Order[Answer], held: HeldWork | None) -> Answer:
        stop = held.lost if held is not None else threading.Event()
        limit_seconds = self.settings.time_limit_s(order.stage)
        data = {**order.data(self.settings), "threads": self.settings.threads}
        op_context = (
            context if isinstance(context, dg.AssetExecutionContext) else context.op_execution_context
        )
        slots, count = self.settings.home / "compute-slots", self.settings.compute_slots
        reports = Reports(context, self.listener)
        free = compute_slot(slots, count, stop, lambda: reports.note(WAITING))
        with free, tempfile.TemporaryFile() as errors:
            with dg.open_pipes_session(
                op_context,
                dg.PipesTempFileContextInjector(),
                WholeMessageReader(),
                extras=data,
            ) as session:
                process = subprocess.Popen(
                    self.command,
                    env={**os.environ, **session.get_bootstrap_env_vars()},
                    stdin=subprocess.PIPE,  # never written to: its end tells the worker that we are gone
                    stdout=sys.stderr.fileno() if _has_fileno(sys.stderr) else subprocess.DEVNULL,
                    stderr=errors,
                    start_new_session=True,
                )
                messages = _Messages(reports)
                try:
                    deadline = time.monotonic() + limit_seconds
                    while process.poll() is None:
                        messages.pass_on(session.get_custom_messages())
                        if stop.is_set():
                            raise WorkStopped(STOPPED)
                        if time.monotonic() > deadline:
                            raise TimeLimitExceeded(
                                f"{order.function} was stopped at its time limit of {limit_seconds:.0f} "
                                f"seconds. Raise CAPTIONACC_{order.stage.upper()}_TIME_LIMIT_S."
                            )
                        time.sleep(POLL_SECONDS)
                finally:
                    _kill_group(process)
                    _show(errors)
            messages.pass_on(session.get_custom_messages())
            return messages.result(order.answer, process.returncode, errors)


class _Messages:
    """What the worker said, passed on as it comes; its last word is the answer or the failure."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports
        self._seen = 0
        self._last_word: Mapping[str, Any] | None = None

    def pass_on(self, messages: Any) -> None:
        fresh = list(messages)[self._seen :]
        self._seen += len(fresh)
        for message in fresh:
            if "answer" in message or "failure" in message:
                self._last_word = message
            else:
                self._reports.pass_on(message)

    def result(self, answer: type[Answer], exit_code: int, errors: IO[bytes]) -> Answer:
        if self._last_word is None:
            raise WorkerCrashed(_describe_crash(exit_code, errors))
        return answer_of(answer, self._last_word)


def _describe_crash(exit_code: int, errors: IO[bytes]) -> str:
    if exit_code == -signal.SIGKILL:
        cause = "was killed from outside, most likely because the machine ran out of memory"
    elif exit_code < 0:
        cause = f"crashed with {signal.Signals(-exit_code).name} in native code"
    else:
        cause = f"ended with exit code {exit_code} before it answered"
    tail = _tail(errors).strip().splitlines()
    return f"The computing process {cause}." + (f" Its last words: {tail[-1]}" if tail else "")


def _tail(errors: IO[bytes]) -> str:
    errors.seek(0, os.SEEK_END)
    errors.seek(max(0, errors.tell() - STDERR_TAIL_BYTES))
    return errors.read().decode(errors="replace")


def _show(errors: IO[bytes]) -> None:
    """Pass the worker's standard error on, so that the run's compute log has it."""
    errors.seek(0)
    text = errors.read().decode(errors="replace")
    if text:
        sys.stderr.write(text)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _has_fileno(stream: Any) -> bool:
    try:
        stream.fileno()
    except (AttributeError, OSError, ValueError):
        return False
    return True
