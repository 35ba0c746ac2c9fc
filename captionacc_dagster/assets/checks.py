"""Asset checks: does the artifact in the store hold what the contract promises?

Each reads the artifact itself, not what the run that made it said about it.
"""

import json
import math
from collections import Counter
from itertools import pairwise
from typing import Any

import dagster as dg

from captionacc_dagster import artifacts
from captionacc_dagster.artifacts import keys_of
from captionacc_dagster.catalog.protocol import Catalog, Video
from captionacc_dagster.partitions import videos
from captionacc_dagster.resources.compute import Compute
from gpu_ops.captions.rows import check_no_overlap
from gpu_ops.contract import FULL_FRAME_RATE, ComputeError, VerifyRequest
from gpu_ops.inventory import strangers
from gpu_ops.store import ObjectStore

MOST_FAILED_FRAMES = 0.05
PROBLEMS_SHOWN = 20


@dg.asset_check(
    asset="full_frames", partitions_def=videos, description="A full frame and a thumbnail every ten seconds."
)
def full_frames_cover_the_video(
    context: dg.AssetCheckExecutionContext,
    catalog: dg.ResourceParam[Catalog],
    store: dg.ResourceParam[ObjectStore],
) -> dg.AssetCheckResult:
    video = _video(context, catalog)
    keys = keys_of(video)
    frames = {info.key.rpartition("/")[2] for info in store.list(keys.full_frames)}
    thumbnails = {info.key.rpartition("/")[2] for info in store.list(keys.thumbnails)}
    expected = max(1, math.ceil((video.duration_seconds or 0) * FULL_FRAME_RATE - 1e-6))
    wanted = {keys.full_frame(round(i * 10 / FULL_FRAME_RATE)).rpartition("/")[2] for i in range(expected)}
    problems = [
        *(f"{name} is missing" for name in sorted(wanted - frames)),
        *(f"{name} does not belong here" for name in sorted(frames - wanted)),
        *(f"{name} has no thumbnail" for name in sorted(frames - thumbnails)),
    ]
    return _verdict(problems, frames=len(frames), seconds=video.duration_seconds or 0.0)


