"""Results and regions that control-plane tests are built from."""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg
from dagster._core.remote_origin import (  # a queued run cannot be built without its origin
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)

from captionacc_dagster.catalog.protocol import Video
from gpu_ops.contract import CropInferResult, ExtractResult, VideoKeys
from gpu_ops.regions import CropPixels, CropRegion

REGION = CropRegion(0.1, 0.8, 0.9, 0.95)
AddVideo = Callable[..., Video]


def extract_result(keys: VideoKeys) -> ExtractResult:
    return ExtractResult(
        frame_count=3,
        duration=25.0,
        frame_width=1280,
        frame_height=720,
        video_codec="h264",
        bitrate=1_000_000,
        ocr_box_count=2,
        failed_ocr_count=0,
        processing_duration_seconds=1.0,
        full_frames_key=keys.full_frames,
        ocr_db_key=keys.raw_ocr_db,
        layout_db_key=keys.layout_db,
        region=REGION,
        caption_box_count=2,
        ocr_engine="fake",
        full_frames_bytes=100,
        data_versions={"full_frames": "a", "raw_ocr_db": "b", "layout_db": "c"},
        preview_jpeg=b"\xff\xd8",
    )


def crop_result(keys: VideoKeys, version: int) -> CropInferResult:
    return CropInferResult(
        version=version,
        frame_count=250,
        label_counts={"same": 249},
        processing_duration_seconds=1.0,
        caption_frame_extents_db_key=keys.caption_frame_extents_db,
        cropped_frames_prefix=keys.cropped_frames(version),
        chunk_count=12,
        total_size_bytes=1000,
        caption_count=1,
        model_version="fake",
        crop_pixels=CropPixels(left=128, top=576, right=1152, bottom=684),
        data_versions={"cropped_frames": "d", "caption_frame_extents_db": "e"},
    )


def add_run(
    instance: dg.DagsterInstance, job: str, status: dg.DagsterRunStatus, tags: dict[str, str]
) -> dg.DagsterRun:
    """A run as the daemon would find it in the instance."""
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("captionacc"), "__repository__")
    origin = RemoteJobOrigin(repository, job)
    return instance.add_run(dg.DagsterRun(job_name=job, status=status, tags=tags, remote_job_origin=origin))
