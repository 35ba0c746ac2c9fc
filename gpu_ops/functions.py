"""The compute functions, in the terms of contract.py: read from the store, compute, publish, answer.

Each builds in a scratch folder and publishes last, so that a call that dies leaves nothing half-written where
a reader would look. Where they run (a local process, a GPU machine) is not known here.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2

from gpu_ops import database, gpu
from gpu_ops.captions import database as captions_db
from gpu_ops.captions.read import read_captions
from gpu_ops.captions.sheet import contact_sheet
from gpu_ops.contract import (
    GRID_HZ,
    BadRequest,
    CaptionOcrBatch,
    CaptionOcrRequest,
    ComputeError,
    CropInferRequest,
    CropInferResult,
    ExtractRequest,
    ExtractResult,
    MissingObject,
    OcrEngineName,
    Progress,
    TrainingDataRequest,
    TrainingDataResult,
    VerifyRequest,
    VerifyResult,
    VideoKeys,
)
from gpu_ops.extents import database as extents_db
from gpu_ops.extents.annotated import cut_shards, plan_scenes
from gpu_ops.extents.model import GPU_BATCH, PairModel
from gpu_ops.extents.places import PlacesPredictor
from gpu_ops.extents.predict import BATCH, Prediction
from gpu_ops.extents.provenance import code_version
from gpu_ops.extents.registry import UnknownModel
from gpu_ops.extents.timeline import timeline_jpeg
from gpu_ops.layout import database as layout_db
from gpu_ops.layout.analysis import CaptionRowModel, suggest_probe_times
from gpu_ops.layout.extract import extract_layout
from gpu_ops.ocr.engine import OcrEngine
from gpu_ops.ocr.languages import check_languages, reading_warnings
from gpu_ops.regions import CropRegion
from gpu_ops.stages import DECODER_THREADS, stage, staged
from gpu_ops.store import ObjectStore
from gpu_ops.video.ahead import ahead
from gpu_ops.video.cover import Place, covered, in_strip
from gpu_ops.video.crop import crop_pixels, cropped_frames
from gpu_ops.video.encode import ChunkWriter
from gpu_ops.video.full_frames import FullFrameWriter
from gpu_ops.video.manifest import read_manifest
from gpu_ops.video.probe import probe
from gpu_ops.video.sample import SampledFrame, full_frame_times, sample_frames
from gpu_ops.video.verify import verify_chunks

CUT_OFF = (
    "The letters of {count} captions reach the left or right edge of the crop region and may be cut off. "
    "Approve a wider one, such as {region}"
)
NO_CAPTIONS = "No captions were found. Approve the layout with a region if there are some."
# Decoded frames that may wait for who uses them: enough to even out the work, few enough for any memory.
FULL_FRAMES_AHEAD = 2
CROPPED_FRAMES_AHEAD = 16


@dataclass(frozen=True)
class Workbench:
    """What a call works with: the store, how many threads it may use, which engine reads text, and whom to
    tell how far it is.
    """

    store: ObjectStore
    threads: int
    ocr_engine: OcrEngineName
    progress: Progress


def extract_frames_and_ocr(bench: Workbench, request: ExtractRequest) -> ExtractResult:
    """Sample full frames, read them, propose the caption region.

    Raises BadVideo, MissingObject, BadRequest (a language the engine cannot read), OcrRefused, ComputeError
    when OCR failed on every frame.
    """
    started = time.monotonic()
    keys = VideoKeys(request.tenant_id, request.video_id)
    with stage("read frames"):
        engine = _ocr_engine(bench, request.languages)
    with tempfile.TemporaryDirectory() as scratch:
        layout_path = Path(scratch) / "layout.db"
        known = database.fetch(bench.store, keys.layout_db, layout_path)
        labelled = [box for box in layout_db.read_boxes(layout_path) if box.label] if known else []
        with bench.store.open_local(request.video_key) as path, FullFrameWriter(bench.store, keys) as writer:
            facts = probe(path)
            times = full_frame_times(facts, request.frame_rate)
            stored = {round(moment * GRID_HZ) for moment in times}
            probes = suggest_probe_times(facts.duration, times)

            def look_at(moments: Sequence[float]) -> Iterator[SampledFrame]:
                sampled = sample_frames(path, moments, bench.progress, facts=facts)
                for frame in ahead(staged("sample frames", sampled, DECODER_THREADS), FULL_FRAMES_AHEAD):
                    if frame.index in stored:
                        with stage("write frames"):
                            writer.add(frame)
                    yield frame

            with stage("read frames"):
                found = extract_layout(
                    look_at(sorted([*times, *probes])),
                    engine,
                    stored=stored,
                    labelled=labelled,
                    look_further=look_at,
                )
            frames_bytes, frames_digest = writer.finish()
        if len(found.failed_frames) == len(times):
            raise ComputeError("Text recognition failed on every frame of this video.")
        analysis = found.analysis
        raw_path, server_path = Path(scratch) / "raw-ocr.db", Path(scratch) / "layout-server.db"
        layout_db.write_raw_ocr(raw_path, found.boxes)
        layout_db.write_layout_server(server_path, analysis.layout, analysis.model, found.preview_jpeg)
        layout_db.write_layout(layout_path, analysis.layout, analysis.boxes, facts.width, facts.height)
        database.publish(bench.store, keys.raw_ocr_db, raw_path)
        database.publish(bench.store, keys.layout_server_db, server_path)
        database.publish(bench.store, keys.layout_db, layout_path)
    return ExtractResult(
        frame_count=len(times),
        duration=facts.duration,
        frame_width=facts.width,
        frame_height=facts.height,
        video_codec=facts.codec,
        bitrate=facts.bitrate,
        ocr_box_count=found.box_count,
        failed_ocr_count=len(found.failed_frames),
        processing_duration_seconds=time.monotonic() - started,
        full_frames_key=keys.full_frames,
        ocr_db_key=keys.raw_ocr_db,
        layout_db_key=keys.layout_db,
        region=analysis.layout.region,
        caption_box_count=analysis.caption_box_count,
        ocr_engine=engine.name,
        billed_images=engine.billed_images,
        full_frames_bytes=frames_bytes,
        data_versions={
            "full_frames": frames_digest,
            "raw_ocr_db": _digest([repr(sorted(found.boxes.items())).encode()]),
            "layout_db": _digest([repr((analysis.layout, analysis.boxes)).encode()]),
        },
        preview_jpeg=found.preview_jpeg,
        warnings=() if analysis.layout.region else (NO_CAPTIONS,),
    )


def crop_and_infer_caption_frame_extents(bench: Workbench, request: CropInferRequest) -> CropInferResult:
    """One decode of the video: crop at 10 Hz, encode chunks, find the extents.

    Raises BadVideo, MissingObject, BadRequest (no such model), ComputeError where a newer version than the
    request's was published meanwhile.
    """
    started = datetime.now(UTC)
    keys = VideoKeys(request.tenant_id, request.video_id)
    model = _pair_model(request.model_version)
    with bench.store.open_local(request.video_key) as path:
        facts = probe(path)
        crop = crop_pixels(facts, request.crop_region)
        heights = [bottom - top for _, top, _, bottom in crop.parts]
        predictor = PlacesPredictor(model, heights, GPU_BATCH if model.on_gpu else BATCH)
        watermarks = in_strip(_watermarks(bench.store, keys), facts, crop)
        with ChunkWriter(bench.store, keys, request.version, crop, watermarks) as writer:
            cropped = cropped_frames(
                path, request.crop_region, native=True, progress=bench.progress, facts=facts
            )
            for frame in ahead(staged("decode and crop", cropped, DECODER_THREADS), CROPPED_FRAMES_AHEAD):
                with stage("pair model"):
                    predictor.add(replace(frame, y=covered(frame.y, watermarks)))
                writer.add(frame)
            with stage("pair model"):
                prediction = predictor.finish()
            manifest = writer.finish()
    completed = datetime.now(UTC)
    run = extents_db.RunRecord(
        run_id=request.run_id,
        cropped_frames_version=request.version,
        started_at=started,
        completed_at=completed,
    )
    with tempfile.TemporaryDirectory() as scratch:
        published = Path(scratch) / "published.db"
        # A call that nobody waits for any more must not take the place of the one that came after it.
        if database.fetch(bench.store, keys.caption_frame_extents_db, published):
            newest, _ = extents_db.read_origin(published)
            if newest > request.version:
                raise ComputeError(f"Version {newest} was computed while this call was under way.")
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
        cut_off_count=prediction.cut_off_count,
        warnings=_crop_warnings(prediction.cut_off_count, request.crop_region),
        computed_on=gpu.computed_on(model.on_gpu),
        preview_jpeg=timeline_jpeg(prediction.extents),
    )


def _crop_warnings(cut_off_count: int, region: CropRegion) -> Sequence[str]:
    wider = region.widened()
    return (CUT_OFF.format(count=cut_off_count, region=wider),) if cut_off_count and wider != region else ()


def _watermarks(store: ObjectStore, keys: VideoKeys) -> Sequence[Place]:
    """What the analysis of the layout found to cover."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "layout-server.db"
        model = layout_db.read_model(path) if database.fetch(store, keys.layout_server_db, path) else None
        return CaptionRowModel.from_bytes(model.data).covers if model else ()


