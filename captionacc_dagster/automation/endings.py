"""Runs that end badly, and runs that end unseen: the catalog must say so, and no lease may stay behind.

An asset function records its own failures. What it cannot record is its own death: a killed worker, a
cancelled run, a machine that stopped. These sensors do.
"""

from __future__ import annotations

import dagster as dg

from captionacc_dagster import runs
from captionacc_dagster.assets.work import STOPPED
from captionacc_dagster.catalog.protocol import Catalog, Stage

LOST = (
    "The process that carried out this step was killed or its machine stopped. Nothing is lost: "
    "run it again with `captionacc retry` or from the Dagster UI."
)
LEASES_PER_TICK = 50


def record_ending(catalog: Catalog, run: dg.DagsterRun, message: str) -> list[Stage]:
    """Put every stage that the ended run still holds into `error`; answers which."""
    video_id = run.tags.get("dagster/partition")
    if video_id is None:
        return []
    return [stage for stage in Stage if catalog.fail(video_id, stage, run.run_id, message)]


def end_lost_runs(instance: dg.DagsterInstance, catalog: Catalog) -> int:
    """End the runs behind expired leases: nobody renewed them, so nobody works on them. Answers how many."""
    lost = catalog.held_by_expired_lease(LEASES_PER_TICK)
    for video, stage, run_id in lost:
        run = instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            runs.report_lost(instance, run)
        catalog.fail(video.id, stage, run_id, LOST)
    return len(lost)


def build_ending_sensors(interval_seconds: int) -> list[dg.SensorDefinition]:
    """The three sensors, running from the start."""
    running = dg.DefaultSensorStatus.RUNNING

    @dg.run_failure_sensor(
        name="failed_runs",
        minimum_interval_seconds=interval_seconds,
        default_status=running,
        description="A run that failed without saying why: puts its video into error, readably.",
    )
    def failed_runs(context: dg.RunFailureSensorContext, catalog: dg.ResourceParam[Catalog]) -> None:
        record_ending(catalog, context.dagster_run, LOST)

    @dg.run_status_sensor(
        name="cancelled_runs",
        run_status=dg.DagsterRunStatus.CANCELED,
        minimum_interval_seconds=interval_seconds,
        default_status=running,
        description="A cancelled run: puts its video into error, so that it is not forgotten.",
    )
    def cancelled_runs(context: dg.RunStatusSensorContext, catalog: dg.ResourceParam[Catalog]) -> None:
        record_ending(catalog, context.dagster_run, STOPPED)

    @dg.sensor(
        name="lost_runs",
        minimum_interval_seconds=interval_seconds,
        default_status=running,
        description="Leases that nobody renews any more: ends their runs and frees their videos.",
    )
    def lost_runs(context: dg.SensorEvaluationContext, catalog: dg.ResourceParam[Catalog]) -> dg.SkipReason:
        return dg.SkipReason(f"{end_lost_runs(context.instance, catalog)} lost runs ended.")

    return [failed_runs, cancelled_runs, lost_runs]
