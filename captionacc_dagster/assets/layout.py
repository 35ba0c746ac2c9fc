"""Full frames, their OCR and the layout: one compute call over the uploaded video makes all three assets."""

from collections.abc import Generator
from typing import Any

import dagster as dg

from captionacc_dagster.assets.work import picture, report, stage_work
from captionacc_dagster.catalog.protocol import Catalog, Stage
from captionacc_dagster.partitions import videos
from captionacc_dagster.resources.compute import Compute
from gpu_ops.contract import CODE_VERSIONS, ExtractRequest, ExtractResult, VideoKeys

video = dg.AssetSpec(
    "video",
    group_name="upload",
    kinds={"video"},
    partitions_def=videos,
    description="The uploaded file, in any container and codec FFmpeg reads; made by an upload.",
)


@dg.multi_asset(
    name="read_full_frames",
    partitions_def=videos,
    can_subset=True,
    specs=[
        dg.AssetSpec(
            name,
            deps=deps,
            skippable=True,
            group_name="layout",
            kinds=kinds,
            code_version=CODE_VERSIONS["layout"],
            description=description,
        )
        for name, deps, kinds, description in (
            (
                "full_frames",
                [video],
                {"jpeg"},
                "Whole frames every ten seconds, exactly those on screen, and their thumbnails.",
            ),
            (
                "raw_ocr_db",
                ["full_frames"],
                {"sqlite"},
                "Every text box OCR found on the full frames, as it was read.",
            ),
            (
                "layout_db",
                ["raw_ocr_db"],
                {"sqlite"},
                "Which boxes are captions, and the proposed crop region, for a person to approve. Annotators'"
                " labels and an approved region survive every re-run. Comes with layout-server.db.",
            ),
        )
    ],
)
def read_full_frames(
    context: dg.AssetExecutionContext, catalog: dg.ResourceParam[Catalog], compute: dg.ResourceParam[Compute]
) -> Generator[dg.MaterializeResult[Any]]:
    with stage_work(context, catalog, Stage.LAYOUT) as held:
        request = ExtractRequest(
            video_key=held.video.storage_key,
            tenant_id=held.video.tenant_id,
            video_id=held.video.id,
            languages=tuple(filter(None, held.video.languages.split(","))),
        )
        result = compute.extract_frames_and_ocr(context, request, held)
        catalog.finish_layout(held.video.id, context.run.run_id, result)
    for warning in result.warnings:
        context.log.warning(warning)
    yield from report(context, _metadata(result), result.data_versions)


def _metadata(result: ExtractResult) -> dict[str, dict[str, Any]]:
    region = result.region
    keys = VideoKeys(*_owner(result.layout_db_key))
    return {
        "full_frames": {
            "dagster/row_count": result.frame_count,
            "bytes": result.full_frames_bytes,
            "key": result.full_frames_key,
            "video": f"{result.frame_width} x {result.frame_height} {result.video_codec}, "
            f"{result.duration:.2f} s, {result.bitrate / 1000:.0f} kbit/s",
            "seconds": round(result.processing_duration_seconds, 2),
        },
        "raw_ocr_db": {
            "dagster/row_count": result.ocr_box_count,
            "failed_frames": result.failed_ocr_count,
            "frames": result.frame_count,
            "ocr_engine": result.ocr_engine,
            "billed_images": result.billed_images,
            "key": result.ocr_db_key,
        },
        "layout_db": {
            "dagster/row_count": result.ocr_box_count,
            "caption_boxes": result.caption_box_count,
            "crop_region": "no captions found" if region is None else str(region),
            "key": result.layout_db_key,
            "layout_server_key": keys.layout_server_db,
            **({"boxes and crop region": picture(result.preview_jpeg)} if result.preview_jpeg else {}),
            **({"warnings": dg.MetadataValue.md("\n\n".join(result.warnings))} if result.warnings else {}),
        },
    }


def _owner(key: str) -> tuple[str, str]:
    """Tenant and video id of a key."""
    tenant_id, _, _, video_id, *_ = key.split("/")
    return tenant_id, video_id
