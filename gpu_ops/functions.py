"""The compute functions, in the terms of contract.py: read from the store, compute, publish, answer.

Each builds in a scratch folder and publishes last, so that a call that dies leaves nothing half-written where
a reader would look. Where they run (a local process, a GPU machine) is not known here.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gpu_ops import database
from gpu_ops.captions.read import read_captions
from gpu_ops.captions.sheet import contact_sheet
from gpu_ops.contract import (
    BadRequest,
    CaptionOcrBatch,
    CaptionOcrRequest,
    CropInferRequest,
    CropInferResult,
    ExtractRequest,
    ExtractResult,
    Progress,
    VerifyRequest,
    VerifyResult,
    VideoKeys,
)
from gpu_ops.extents import database as extents_db
from gpu_ops.extents.model import PairModel
from gpu_ops.extents.predict import ExtentPredictor, Prediction
from gpu_ops.extents.registry import UnknownModel
from gpu_ops.extents.timeline import timeline_jpeg
from gpu_ops.layout.extract import extract_layout
from gpu_ops.ocr.rapid import RapidEngine
from gpu_ops.store import ObjectStore
from gpu_ops.video.crop import crop_pixels, cropped_frames
from gpu_ops.video.encode import ChunkWriter
from gpu_ops.video.manifest import read_manifest
from gpu_ops.video.probe import probe
from gpu_ops.video.verify import verify_chunks


@dataclass(frozen=True)
class Workbench:
    """What a call works with: the store, how many threads it may use, and whom to tell how far it is."""

    store: ObjectStore
    threads: int
    progress: Progress


def crop_and_infer_caption_frame_extents(bench: Workbench, request: CropInferRequest) -> CropInferResult:
    """One decode of the video: crop at 10 Hz, encode chunks, find the extents.

    Raises BadVideo, MissingObject, BadRequest (no such model).
    """
    started = datetime.now(UTC)
    keys = VideoKeys(request.tenant_id, request.video_id)
    predictor = ExtentPredictor(_pair_model(request.model_version))
    with bench.store.open_local(request.video_key) as path:
        crop = crop_pixels(probe(path), request.crop_region)
        with ChunkWriter(bench.store, keys, request.version, crop) as writer:
            for frame in cropped_frames(path, request.crop_region, native=True, progress=bench.progress):
                predictor.add(frame)
                writer.add(frame)
            prediction = predictor.finish()
            manifest = writer.finish()
    completed = datetime.now(UTC)
    run = extents_db.RunRecord(request.run_id, request.version, started, completed)
    with tempfile.TemporaryDirectory() as scratch:
        built = Path(scratch) / "caption_frame_extents.db"
        extents_db.write(built, prediction, run)
        database.publish(bench.store, keys.caption_frame_extents_db, built)
    return CropInferResult(
        version=request.version,
        frame_count=prediction.frame_count,
        label_counts=prediction.label_counts,
        processing_duration_seconds=(completed - started).total_seconds(),
        caption_frame_extents_db_key=keys.caption_frame_extents_db,
        cropped_frames_prefix=keys.cropped_frames(request.version),
        chunk_count=len(manifest.chunks),
        total_size_bytes=manifest.total_bytes,
        caption_count=sum(extent.state == "predicted" for extent in prediction.extents),
        model_version=prediction.model_version,
        crop_pixels=crop,
        data_versions={
            "cropped_frames": _digest(chunk.sha256.encode() for chunk in manifest.chunks),
            "caption_frame_extents_db": _digest_of_prediction(prediction),
        },
        preview_jpeg=timeline_jpeg(prediction.extents),
    )


def verify_cropped_frames(bench: Workbench, request: VerifyRequest) -> VerifyResult:
    """Decode every chunk of a version. Raises MissingObject when there is no such version."""
    prefix = VideoKeys(request.tenant_id, request.video_id).cropped_frames(request.version)
    manifest = read_manifest(bench.store, prefix)
    problems = verify_chunks(bench.store, prefix, manifest)
    return VerifyResult(
        frame_count=manifest.frame_count, chunk_count=len(manifest.chunks), problems=tuple(problems)
    )


def _pair_model(version: str | None) -> PairModel:
    try:
        return PairModel.load(version)
    except UnknownModel as error:
        raise BadRequest(str(error)) from error


def _digest(parts: Iterable[bytes]) -> str:
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part)
    return sha.hexdigest()


def _digest_of_prediction(prediction: Prediction) -> str:
    """A data version of what was predicted, whenever and by whichever run."""
    extents = repr([(e.start_frame_index, e.end_frame_index, e.state) for e in prediction.extents])
    return _digest([prediction.model_version.encode(), extents.encode()])


@dataclass(frozen=True)
class ComputeFunction:
    """A function that can be ordered by name, and the type of its request."""

    request: type[Any]
    run: Callable[[Workbench, Any], Any]


FUNCTIONS: Mapping[str, ComputeFunction] = {
    "crop_and_infer_caption_frame_extents": ComputeFunction(
        CropInferRequest, crop_and_infer_caption_frame_extents
    ),
    "verify_cropped_frames": ComputeFunction(VerifyRequest, verify_cropped_frames),
}
