"""Training data: what annotators confirmed, as labelled frames for the next pair model."""

from typing import Any

import dagster as dg

from captionacc_dagster.assets.work import picture
from captionacc_dagster.catalog.protocol import Catalog
from captionacc_dagster.partitions import videos
from captionacc_dagster.resources.compute import Compute
from gpu_ops.contract import CODE_VERSIONS, ComputeError, TrainingDataRequest


class TrainingDataConfig(dg.Config):
    """`since` (ISO-8601 UTC): only captions last confirmed at or after it; none: all."""

    since: str | None = None


@dg.asset(
    deps=["captions_db", "cropped_frames"],
    partitions_def=videos,
    group_name="training",
    kinds={"numpy"},
    code_version=CODE_VERSIONS["training_data"],
    description="Frames around the captions that annotators confirmed, labelled, to train the model with. "
    "Made only when asked for: captionacc dataset export.",
)
def training_data(
    context: dg.AssetExecutionContext,
    config: TrainingDataConfig,
    catalog: dg.ResourceParam[Catalog],
    compute: dg.ResourceParam[Compute],
) -> dg.MaterializeResult[Any]:
    video = catalog.video(context.partition_key)
    request = TrainingDataRequest(tenant_id=video.tenant_id, video_id=video.id, since=config.since)
    try:
        result = compute.export_training_data(context, request)
    except ComputeError as error:
        # Nothing about the video is wrong, so the catalog hears nothing of it.
        raise dg.Failure(str(error), allow_retries=False) from error
    return dg.MaterializeResult(
        data_version=dg.DataVersion(result.data_versions["training_data"]),
        metadata={
            "dagster/row_count": result.scene_count,
            "confirmed_captions": result.caption_count,
            "bytes": result.size_bytes,
            "model_version": result.model_version,
            "prefix": result.prefix,
            **({"frames beside each change": picture(result.preview_jpeg)} if result.preview_jpeg else {}),
        },
    )
