"""Which of the queued runs Dagster's own queue lets go at once, under the limits of dagster.yaml."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import dagster as dg
import pytest
from dagster._daemon.run_coordinator import QueuedRunCoordinatorDaemon

from captionacc_dagster.catalog.protocol import Stage
from captionacc_dagster.definitions import build_definitions
from captionacc_dagster.instance import open_instance
from captionacc_dagster.jobs import JOB_OF_STAGE, run_tags
from captionacc_dagster.settings import Settings
from tests.captionacc_dagster.builders import AddVideo, add_run

TENANTS = [f"00000000-0000-0000-0000-{number:012d}" for number in range(1, 5)]
NOW = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.mark.parametrize(
    ("stage", "of_one_tenant", "of_all"),
    [(Stage.LAYOUT, 4, 5), (Stage.EXTENTS, 1, 2), (Stage.CAPTIONS, 8, 10)],
)
def test_a_stage_and_a_tenant_in_it_get_so_many_runs(
    stage: Stage, of_one_tenant: int, of_all: int, settings: Settings, add_video: AddVideo
) -> None:
    assert sum(let_go(settings, add_video, [stage], TENANTS[:1]).values()) == of_one_tenant
    started = let_go(settings, add_video, [stage], TENANTS)
    assert sum(started.values()) == of_all
    assert max(started.values()) <= of_one_tenant


def test_all_stages_together_get_twelve_runs_and_one_tenant_eight(
    settings: Settings, add_video: AddVideo
) -> None:
    assert sum(let_go(settings, add_video, list(Stage), TENANTS[:1]).values()) == 8
    started = let_go(settings, add_video, list(Stage), TENANTS)
    assert sum(started.values()) == 12
    assert max(started.values()) <= 8


def let_go(settings: Settings, add_video: AddVideo, stages: list[Stage], tenants: list[str]) -> Counter[str]:
    """Queue twelve videos of each tenant in each stage, a tenant after the other; the runs that may start."""
    definitions = build_definitions(settings)
    with open_instance(settings) as instance:
        for run in instance.get_runs():
            instance.delete_run(run.run_id)
        for tenant in tenants:
            for stage in stages:
                job = JOB_OF_STAGE[stage]
                for _ in range(12):
                    tags = run_tags(
                        add_video(tenant_id=tenant),
                        stage,
                        tier="free",
                        trigger="sensor",
                        waiting_since=NOW,
                        now=NOW,
                    )
                    tags |= definitions.resolve_job_def(job).tags
                    add_run(instance, job, dg.DagsterRunStatus.QUEUED, tags)
        daemon = QueuedRunCoordinatorDaemon(interval_seconds=1)
        # Its iteration would also launch them.
        choose = daemon._get_runs_to_dequeue  # pyright: ignore[reportPrivateUsage]
        runs = choose(instance, instance.get_concurrency_config(), None)
        return Counter(run.tags["tenant"] for run in runs)
