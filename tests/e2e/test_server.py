"""The control plane as production runs it: served, stored in Postgres, limited, stopped and started again."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import chain
from pathlib import Path

import dagster as dg
import psutil
import pytest
from pydantic import SecretStr

from captionacc_dagster.catalog import open_catalog
from captionacc_dagster.catalog.protocol import Catalog
from captionacc_dagster.instance import open_instance
from captionacc_dagster.settings import DEFAULT_TENANT_ID, Settings
from gpu_ops.contract import VideoKeys
from tests.e2e.dev import wait_for
from tests.e2e.server import Server, serving
from tests.servers.postgres import PASSWORD, Postgres, postgres_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("server")]

OTHER_TENANT_ID = "00000000-0000-0000-0000-000000000002"
COMPUTE_SECONDS = 6.0

Span = tuple[float, float]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="module")
def production(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    url = postgres.create_database("dagster")
    home = tmp_path_factory.mktemp("production")
    return Settings(home=home, dagster_home_override=None, dagster_postgres_url=SecretStr(url))


@pytest.fixture(scope="module")
def server(production: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("server") / "serve.log"
    with serving(production, log, compute_seconds=COMPUTE_SECONDS) as started:
        yield started


def test_a_tenants_backlog_leaves_room_for_others_and_a_stage_keeps_its_limit(
    server: Server, production: Settings, postgres: Postgres
) -> None:
    catalog = open_catalog(production)
    backlog = [add_video(catalog, DEFAULT_TENANT_ID) for _ in range(6)]
    wait_for("the first runs", lambda: len(runs_of(production, backlog)) == 6, 180, server.log)
    others = [add_video(catalog, OTHER_TENANT_ID)]
    videos = [*backlog, *others]

    def laid_out() -> bool:
        states = {catalog.video(video_id).status for video_id in videos}
        assert "error" not in states, server.log.read_text()[-4000:]
        return states == {"active"}

    wait_for("the layouts", laid_out, 400, server.log)
    wait_for("the runs' ends", lambda: len(spans_of(production, videos)) == len(videos), 120, server.log)

    mine, theirs = spans_of(production, backlog), spans_of(production, others)
    assert 2 <= most_at_once(mine) <= 4
    assert most_at_once([*mine, *theirs]) <= 5
    assert min(start for start, _ in theirs) < max(start for start, _ in mine)
    stored = postgres.execute("SELECT count(*) FROM runs WHERE status = 'SUCCESS'", "dagster")
    assert stored == [(len(videos),)]


def test_the_password_of_the_storage_is_in_no_file_log_or_argument(
    server: Server, production: Settings
) -> None:
    files = [path for path in [*production.home.rglob("*"), server.log] if path.is_file()]
    arguments = chain.from_iterable(each.cmdline() for each in server.processes())
    assert not [path for path in files if PASSWORD.encode() in path.read_bytes()]
    assert not [argument for argument in arguments if PASSWORD in argument]


def test_a_stop_cuts_runs_off_and_the_next_server_tries_them_again(
    server: Server, production: Settings, tmp_path: Path
) -> None:
    catalog = open_catalog(production)
    video = add_video(catalog, DEFAULT_TENANT_ID)
    wait_for("the run", lambda: catalog.video(video).status == "processing", 120, server.log)
    processes = server.processes()

    assert server.stop() == 0
    _, left = psutil.wait_procs(processes, timeout=5)
    assert left == []
    assert server.health().returncode == 1

    log = tmp_path / "again.log"
    with serving(production, log, compute_seconds=0.0) as again:
        wait_for("the layout", lambda: catalog.video(video).status == "active", 120, log)
        first, second = sorted(runs_of(production, [video]), key=lambda record: record.create_timestamp)
        assert first.dagster_run.status is dg.DagsterRunStatus.FAILURE
        assert second.dagster_run.parent_run_id == first.dagster_run.run_id
        assert catalog.video(video).error_message is None

        again.part("daemon").kill()
        assert again.process.wait(30) == 1
        assert "ended by itself" in log.read_text()


def add_video(catalog: Catalog, tenant_id: str) -> str:
    video_id = str(uuid.uuid4())
    catalog.add_video(
        video_id=video_id,
        tenant_id=tenant_id,
        display_path=f"{video_id}.mp4",
        storage_key=VideoKeys(tenant_id, video_id).video,
        size_bytes=1,
        content_sha256=sha256(video_id.encode()).hexdigest(),
    )
    return video_id


def runs_of(settings: Settings, videos: Sequence[str]) -> list[dg.RunRecord]:
    with open_instance(settings) as instance:
        return [
            record
            for record in instance.get_run_records()
            if record.dagster_run.tags.get("dagster/partition") in videos
        ]


def spans_of(settings: Settings, videos: Sequence[str]) -> list[Span]:
    """Start and end, in seconds, of each finished run."""
    return [
        (record.start_time, record.end_time)
        for record in runs_of(settings, videos)
        if record.start_time is not None and record.end_time is not None
    ]


def most_at_once(spans: Sequence[Span]) -> int:
    return max(sum(start <= moment < end for start, end in spans) for moment, _ in spans)
