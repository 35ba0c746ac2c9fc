"""Compute as the asset graph sees it: the contract's functions, wherever they run.

`LocalCompute` runs each call in a process of its own on this machine. Progress and log lines arrive in the
run while it works; a time limit, a cancelled run or a lost lease kills the process with its children; a
crash becomes a WorkerCrashed that says what happened.
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
from typing import IO, Any, Protocol, TypeVar

import dagster as dg

from captionacc_dagster.catalog.protocol import Stage
from captionacc_dagster.progress import ProgressListener
from captionacc_dagster.resources.slots import compute_slot
from captionacc_dagster.settings import Settings
from gpu_ops.contract import (
    FAILURES,
    CaptionOcrBatch,
    CaptionOcrRequest,
    ComputeError,
    CropInferRequest,
    CropInferResult,
    ExtractRequest,
    ExtractResult,
    TimeLimitExceeded,
    VerifyRequest,
    VerifyResult,
    WorkerCrashed,
    from_json,
    to_json,
)

Context = dg.AssetExecutionContext | dg.AssetCheckExecutionContext
Answer = TypeVar("Answer")

POLL_SECONDS = 0.1
LOG_EVERY_SECONDS = 10
STDERR_TAIL_BYTES = 2000
WAITING = "Waiting: this machine is busy with other videos."


class WorkStopped(ComputeError):
    """The call was ended because the run no longer holds the work."""

    permanent = True


class Compute(Protocol):
    """The compute functions. Each raises contract.ComputeError; `stop`, set by another thread, ends it."""

    def extract_frames_and_ocr(
        self, context: Context, request: ExtractRequest, stop: threading.Event
    ) -> ExtractResult: ...

    def crop_and_infer_caption_frame_extents(
        self, context: Context, request: CropInferRequest, stop: threading.Event
    ) -> CropInferResult: ...

    def generate_caption_ocr(
        self, context: Context, request: CaptionOcrRequest, stop: threading.Event
    ) -> CaptionOcrBatch: ...

    def verify_cropped_frames(
        self, context: Context, request: VerifyRequest, stop: threading.Event
    ) -> VerifyResult: ...


@dataclass(frozen=True)
class LocalCompute:
    """The compute functions in a local process. `listener` also hears progress: a terminal, say."""

    settings: Settings
    listener: ProgressListener | None = None
    command: Sequence[str] = (sys.executable, "-m", "gpu_ops.worker")

    def extract_frames_and_ocr(
        self, context: Context, request: ExtractRequest, stop: threading.Event
    ) -> ExtractResult:
        limit = self.settings.time_limit_s(Stage.LAYOUT)
        return self._call(context, "extract_frames_and_ocr", request, ExtractResult, limit, stop)

    def crop_and_infer_caption_frame_extents(
        self, context: Context, request: CropInferRequest, stop: threading.Event
    ) -> CropInferResult:
        limit = self.settings.time_limit_s(Stage.EXTENTS)
        return self._call(
            context, "crop_and_infer_caption_frame_extents", request, CropInferResult, limit, stop
        )

    def generate_caption_ocr(
        self, context: Context, request: CaptionOcrRequest, stop: threading.Event
    ) -> CaptionOcrBatch:
        limit = self.settings.time_limit_s(Stage.CAPTIONS)
        return self._call(context, "generate_caption_ocr", request, CaptionOcrBatch, limit, stop)

    def verify_cropped_frames(
        self, context: Context, request: VerifyRequest, stop: threading.Event
    ) -> VerifyResult:
        limit = self.settings.time_limit_s(Stage.EXTENTS)
        return self._call(context, "verify_cropped_frames", request, VerifyResult, limit, stop)

    def _call(
        self,
        context: Context,
        function: str,
        request: Any,
        answer: type[Answer],
        limit_seconds: float,
        stop: threading.Event,
    ) -> Answer:
        order = {
            "function": function,
            "request": to_json(request),
            "store_url": self.settings.store_url,
            "threads": self.settings.threads,
        }
        op_context = (
            context if isinstance(context, dg.AssetExecutionContext) else context.op_execution_context
        )
        slots, count = self.settings.home / "compute-slots", self.settings.compute_slots

        def waiting() -> None:
            context.log.info(WAITING)
            if self.listener is not None:
                self.listener.note(WAITING)

        free = compute_slot(slots, count, stop, waiting)
        with free, tempfile.TemporaryFile() as errors:
            with dg.open_pipes_session(
                op_context,
                dg.PipesTempFileContextInjector(),
                dg.PipesTempFileMessageReader(),
                extras=order,
            ) as session:
                process = subprocess.Popen(
                    self.command,
                    env={**os.environ, **session.get_bootstrap_env_vars()},
                    stdin=subprocess.PIPE,  # never written to: its end tells the worker that we are gone
                    stdout=sys.stderr.fileno() if _has_fileno(sys.stderr) else subprocess.DEVNULL,
                    stderr=errors,
                    start_new_session=True,
                )
                messages = _Messages(context, self.listener)
                try:
                    deadline = time.monotonic() + limit_seconds
                    while process.poll() is None:
                        messages.pass_on(session.get_custom_messages())
                        if stop.is_set():
                            raise WorkStopped("Stopped: this run no longer holds the work on this video.")
                        if time.monotonic() > deadline:
                            raise TimeLimitExceeded(
                                f"{function} was stopped at its time limit of {limit_seconds:.0f} seconds. "
                                "Raise CAPTIONACC_LAYOUT_TIME_LIMIT_S (or …_EXTENTS_…, …_CAPTIONS_…)."
                            )
                        time.sleep(POLL_SECONDS)
                finally:
                    _kill_group(process)
                    _show(errors)
            messages.pass_on(session.get_custom_messages())
            return messages.result(answer, process.returncode, errors)


class _Messages:
    """What the worker said, passed on as it comes; its last word is the answer or the failure."""

    def __init__(self, context: Context, listener: ProgressListener | None) -> None:
        self._context = context
        self._listener = listener
        self._seen = 0
        self._last_word: Mapping[str, Any] = {}
        self._logged: dict[str, float] = {}

    def pass_on(self, messages: Any) -> None:
        fresh = list(messages)[self._seen :]
        self._seen += len(fresh)
        for message in fresh:
            if "progress" in message:
                self._progress(**message["progress"])
            else:
                self._last_word = message

    def _progress(self, step: str, done: float, total: float) -> None:
        if self._listener is not None:
            self._listener.progress(step, done, total)
        now = time.monotonic()
        finished = done >= total
        if finished or now - self._logged.get(step, now - LOG_EVERY_SECONDS) >= LOG_EVERY_SECONDS:
            self._logged[step] = now
            self._context.log.info(f"{step}: {100 * done / total if total else 100:.0f} %")

    def result(self, answer: type[Answer], exit_code: int, errors: IO[bytes]) -> Answer:
        if "answer" in self._last_word:
            return from_json(answer, self._last_word["answer"])
        if "failure" in self._last_word:
            failure = self._last_word["failure"]
            raise FAILURES[failure["kind"]](failure["message"])
        raise WorkerCrashed(_describe_crash(exit_code, errors))


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
