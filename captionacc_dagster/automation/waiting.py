"""Sensors that start what the catalog says is waiting: new videos, approvals, caption OCR requests.

They look at state, not at events, so that a lost tick, a restart or a duplicate changes nothing. A request
has a time; its run key carries it, so that the same request never starts two runs and a newer one always
starts another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import dagster as dg

from captionacc_dagster.automation.edited import request_edited_captions
from captionacc_dagster.catalog.protocol import Catalog, Stage, Video
from captionacc_dagster.jobs import (
    JOB_OF_STAGE,
    UNLESS_ANSWERED,
    caption_ocr,
    crop_and_infer,
    run_tags,
    video_initial_processing,
)
from captionacc_dagster.partitions import videos
from gpu_ops.store import ObjectStore

# Submitting a run takes about half a second, and a tick that outlasts its minute is cut off.
RUNS_PER_TICK = 20

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def videos_in_flight(instance: dg.DagsterInstance, stage: Stage | None = None) -> set[str]:
    """Ids of the videos that have an unfinished run (of that stage's job)."""
    runs = instance.get_runs(
        dg.RunsFilter(statuses=UNFINISHED, job_name=JOB_OF_STAGE[stage] if stage else None)
    )
    return {run.tags["dagster/partition"] for run in runs if "dagster/partition" in run.tags}


def requests(
    catalog: Catalog,
    instance: dg.DagsterInstance,
    stage: Stage,
    waiting: Callable[[int], Sequence[Video]],
    requested_at: Callable[[Video], datetime],
) -> list[dg.RunRequest]:
    """A run for each waiting video that has none under way, oldest first, at most RUNS_PER_TICK."""
    in_flight = videos_in_flight(instance, stage)
    now = datetime.now(UTC)
    return [
        dg.RunRequest(
            run_key=f"{stage}:{video.id}:{requested_at(video).isoformat()}",
            partition_key=video.id,
            tags=UNLESS_ANSWERED
            | run_tags(
                video,
                stage,
                tier=catalog.tier(video.tenant_id),
                trigger="sensor",
                waiting_since=requested_at(video),
                now=now,
            ),
        )
        for video in waiting(len(in_flight) + RUNS_PER_TICK)
        if video.id not in in_flight
    ][:RUNS_PER_TICK]


def upload_event(video: Video) -> dg.AssetMaterialization:
    """The upload as an asset of the graph."""
    return dg.AssetMaterialization(
        asset_key="video",
        partition=video.id,
        metadata={
            "file": video.display_path,
            "tenant": video.tenant_id,
            "key": video.storage_key,
            "bytes": video.size_bytes or 0,
        },
        tags={"dagster/data_version": video.content_sha256 or video.storage_key},
    )


def build_waiting_sensors(interval_seconds: int) -> list[dg.SensorDefinition]:
    """The three sensors, running from the start."""
    running = dg.DefaultSensorStatus.RUNNING

    @dg.sensor(
        job=video_initial_processing,
        minimum_interval_seconds=interval_seconds,
        default_status=running,
        description="Videos whose upload is complete: adds the partition and starts the first run.",
    )
    def new_videos(
        context: dg.SensorEvaluationContext, catalog: dg.ResourceParam[Catalog]
    ) -> dg.SensorResult:
        found: dict[str, Video] = {}

        def waiting(limit: int) -> Sequence[Video]:
            rows = catalog.waiting_for_layout(limit)
            found.update({video.id: video for video in rows})
            return rows

        wanted = requests(
            catalog, context.instance, Stage.LAYOUT, waiting, lambda video: video.layout_requested_at
        )
        fresh = [
            found[key]
            for request in wanted
            if (key := str(request.partition_key))
            and not context.instance.has_dynamic_partition(str(videos.name), key)
        ]
        return dg.SensorResult(
            run_requests=wanted,
            dynamic_partitions_requests=[videos.build_add_request([video.id for video in fresh])]
            if fresh
            else [],
            asset_events=[upload_event(video) for video in fresh],
        )

    @dg.sensor(
        job=crop_and_infer,
        minimum_interval_seconds=interval_seconds,
        default_status=running,
        description="Approved (or re-approved) layouts: crops the region and finds the extents.",
    )
    def layout_approvals(
        context: dg.SensorEvaluationContext, catalog: dg.ResourceParam[Catalog]
    ) -> dg.SensorResult:
        return dg.SensorResult(
            run_requests=requests(
                catalog,
                context.instance,
                Stage.EXTENTS,
                catalog.waiting_for_extents,
                lambda video: video.layout_approved_at or video.created_at,
            )
        )

    @dg.sensor(
        job=caption_ocr,
        minimum_interval_seconds=interval_seconds,
        default_status=running,
        description="New extents, or captions an annotator asked to be read again.",
    )
    def caption_ocr_requests(
        context: dg.SensorEvaluationContext,
        catalog: dg.ResourceParam[Catalog],
        store: dg.ResourceParam[ObjectStore],
    ) -> dg.SensorResult:
        cursor = request_edited_captions(catalog, store, context.cursor)
        return dg.SensorResult(
            cursor=cursor,
            run_requests=requests(
                catalog,
                context.instance,
                Stage.CAPTIONS,
                catalog.waiting_for_captions,
                lambda video: video.captions_requested_at or video.created_at,
            ),
        )

    return [new_videos, layout_approvals, caption_ocr_requests]
