"""What an idle control plane keeps in memory, part by part, and what each measure against it brings."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import psutil

from bench.control_server import ROOT, Memory, control_plane, memory, memory_of_parts, wait_until
from bench.control_throughput import DEFINITIONS as INSTANT_COMPUTE
from bench.control_throughput import TENANTS, add_video
from captionacc_dagster.catalog import open_catalog
from captionacc_dagster.catalog.migrations.postgres import migrate
from captionacc_dagster.instance import open_instance, prepare_home
from captionacc_dagster.settings import Settings, load_settings
from tests.servers.postgres import free_port
from tests.servers.s3 import s3_server
from tests.servers.supabase import supabase_project

IDLE_SECONDS = 60.0
RUNS = 5
DEFINITIONS = "captionacc_dagster.definitions"


@dataclass(frozen=True)
class Footprint:
    """Memory by part, IDLE_SECONDS after the last change."""

    way: str
    parts: Mapping[str, Memory]

    @property
    def pss(self) -> float:
        return sum(part.pss for part in self.parts.values())


def measure_footprints() -> Iterator[Footprint]:
    """As served; without the web server; in both profiles; and with each part started by itself."""
    for profile, environment in (("local", _nothing), ("cloud", _production)):
        for command, web in (("captionacc serve", True), ("captionacc serve --no-webserver", False)):
            with environment() as values:
                yield _served(f"{command}, {profile} profile", values, web=web)
    with _production() as values:
        yield _busy(f"captionacc serve, cloud profile, {RUNS} runs under way", values)
    yield _served("captionacc serve, local profile, MALLOC_ARENA_MAX=2", {"MALLOC_ARENA_MAX": "2"})
    yield _apart("Dagster's commands, each loading Dagster, local profile")


@contextmanager
def _nothing() -> Generator[Mapping[str, str]]:
    yield {}


@contextmanager
def _production() -> Generator[Mapping[str, str]]:
    """Supabase, Dagster's Postgres and the bucket, as in the tests. Idle, Modal and Vision are not asked."""
    with supabase_project() as project, s3_server() as s3:
        migrate(project.database_url, "captionacc")
        yield {
            **project.environment,
            **s3.environment(),
            "DAGSTER_POSTGRES_URL": project.postgres.create_database("dagster"),
            "WASABI_BUCKET": s3.make_bucket("captions"),
            "MODAL_TOKEN_ID": "ak-idle",
            "MODAL_TOKEN_SECRET": "as-idle",
            "GOOGLE_APPLICATION_CREDENTIALS_JSON": "{}",
        }


def _served(way: str, environment: Mapping[str, str], *, web: bool = True) -> Footprint:
    with (
        tempfile.TemporaryDirectory() as folder,
        _settings(Path(folder), environment) as settings,
        control_plane(settings, DEFINITIONS, web=web) as server,
    ):
        time.sleep(IDLE_SECONDS)
        return Footprint(way, memory_of_parts(server.pid))


def _busy(way: str, environment: Mapping[str, str]) -> Footprint:
    """While runs wait for compute that takes its time elsewhere. A run is a child of the code server."""
    with (
        tempfile.TemporaryDirectory() as folder,
        _settings(Path(folder), {**environment, "BENCH_COMPUTE_SECONDS": "300"}) as settings,
        control_plane(settings, INSTANT_COMPUTE) as server,
        open_instance(settings) as instance,
    ):
        catalog = open_catalog(settings)
        for number in range(RUNS):
            add_video(catalog, TENANTS[number % 2])
        under_way = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])
        wait_until(lambda: instance.get_runs_count(under_way) == RUNS, 120)
        time.sleep(IDLE_SECONDS)
        return Footprint(way, memory_of_parts(server.pid))


def _apart(way: str) -> Footprint:
    with tempfile.TemporaryDirectory() as folder, _settings(Path(folder), {}) as settings:
        home = prepare_home(settings)
        socket, workspace = Path(folder) / "code.sock", Path(folder) / "workspace.yaml"
        workspace.write_text(
            f"load_from: [{{grpc_server: {{socket: {socket}, location_name: captionacc}}}}]\n"
        )
        scripts = Path(sys.executable).parent
        commands = {
            "code-server": [scripts / "dagster", "api", "grpc", "-s", socket, "-m", DEFINITIONS],
            "daemon": [scripts / "dagster-daemon", "run", "-w", workspace],
            "web-server": [scripts / "dagster-webserver", "-w", workspace, "-p", str(free_port())],
        }
        processes: dict[str, subprocess.Popen[bytes]] = {}
        environment = {**os.environ, "DAGSTER_HOME": str(home), "CAPTIONACC_HOME": folder}
        try:
            for name, command in commands.items():
                processes[name] = subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env=environment,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
                wait_until(socket.exists, 120)
            time.sleep(IDLE_SECONDS)
            return Footprint(
                way,
                {
                    name: memory(
                        [each.pid, *(c.pid for c in psutil.Process(each.pid).children(recursive=True))]
                    )
                    for name, each in processes.items()
                },
            )
        finally:
            for each in processes.values():
                each.terminate()
            for each in processes.values():
                each.wait(60)


@contextmanager
def _settings(home: Path, environment: Mapping[str, str]) -> Generator[Settings]:
    """The environment, for this process and those it starts, and the settings that come of it."""
    before = dict(os.environ)
    os.environ.pop("DAGSTER_HOME", None)
    os.environ.update(environment, CAPTIONACC_HOME=str(home))
    try:
        yield load_settings()
    finally:
        os.environ.clear()
        os.environ.update(before)
