"""Prefect, measured in the same session: server and process worker, in an environment of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.control_server import ROOT, percentile, wait_until
from bench.control_throughput import (
    ARRIVAL_SECONDS,
    ARRIVALS,
    BACKLOG,
    Throughput,
    most_at_once,
    per_minute,
)
from bench.media import OUT
from tests.servers.postgres import free_port

VERSION = "3.9.1"
FLOW = Path(__file__).parent / "prefect_flow.py"
AT_ONCE = 5


@dataclass(frozen=True)
class Prefect:
    """A running server with a worker; `environment` leads there."""

    python: Path
    environment: dict[str, str]

    def flow(self, *arguments: object) -> str:
        command = [self.python, FLOW, *map(str, arguments)]
        return subprocess.check_output(command, env=self.environment, cwd=FLOW.parent, text=True)


def measure_prefect() -> Throughput:
    """With Prefect's own default storage, SQLite."""
    python = _installed()
    with _prefect(python) as prefect:
        backlog = json.loads(prefect.flow("measure", BACKLOG, 0).splitlines()[-1])
    with _prefect(python) as prefect:
        arrivals = json.loads(prefect.flow("measure", ARRIVALS, ARRIVAL_SECONDS).splitlines()[-1])
    latencies = [start - created for created, start, _ in arrivals]
    return Throughput(
        system=f"Prefect {VERSION}, process worker",
        storage="SQLite",
        runs_per_minute=per_minute(backlog),
        most_at_once=most_at_once(backlog),
        latency_p50_s=percentile(latencies, 0.5),
        latency_p95_s=percentile(latencies, 0.95),
    )


def _installed() -> Path:
    """The interpreter of bench-out/prefect, made where it is absent."""
    folder = OUT / "prefect"
    python = folder / "bin" / "python"
    if not (folder / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", f"prefect=={VERSION}"], check=True)
        (folder / "installed").touch()
    return python


@contextmanager
def _prefect(python: Path) -> Iterator[Prefect]:
    with tempfile.TemporaryDirectory() as home:
        port = free_port()
        environment = {
            **os.environ,
            "PATH": f"{python.parent}:{os.environ['PATH']}",
            "PREFECT_HOME": home,
            "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
        }
        prefect = python.parent / "prefect"
        log = (Path(home) / "log").open("wb")
        server = _start([prefect, "server", "start", "--port", str(port)], environment, log)
        worker = None
        try:
            wait_until(lambda: _answers(f"http://127.0.0.1:{port}/api/health"), 300)
            pool = [prefect, "work-pool", "create", "bench", "--type", "process"]
            subprocess.run(pool, env=environment, check=True, stdout=log)
            started = Prefect(python, environment)
            started.flow("deploy")
            command = [prefect, "worker", "start", "--pool", "bench", "--limit", str(AT_ONCE)]
            worker = _start(command, environment, log)
            started.flow("measure", 1, 0)  # the worker is at work from here on
            yield started
        finally:
            for process in (worker, server):
                if process is not None:
                    _stop(process)
            log.close()


def _start(command: list[Path | str], environment: dict[str, str], log: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        env=environment,
        cwd=ROOT,
        stdout=log,  # type: ignore[arg-type]
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(30)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _answers(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(url, timeout=2) as reply:
        return reply.status == 200
    return False
