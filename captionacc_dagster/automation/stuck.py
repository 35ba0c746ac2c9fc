"""Recovery: every quarter of an hour, look for videos that wait although nothing works on them.

Whatever went wrong before (a lost event, a crash between two statements, a client that never finished its
upload), each such video is either started again or named with the reason why not.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from captionacc_dagster.automation.waiting import RUNS_PER_TICK, upload_event, videos_in_flight
from captionacc_dagster.catalog.protocol import Catalog, Stage, Video, requested_at
from captionacc_dagster.jobs import UNLESS_ANSWERED, run_tags, video_initial_processing
from captionacc_dagster.partitions import videos
from gpu_ops.store import ObjectStore

RECENT = timedelta(minutes=5)
LOOKED_AT_PER_TICK = 500


@dataclass(frozen=True)
class Recovery:
    """`triggered` videos get a run; `skipped` maps the id of every other to its reason."""

    triggered: list[Video]
    skipped: dict[str, str]


def recover(
    catalog: Catalog,
    store: ObjectStore,
    instance: dg.DagsterInstance,
    older_than: timedelta,
    now: datetime,
) -> Recovery:
    """Decide about every stuck video."""
    in_flight = videos_in_flight(instance)
    triggered: list[Video] = []
    skipped: dict[str, str] = {}
    for video in catalog.stuck(older_than, LOOKED_AT_PER_TICK):
        reason = _reason_to_wait(video, store, instance, in_flight, now)
        if reason is None and len(triggered) >= RUNS_PER_TICK:
            reason = "next_tick"
        if reason is None:
            triggered.append(video)
        else:
            skipped[video.id] = reason
    return Recovery(triggered, skipped)


def ask_again(
    catalog: Catalog, instance: dg.DagsterInstance, older_than: timedelta, now: datetime
) -> dict[str, Stage]:
    """Renew approvals and caption requests that nobody took up; answers the videos' stages by id.

    A sensor starts one run for each request. One whose run ended before it began the work needs a new one.
    """
    in_flight = videos_in_flight(instance)
    renewed: dict[str, Stage] = {}
    for stage, waiting, renew in (
        (Stage.EXTENTS, catalog.waiting_for_extents, catalog.approve_layout),
        (Stage.CAPTIONS, catalog.waiting_for_captions, catalog.request_captions),
    ):
        for video in waiting(RUNS_PER_TICK + len(in_flight)):
            asked = requested_at(video, stage)
            if asked is None or now - asked < older_than:
                continue
            if video.id not in in_flight and not _ran_recently(video, instance, now):
                renew(video.id)
                renewed[video.id] = stage
    return renewed


def _reason_to_wait(
    video: Video, store: ObjectStore, instance: dg.DagsterInstance, in_flight: set[str], now: datetime
) -> str | None:
    if video.id in in_flight:
        return "active_runs"
    if _ran_recently(video, instance, now):
        return "recently_processed"
    if video.status == "uploading" and store.head(video.storage_key) is None:
        return "upload_incomplete"
    return None


def _ran_recently(video: Video, instance: dg.DagsterInstance, now: datetime) -> bool:
    recent = instance.get_runs(
        dg.RunsFilter(
            tags={"dagster/partition": video.id},
            updated_after=now - RECENT,
            statuses=[
                dg.DagsterRunStatus.SUCCESS,
                dg.DagsterRunStatus.FAILURE,
                dg.DagsterRunStatus.CANCELED,
            ],
        ),
        limit=1,
    )
    return bool(recent)


def build_recovery_schedule(stuck_after: timedelta, every_minutes: int) -> dg.ScheduleDefinition:
    """The schedule, running from the start."""

    @dg.schedule(
        name="recover_stuck_videos",
        job=video_initial_processing,
        cron_schedule=f"*/{every_minutes} * * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Starts videos again that wait although nothing works on them.",
    )
    def recover_stuck_videos(
        context: dg.ScheduleEvaluationContext,
        catalog: dg.ResourceParam[Catalog],
        store: dg.ResourceParam[ObjectStore],
    ) -> list[dg.RunRequest] | dg.SkipReason:
        now = datetime.now(UTC)
        found = recover(catalog, store, context.instance, stuck_after, now)
        reasons = ", ".join(f"{count} {reason}" for reason, count in Counter(found.skipped.values()).items())
        report = f"{len(found.triggered)} triggered, {len(found.skipped)} skipped" + (
            f" ({reasons})" if reasons else ""
        )
        context.log.info(report)
        for video_id, reason in found.skipped.items():
            context.log.info(f"{video_id}: {reason}")
        for video_id, stage in ask_again(catalog, context.instance, stuck_after, now).items():
            context.log.info(f"{video_id}: {stage} asked for again")
        if not found.triggered:
            return dg.SkipReason(report)
        for video in found.triggered:
            if not context.instance.has_dynamic_partition(str(videos.name), video.id):
                context.instance.add_dynamic_partitions(str(videos.name), [video.id])
                context.instance.report_runless_asset_event(upload_event(video))
        tick = context.scheduled_execution_time.isoformat()
        return [
            dg.RunRequest(
                run_key=f"recovery:{video.id}:{tick}",
                partition_key=video.id,
                tags=UNLESS_ANSWERED
                | run_tags(
                    video,
                    Stage.LAYOUT,
                    tier=catalog.tier(video.tenant_id),
                    trigger="recovery",
                    waiting_since=video.created_at,
                    now=now,
                ),
            )
            for video in found.triggered
        ]

    return recover_stuck_videos
