"""Priorities: by tier, rising with the time waited."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from captionacc_dagster.automation.priority import effective_priority, raise_waiting
from tests.captionacc_dagster.builders import add_run

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("tier", "base"), [("free", 50), ("premium", 70), ("enterprise", 90), ("unheard-of", 50)]
)
def test_a_fresh_request_has_the_base_of_its_tier(tier: str, base: int) -> None:
    assert effective_priority(tier, NOW, NOW) == base


@pytest.mark.parametrize(
    ("minutes", "expected"), [(59, 50), (60, 51), (119, 51), (600, 60), (20 * 60, 70), (100 * 60, 70)]
)
def test_every_full_hour_is_a_point_and_twenty_are_the_most(minutes: int, expected: int) -> None:
    assert effective_priority("free", NOW - timedelta(minutes=minutes), NOW) == expected


def test_rate_cap_base_and_aging_can_be_overridden() -> None:
    since = NOW - timedelta(minutes=90)
    assert effective_priority("free", since, NOW, minutes_per_point=30) == 53
    assert effective_priority("free", since, NOW, minutes_per_point=1, cap=5) == 55
    assert effective_priority("free", since, NOW, base=10) == 11
    assert effective_priority("free", since, NOW, aging=False) == 50


@given(
    tier=st.sampled_from(["free", "premium", "enterprise", "?"]),
    minutes=st.floats(-1e6, 1e6),
    base=st.none() | st.integers(-1000, 1000),
    cap=st.floats(0, 1000),
)
def test_a_priority_is_always_between_0_and_100(
    tier: str, minutes: float, base: int | None, cap: float
) -> None:
    assert 0 <= effective_priority(tier, NOW - timedelta(minutes=minutes), NOW, base=base, cap=cap) <= 100


@given(earlier=st.floats(0, 1e5), later=st.floats(0, 1e5))
def test_waiting_longer_never_lowers_a_priority(earlier: float, later: float) -> None:
    short, long = sorted((earlier, later))
    since_short, since_long = (NOW - timedelta(minutes=minutes) for minutes in (short, long))
    assert effective_priority("free", since_short, NOW) <= effective_priority("free", since_long, NOW)


def test_a_queued_run_moves_forward_while_it_waits_and_others_stay(instance: dg.DagsterInstance) -> None:
    since = NOW - timedelta(hours=3)
    aging = {
        "tier": "premium",
        "waiting_since": since.isoformat(),
        "age_boosting": "on",
        "dagster/priority": "70",
    }
    queued = _add_run(instance, dg.DagsterRunStatus.QUEUED, aging)
    not_boosted = _add_run(instance, dg.DagsterRunStatus.QUEUED, {**aging, "age_boosting": "off"})
    started = _add_run(instance, dg.DagsterRunStatus.STARTED, aging)

    assert raise_waiting(instance, NOW) == 1
    assert _priority(instance, queued) == "73"
    assert _priority(instance, not_boosted) == "70"
    assert _priority(instance, started) == "70"
    assert raise_waiting(instance, NOW) == 0


def _add_run(instance: dg.DagsterInstance, status: dg.DagsterRunStatus, tags: dict[str, str]) -> str:
    return add_run(instance, "video_initial_processing", status, tags).run_id


def _priority(instance: dg.DagsterInstance, run_id: str) -> str:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.tags["dagster/priority"]