@dg.asset_check(
    asset="raw_ocr_db", partitions_def=videos, description="OCR failed on at most one frame in twenty."
)
def ocr_failures_are_rare(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    event = context.instance.fetch_materializations(
        dg.AssetRecordsFilter(dg.AssetKey("raw_ocr_db"), asset_partitions=[_partition(context)]), limit=1
    ).records[0]
    metadata = event.asset_materialization.metadata if event.asset_materialization else {}
    failed, frames = int(str(metadata["failed_frames"].value)), int(str(metadata["frames"].value))
    rate = failed / frames if frames else 0.0
    problems = [f"{failed} of {frames} frames could not be read"] if rate > MOST_FAILED_FRAMES else []
    return _verdict(problems, severity=dg.AssetCheckSeverity.WARN, failure_rate=rate)


@dg.asset_check(
    asset="cropped_frames",
    partitions_def=videos,
    description="Every frame of the grid is in exactly one chunk.",
)
def every_frame_is_in_one_chunk(
    context: dg.AssetCheckExecutionContext,
    catalog: dg.ResourceParam[Catalog],
    store: dg.ResourceParam[ObjectStore],
) -> dg.AssetCheckResult:
    video = _video(context, catalog)
    version = video.current_cropped_frames_version or 0
    manifest = json.loads(store.get(keys_of(video).manifest(version)))
    listed = {
        info.key.removeprefix(f"{keys_of(video).cropped_frames(version)}/")
        for info in store.list(keys_of(video).cropped_frames(version))
    }
    counts = Counter(index for chunk in manifest["chunks"] for index in chunk["frame_indices"])
    total = int(manifest["frame_count"])
    problems = [
        *(f"frame {index} is in no chunk" for index in range(total) if counts[index] == 0),
        *(f"frame {index} is in {count} chunks" for index, count in counts.items() if count > 1),
        *(f"frame {index} lies outside the grid" for index in counts if not 0 <= index < total),
        *(f"{name} is missing" for chunk in manifest["chunks"] if (name := chunk["path"]) not in listed),
    ]
    return _verdict(problems, frames=total, chunks=len(manifest["chunks"]), version=version)


@dg.asset_check(
    asset="cropped_frames",
    partitions_def=videos,
    description="Every chunk holds exactly its frames, as written.",
)
def every_chunk_is_whole(
    context: dg.AssetCheckExecutionContext,
    catalog: dg.ResourceParam[Catalog],
    compute: dg.ResourceParam[Compute],
) -> dg.AssetCheckResult:
    video = _video(context, catalog)
    request = VerifyRequest(
        tenant_id=video.tenant_id, video_id=video.id, version=video.current_cropped_frames_version or 0
    )
    try:
        result = compute.verify_cropped_frames(context, request)
    except ComputeError as error:
        # The artifacts are as good as before; what is unknown is not an error of theirs.
        return _verdict([f"could not be checked: {error}"], severity=dg.AssetCheckSeverity.WARN)
    return _verdict(list(result.problems), frames=result.frame_count, chunks=result.chunk_count)


@dg.asset_check(
    asset="caption_frame_extents_db", partitions_def=videos, description="The extents partition the grid."
)
def extents_partition_the_grid(
    context: dg.AssetCheckExecutionContext,
    catalog: dg.ResourceParam[Catalog],
    store: dg.ResourceParam[ObjectStore],
) -> dg.AssetCheckResult:
    video = _video(context, catalog)
    found = artifacts.read_extents(store, video)
    manifest = json.loads(store.get(keys_of(video).manifest(found.cropped_frames_version)))
    problems = _gaps_and_overlaps(
        [(extent.start_frame_index, extent.end_frame_index) for extent in found.extents],
        int(manifest["frame_count"]),
    )
    return _verdict(problems, extents=len(found.extents), frames=found.frame_count)


@dg.asset_check(
    asset="captions_db", partitions_def=videos, description="Captions do not overlap and leave no hole."
)
def captions_do_not_overlap(
    context: dg.AssetCheckExecutionContext,
    catalog: dg.ResourceParam[Catalog],
    store: dg.ResourceParam[ObjectStore],
) -> dg.AssetCheckResult:
    video = _video(context, catalog)
    rows = artifacts.read_captions(store, video)
    problems = check_no_overlap(rows) or _gaps_and_overlaps(
        [(row.start_frame_index, row.end_frame_index) for row in rows],
        artifacts.read_extents(store, video).frame_count,
    )
    return _verdict(problems, rows=len(rows))


def _keys_follow_the_contract(asset: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=asset,
        name="keys_follow_the_contract",
        partitions_def=videos,
        description="All that is stored of the video has a place in the contract, and lies on its side.",
    )
    def check(
        context: dg.AssetCheckExecutionContext,
        catalog: dg.ResourceParam[Catalog],
        store: dg.ResourceParam[ObjectStore],
    ) -> dg.AssetCheckResult:
        video = _video(context, catalog)
        keys = keys_of(video)
        stored = [info.key for side in (keys.client, keys.server) for info in store.list(side)]
        problems = list(strangers(stored, video.current_cropped_frames_version))
        return _verdict(problems, objects=len(stored))

    return check


CHECKS = [
    # Once in each stage.
    *map(_keys_follow_the_contract, ("layout_db", "cropped_frames", "captions_db")),
    full_frames_cover_the_video,
    ocr_failures_are_rare,
    every_frame_is_in_one_chunk,
    every_chunk_is_whole,
    extents_partition_the_grid,
    captions_do_not_overlap,
]


def _partition(context: dg.AssetCheckExecutionContext) -> str:
    return context.op_execution_context.partition_key


def _video(context: dg.AssetCheckExecutionContext, catalog: Catalog) -> Video:
    return catalog.video(_partition(context))


def _gaps_and_overlaps(ranges: list[tuple[int, int]], frame_count: int) -> list[str]:
    """Where inclusive ranges, in order, do not follow each other from 0 to frame_count - 1."""
    if not ranges:
        return [] if frame_count == 0 else ["there are no rows"]
    edges = [(-1, -1), *ranges, (frame_count, frame_count)]
    return [
        f"after frame {before[1]} comes frame {after[0]}"
        for before, after in pairwise(edges)
        if after[0] != before[1] + 1
    ]


def _verdict(
    problems: list[str], severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR, **facts: Any
) -> dg.AssetCheckResult:
    shown = problems[:PROBLEMS_SHOWN] + (["…"] if len(problems) > PROBLEMS_SHOWN else [])
    return dg.AssetCheckResult(
        passed=not problems,
        severity=severity,
        description="; ".join(shown) or None,
        metadata={**facts, "problems": len(problems)},
    )
