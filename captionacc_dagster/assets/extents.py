"""Cropped frames and caption extents: one decode of the approved region makes both assets."""

from collections.abc import Generator
from typing import Any

import dagster as dg

from captionacc_dagster.artifacts import approved_region, remove_unfinished_crops
from captionacc_dagster.assets.work import picture, report, stage_work
from captionacc_dagster.catalog.protocol import Catalog, Stage
from captionacc_dagster.partitions import videos
from captionacc_dagster.resources.compute import Compute
from gpu_ops.contract import CODE_VERSIONS, CropInferRequest, CropInferResult
from gpu_ops.extents import registry
from gpu_ops.store import ObjectStore


class ExtentsConfig(dg.Config):
    """What a run may ask for. `model_version`: one of `captionacc models`; the current one by default."""

    model_version: str | None = None


@dg.multi_asset(
    name="crop_and_infer_extents",
    partitions_def=videos,
    can_subset=True,
    specs=[
        dg.AssetSpec(
            "cropped_frames",
            deps=["video", "layout_db"],
            skippable=True,
            group_name="extents",
            kinds={"webm"},
            code_version=CODE_VERSIONS["extents"],
            description="The caption region at 10 Hz as VP9 chunks on three levels, in a version of its own.",
        ),
        dg.AssetSpec(
            "caption_frame_extents_db",
            deps=["cropped_frames"],
            skippable=True,
            group_name="extents",
            kinds={"sqlite", "onnx"},
            code_version=f"{CODE_VERSIONS['extents']}+{registry.current_version()}",
            description="Where each caption begins and ends, and what the model said of each pair of frames.",
        ),
    ],
)
def crop_and_infer_extents(
    context: dg.AssetExecutionContext,
    config: ExtentsConfig,
    catalog: dg.ResourceParam[Catalog],
    store: dg.ResourceParam[ObjectStore],
    compute: dg.ResourceParam[Compute],
) -> Generator[dg.MaterializeResult[Any]]:
    model_version = _installed(config.model_version)
    with stage_work(context, catalog, Stage.EXTENTS) as held:
        video, run_id = held.video, context.run.run_id
        region = approved_region(store, video)
        reserved = catalog.reserve_cropped_frames(video.id, run_id, region)
        remove_unfinished_crops(catalog, store, video, reserved.version)
        request = CropInferRequest(
            video_key=video.storage_key,
            tenant_id=video.tenant_id,
            video_id=video.id,
            crop_region=region,
            version=reserved.version,
            run_id=run_id,
            model_version=model_version,
        )
        result = compute.crop_and_infer_caption_frame_extents(context, request, held)
        catalog.finish_extents(video.id, run_id, result, approved_at=video.layout_approved_at)
    for warning in result.warnings:
        context.log.warning(warning)
    yield from report(context, _metadata(result), result.data_versions)


def _installed(version: str | None) -> str:
    """The version, or the current one. Raises Failure, before the video is touched, where there is none."""
    try:
        return registry.model(version).version
    except registry.UnknownModel as error:
        raise dg.Failure(str(error), allow_retries=False) from error


def _metadata(result: CropInferResult) -> dict[str, dict[str, Any]]:
    return {
        "cropped_frames": {
            "dagster/row_count": result.frame_count,
            "version": result.version,
            "chunks": result.chunk_count,
            "bytes": result.total_size_bytes,
            "crop_pixels": str(result.crop_pixels),
            "prefix": result.cropped_frames_prefix,
            "seconds": round(result.processing_duration_seconds, 2),
            "computed_on": result.computed_on,
        },
        "caption_frame_extents_db": {
            "dagster/row_count": max(0, result.frame_count - 1),
            "captions": result.caption_count,
            "cut_off_captions": result.cut_off_count,
            "pair_labels": dg.MetadataValue.json(dict(result.label_counts)),
            "model_version": result.model_version,
            "key": result.caption_frame_extents_db_key,
            **({"time line": picture(result.preview_jpeg)} if result.preview_jpeg else {}),
            **({"warnings": dg.MetadataValue.md("\n\n".join(result.warnings))} if result.warnings else {}),
        },
    }