def generate_caption_ocr(bench: Workbench, request: CaptionOcrRequest) -> CaptionOcrBatch:
    """Read each caption's median frame.

    Raises MissingObject, BadRequest (a language the engine cannot read), OcrRefused.
    """
    started = time.monotonic()
    with stage("read captions"):
        engine = _ocr_engine(bench, request.languages)
        readings = read_captions(
            bench.store,
            request.chunks_prefix,
            request.captions,
            engine,
            bench.progress,
            watermarks=read_manifest(bench.store, request.chunks_prefix).watermarks,
            gaps=request.gaps,
        )
    return CaptionOcrBatch(
        captions=tuple(reading.result for reading in readings),
        ocr_engine=engine.name,
        billed_images=engine.billed_images,
        processing_duration_seconds=time.monotonic() - started,
        preview_jpeg=contact_sheet(readings),
        warnings=tuple(reading_warnings([reading.result.error for reading in readings])),
    )


def export_training_data(bench: Workbench, request: TrainingDataRequest) -> TrainingDataResult:
    """Cut training scenes from a video's confirmed captions.

    Shards are named by their content and come first, then the provenance.json that lists them; shards of an
    earlier export go last. Raises MissingObject (no captions, or none of their frames).
    """
    keys = VideoKeys(request.tenant_id, request.video_id)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "captions.db"
        if not database.fetch(bench.store, keys.captions_db, path):
            raise MissingObject("This video has no captions yet.")
        rows, facts = captions_db.read_rows(path), captions_db.read_metadata(path)
    version = int(facts["cropped_frames_version"])
    prefix = keys.cropped_frames(version)
    scenes = plan_scenes(rows, request.since)
    shards: list[dict[str, Any]] = []
    preview = b""
    for shard in cut_shards(bench.store, prefix, read_manifest(bench.store, prefix), scenes):
        bench.store.put(f"{keys.training_data}/{shard.name}", shard.data)
        shards.append({"name": shard.name, "bytes": len(shard.data), "scenes": shard.scenes})
        preview = preview or cv2.imencode(".jpg", shard.preview)[1].tobytes()
        bench.progress("training scenes", sum(each["scenes"] for each in shards), len(scenes))
    provenance: dict[str, Any] = {
        "tenant_id": request.tenant_id,
        "video_id": request.video_id,
        "cropped_frames_version": version,
        "model_version": facts.get("model_version", ""),
        "since": request.since,
        "captions": sum(row.state == "confirmed" for row in rows),
        "scenes": len(scenes),
        "shards": shards,
        "code": code_version(),
        "exported_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    bench.store.put(keys.training_data_provenance, json.dumps(provenance, indent=2).encode())
    kept = {keys.training_data_provenance, *(f"{keys.training_data}/{shard['name']}" for shard in shards)}
    stored = [info.key for info in bench.store.list(keys.training_data)]
    bench.store.delete([key for key in stored if key not in kept])
    return TrainingDataResult(
        prefix=keys.training_data,
        caption_count=provenance["captions"],
        scene_count=len(scenes),
        size_bytes=sum(shard["bytes"] for shard in shards),
        model_version=provenance["model_version"],
        data_versions={"training_data": _digest(shard["name"].encode() for shard in shards)},
        preview_jpeg=preview,
    )


def verify_cropped_frames(bench: Workbench, request: VerifyRequest) -> VerifyResult:
    """Look at every chunk of a version. Raises MissingObject when there is no such version."""
    prefix = VideoKeys(request.tenant_id, request.video_id).cropped_frames(request.version)
    manifest = read_manifest(bench.store, prefix)
    problems = verify_chunks(bench.store, prefix, manifest)
    return VerifyResult(
        frame_count=manifest.frame_count, chunk_count=len(manifest.chunks), problems=tuple(problems)
    )


def _ocr_engine(bench: Workbench, languages: Sequence[str]) -> OcrEngine:
    """Raises BadRequest for a language that the engine cannot read, OcrRefused where it lacks a valid key."""
    check_languages(languages, bench.ocr_engine)
    # Either engine's libraries may be absent where the other one reads.
    if bench.ocr_engine == "google_vision":
        from gpu_ops.ocr.vision import VisionEngine  # noqa: PLC0415

        return VisionEngine.from_environment(languages)
    from gpu_ops.ocr.rapid import RapidEngine  # noqa: PLC0415

    # Another thread prepares the pictures meanwhile.
    return RapidEngine(max(1, bench.threads - 1), languages)


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
    "extract_frames_and_ocr": ComputeFunction(ExtractRequest, extract_frames_and_ocr),
    "export_training_data": ComputeFunction(TrainingDataRequest, export_training_data),
    "generate_caption_ocr": ComputeFunction(CaptionOcrRequest, generate_caption_ocr),
    "verify_cropped_frames": ComputeFunction(VerifyRequest, verify_cropped_frames),
}
