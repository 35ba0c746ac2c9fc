"""Compute as the asset graph sees it: the contract's functions, wherever they run.

`LocalCompute` and `ModalCompute` differ in nothing a caller can see: same types, same errors, same progress
in the run's log.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import dagster as dg

from captionacc_dagster.catalog.lease import HeldWork
from captionacc_dagster.catalog.protocol import Stage
from captionacc_dagster.progress import ProgressListener
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
    TrainingDataRequest,
    TrainingDataResult,
    VerifyRequest,
    VerifyResult,
    from_json,
    to_json,
)

Context = dg.AssetExecutionContext | dg.AssetCheckExecutionContext
Answer = TypeVar("Answer")

LOG_EVERY_SECONDS = 10
STOPPED = "Stopped: this run no longer holds the work on this video."


# By whose stage's time limit each function has to end.
_STAGES: Mapping[str, Stage] = {
    "extract_frames_and_ocr": Stage.LAYOUT,
    "crop_and_infer_caption_frame_extents": Stage.EXTENTS,
    "generate_caption_ocr": Stage.CAPTIONS,
    "verify_cropped_frames": Stage.EXTENTS,
    "export_training_data": Stage.EXTENTS,
}


class WorkStopped(ComputeError):
    """The call was ended because the run no longer holds the work."""

    permanent = True


class ComputeRefused(ComputeError):
    """Compute cannot be used as it is set up: not deployed, not authorised."""

    permanent = True


@dataclass(frozen=True)
class Order(Generic[Answer]):
    """One call of a compute function. `part` tells it from others of the same work that call the same."""

    function: str
    request: Any
    answer: type[Answer]
    part: str = ""

    @property
    def name(self) -> str:
        return f"{self.function} {self.part}".strip()

    @property
    def stage(self) -> Stage:
        """The stage by whose time limit the call has to end."""
        return _STAGES[self.function]

    def data(self, settings: Settings) -> dict[str, Any]:
        """What `gpu_ops.orders.carry_out` needs, but for the number of threads."""
        return {
            "function": self.function,
            "request": to_json(self.request),
            "store_url": settings.store_url,
            "ocr_engine": settings.ocr_engine_in_force,
        }


class Compute(ABC):
    """The compute functions. Each raises contract.ComputeError, and ends as soon as `held` is lost."""

    def extract_frames_and_ocr(
        self, context: Context, request: ExtractRequest, held: HeldWork
    ) -> ExtractResult:
        return self._carry_out(context, Order("extract_frames_and_ocr", request, ExtractResult), held)

    def crop_and_infer_caption_frame_extents(
        self, context: Context, request: CropInferRequest, held: HeldWork
    ) -> CropInferResult:
        order = Order("crop_and_infer_caption_frame_extents", request, CropInferResult)
        return self._carry_out(context, order, held)

    def generate_caption_ocr(
        self, context: Context, request: CaptionOcrRequest, held: HeldWork
    ) -> CaptionOcrBatch:
        part = f"from {request.captions[0].start_frame}"
        return self._carry_out(context, Order("generate_caption_ocr", request, CaptionOcrBatch, part), held)

    def verify_cropped_frames(self, context: Context, request: VerifyRequest) -> VerifyResult:
        return self._carry_out(context, Order("verify_cropped_frames", request, VerifyResult), None)

    def export_training_data(self, context: Context, request: TrainingDataRequest) -> TrainingDataResult:
        return self._carry_out(context, Order("export_training_data", request, TrainingDataResult), None)

    @abstractmethod
    def _carry_out(self, context: Context, order: Order[Answer], held: HeldWork | None) -> Answer:
        """The answer to the order, which is part of the work `held`, or of none that anybody holds."""


class Reports:
    """What a computation says while it works, passed on: progress to the listener and now and then to the
    run's log, log lines as they are.
    """

    def __init__(self, context: Context, listener: ProgressListener | None) -> None:
        self._context = context
        self._listener = listener
        self._logged: dict[str, float] = {}

    def pass_on(self, report: Mapping[str, Any]) -> None:
        """One message of `gpu_ops.orders.carry_out`."""
        if "progress" in report:
            self._progress(**report["progress"])
        elif "log" in report:
            self._context.log.error(report["log"])

    def log(self, line: str) -> None:
        """A line for the run's log."""
        self._context.log.info(line)

    def note(self, message: str) -> None:
        """A sentence for the run's log and for the listener."""
        self._context.log.info(message)
        if self._listener is not None:
            self._listener.note(message)

    def _progress(self, step: str, done: float, total: float) -> None:
        if self._listener is not None:
            self._listener.progress(step, done, total)
        now = time.monotonic()
        finished = done >= total
        if finished or now - self._logged.get(step, now - LOG_EVERY_SECONDS) >= LOG_EVERY_SECONDS:
            self._logged[step] = now
            self._context.log.info(f"{step}: {100 * done / total if total else 100:.0f} %")


def answer_of(kind: type[Answer], outcome: Mapping[str, Any]) -> Answer:
    """The answer in what `gpu_ops.orders.carry_out` returned. Raises the failure that it holds instead."""
    if "failure" in outcome:
        failure = outcome["failure"]
        raise FAILURES.get(failure["kind"], ComputeError)(failure["message"])
    try:
        return from_json(kind, outcome["answer"], ignore_unknown=True)
    except TypeError as error:
        raise ComputeError(
            f"The computing side is of another version than this one ({error}). "
            "`make deploy-compute` brings it up to date."
        ) from error
