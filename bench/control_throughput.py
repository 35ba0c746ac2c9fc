"""How many runs a control plane starts and finishes when computing costs nothing.

Two kinds of work, each on an instance of its own. A backlog: all videos are there at once, and the runs per
minute are those from the first insert to the last run's end. Arrivals: one video every few seconds, with
little under way, and the latency is from the insert of the row to the start of its run.
"""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import dagster as dg
from pydantic import SecretStr

from bench.control_server import control_plane, percentile, wait_until
from captionacc_dagster.catalog import open_catalog
from captionacc_dagster.catalog.protocol import Catalog
from captionacc_dagster.instance import open_instance
from captionacc_dagster.settings import Settings
from gpu_ops.contract import VideoKeys
from tests.servers.postgres import postgres_server

DEFINITIONS = "bench.instant_compute"
BACKLOG = 40
ARRIVALS = 20
ARRIVAL_SECONDS = 8.0
# Two tenants, so that the five runs of the stage are reached under the limit of four a tenant.
TENANTS = ("00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002")


@dataclass(frozen=True)
class Throughput:
    """Runs per minute over the backlog; seconds from insert to start over the arrivals."""

    system: str
    storage: str
    runs_per_minute: float
    most_at_once: int
    latency_p50_s: float
    latency_p95_s: float


def measure_throughput(storage: str) -> Throughput:
    """`storage`: SQLite or PostgreSQL."""
    with _instance(storage) as settings:
        backlog = _insert(settings, BACKLOG, 0.0)
    with _instance(storage) as settings:
        arrivals = _insert(settings, ARRIVALS, ARRIVAL_SECONDS)
    latencies = [start - inserted for inserted, start, _ in arrivals]
    return Throughput(
        system="CaptionAcc on Dagster",
        storage=storage,
        runs_per_minute=per_minute(backlog),
        most_at_once=most_at_once(backlog),
        latency_p50_s=percentile(latencies, 0.5),
        latency_p95_s=percentile(latencies, 0.95),
    )


def per_minute(spans: list[tuple[float, float, float]]) -> float:
    """Runs per minute from the first insert to the last end; spans are (insert, start, end) in seconds."""
    return 60 * len(spans) / (max(end for _, _, end in spans) - min(inserted for inserted, _, _ in spans))


def most_at_once(spans: list[tuple[float, float, float]]) -> int:
    return max(sum(start <= moment < end for _, start, end in spans) for _, moment, _ in spans)


@contextmanager
def _instance(storage: str) -> Iterator[Settings]:
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = None
        if storage == "PostgreSQL":
            url = SecretStr(stack.enter_context(postgres_server()).create_database("dagster"))
        settings = Settings(
            home=home, dagster_home_override=None, dagster_postgres_url=url, sensor_interval_s=1
        )
        stack.enter_context(
            control_plane(settings, DEFINITIONS, environment={"CAPTIONACC_SENSOR_INTERVAL_S": "1"})
        )
        yield settings


def _insert(settings: Settings, count: int, seconds_between: float) -> list[tuple[float, float, float]]:
    """Insert videos and wait for their runs; answers (insert, start, end) of each, in seconds."""
    catalog = open_catalog(settings)
    inserted: dict[str, float] = {}
    for number in range(count):
        inserted[add_video(catalog, TENANTS[number % 2])] = time.time()
        time.sleep(seconds_between)
    with open_instance(settings) as instance:
        wait_until(lambda: _ended(instance) >= count, 900)
        return [
            (inserted[record.dagster_run.tags["dagster/partition"]], record.start_time, record.end_time)
            for record in instance.get_run_records()
            if record.start_time is not None and record.end_time is not None
        ]


def _ended(instance: dg.DagsterInstance) -> int:
    failed = instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
    assert not failed, "runs of the benchmark failed"
    return instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS]))


def add_video(catalog: Catalog, tenant_id: str) -> str:
    """A row as an upload leaves it, but without a file; answers the video's id."""
    video_id = str(uuid.uuid4())
    catalog.add_video(
        video_id=video_id,
        tenant_id=tenant_id,
        display_path=f"{datetime.now(UTC).isoformat()}.mp4",
        storage_key=VideoKeys(tenant_id, video_id).video,
        size_bytes=1,
        content_sha256=sha256(video_id.encode()).hexdigest(),
    )
    return video_id
