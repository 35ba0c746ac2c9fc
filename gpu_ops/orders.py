"""An order is a compute function's name and its request as JSON-ready data; here it becomes an answer or a
failure, as JSON-ready data too, the same in a local process and on Modal.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from gpu_ops.contract import BadRequest, ComputeError, Progress, WorkerCrashed, from_json, kind_of, to_json
from gpu_ops.functions import FUNCTIONS, ComputeFunction, Workbench
from gpu_ops.stages import stage_times
from gpu_ops.store import ObjectStore

REPORT_EVERY_SECONDS = 0.5

Say = Callable[[dict[str, Any]], None]


def carry_out(order: Mapping[str, Any], say: Say) -> dict[str, Any]:
    """Carry out {"function", "request", "store_url", "ocr_engine", "threads"}; never raises an Exception.

    `say` hears {"progress": {"step", "done", "total"}} on the way, and {"log": text} where something
    unexpected happened. Answers {"answer": result} or {"failure": {"kind": of contract.FAILURES, "message"}}.
    """
    try:
        function = FUNCTIONS[order["function"]]
        bench = Workbench(
            store=ObjectStore.from_environment(order["store_url"]),
            threads=order["threads"],
            ocr_engine=order["ocr_engine"],
            progress=_throttled(say),
        )
        with stage_times(order["function"]):
            result = function.run(bench, _request(function, order["request"]))
        return {"answer": to_json(result)}
    except ComputeError as failure:
        return _failure(failure)
    except MemoryError:
        return _failure(WorkerCrashed("The machine ran out of memory while computing."))
    except Exception as error:
        say({"log": traceback.format_exc()})
        return _failure(ComputeError(f"Unexpected {type(error).__name__}: {error}"))


def _request(function: ComputeFunction, data: Any) -> Any:
    try:
        return from_json(function.request, data)
    except TypeError as error:
        raise BadRequest(
            f"The computing side is of another version than the one that orders ({error}). "
            "`make deploy-compute` brings it up to date."
        ) from error


def _failure(failure: ComputeError) -> dict[str, Any]:
    return {"failure": {"kind": kind_of(failure), "message": str(failure)}}


def _throttled(say: Say) -> Progress:
    """A Progress that reports each step's start and end, and what lies between at most twice a second."""
    last: dict[str, float] = {}

    def progress(step: str, done: float, total: float) -> None:
        now = time.monotonic()
        if step not in last or done >= total or now - last[step] >= REPORT_EVERY_SECONDS:
            last[step] = now
            say({"progress": {"step": step, "done": done, "total": total}})

    return progress
