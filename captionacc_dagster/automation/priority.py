"""How urgent a run is: what its tenant pays for, plus how long it has waited.

The run queue orders by `dagster/priority` and re-reads it at every turn, so that raising the tag of a
queued run moves it forward: a small sensor does that while runs wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import dagster as dg

BASE_BY_TIER: Mapping[str, int] = {"free": 50, "premium": 70, "enterprise": 90}
MINUTES_PER_POINT = 60.0
MOST_POINTS_FOR_AGE = 20.0


def effective_priority(
    tier: str,
    waiting_since: datetime,
    now: datetime,
    *,
    base: int | None = None,
    minutes_per_point: float = MINUTES_PER_POINT,
    cap: float = MOST_POINTS_FOR_AGE,
    aging: bool = True,
) -> int:
    """0-100, rounded down. An unknown tier counts as free, a `waiting_since` in the future as now."""
    start = BASE_BY_TIER.get(tier, BASE_BY_TIER["free"]) if base is None else base
    minutes = max(0.0, (now - waiting_since).total_seconds() / 60)
    points = min(cap, minutes / minutes_per_point) if aging else 0.0
    return int(min(100.0, max(0.0, start + points)))


def raise_waiting(instance: dg.DagsterInstance, now: datetime) -> int:
    """Bring the priority of every queued run up to date; answers how many changed."""
    changed = 0
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])):
        since = run.tags.get("waiting_since")
        if since is None or run.tags.get("age_boosting") != "on":
            continue
        priority = str(effective_priority(run.tags.get("tier", "free"), datetime.fromisoformat(since), now))
        if run.tags.get("dagster/priority") != priority:
            instance.add_run_tags(run.run_id, {"dagster/priority": priority})
            changed += 1
    return changed


def build_aging_sensor(interval_seconds: int) -> dg.SensorDefinition:
    """The sensor that lets queued runs age."""

    @dg.sensor(
        name="queue_aging",
        minimum_interval_seconds=interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Raises the priority of queued runs while they wait.",
    )
    def queue_aging(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        return dg.SkipReason(
            f"{raise_waiting(context.instance, datetime.now(UTC))} queued runs moved forward."
        )

    return queue_aging
