"""The compute functions in a process of their own: `python -m gpu_ops.worker`, started by the control plane.

A separate process keeps pixels, native crashes and memory away from the run that orders the work. The
request arrives and progress, log lines and the answer leave through Dagster Pipes. The process lives only
as long as the one that started it: standard input is a pipe nobody writes to, and its end means the parent
is gone.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from dagster_pipes import PipesContext, open_dagster_pipes

from gpu_ops import contract
from gpu_ops.contract import ComputeError, WorkerCrashed, from_json, to_json
from gpu_ops.functions import FUNCTIONS, Workbench
from gpu_ops.store import ObjectStore

REPORT_EVERY_SECONDS = 0.5


def end_with_parent() -> None:
    """Kill this process and its children as soon as the parent is gone, however it died."""

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def throttled(report: Callable[[dict[str, Any]], None]) -> contract.Progress:
    """A Progress that reports each step's start and end, and what lies between at most twice a second."""
    last: dict[str, float] = {}

    def progress(step: str, done: float, total: float) -> None:
        now = time.monotonic()
        if step not in last or done >= total or now - last[step] >= REPORT_EVERY_SECONDS:
            last[step] = now
            report({"step": step, "done": done, "total": total})

    return progress


def answer(pipes: PipesContext) -> dict[str, Any]:
    """Carry out the one request this process was started for; failures become data."""
    order = pipes.extras
    try:
        function = FUNCTIONS[order["function"]]
        bench = Workbench(
            store=ObjectStore.open(order["store_url"]),
            threads=order["threads"],
            progress=throttled(lambda report: pipes.report_custom_message({"progress": report})),
        )
        return {"answer": to_json(function.run(bench, from_json(function.request, order["request"])))}
    except ComputeError as failure:
        return _failure(type(failure), str(failure))
    except MemoryError:
        return _failure(WorkerCrashed, "The machine ran out of memory while computing.")
    except Exception as error:
        pipes.log.error(traceback.format_exc())
        return _failure(ComputeError, f"Unexpected {type(error).__name__}: {error}")


def _failure(kind: type[ComputeError], message: str) -> dict[str, Any]:
    return {"failure": {"kind": kind.__name__, "message": message}}


def main() -> None:
    end_with_parent()
    with open_dagster_pipes() as pipes:
        pipes.report_custom_message(answer(pipes))
    # Native threads of a decoder must not keep a finished process alive.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
