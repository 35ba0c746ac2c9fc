"""`captionacc serve` as a test's server: real code server, daemon and web server, compute that only waits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from captionacc_dagster.instance import prepare_home
from captionacc_dagster.serve import SERVING
from captionacc_dagster.settings import Settings
from tests.e2e.dev import ROOT, wait_for
from tests.servers.postgres import free_port

STOP_SECONDS = 20.0


@dataclass(frozen=True)
class Server:
    """A started server; `environment` also makes `captionacc health` look at it."""

    process: subprocess.Popen[bytes]
    environment: Mapping[str, str]
    log: Path

    def health(self) -> subprocess.CompletedProcess[str]:
        command = [Path(sys.executable).parent / "captionacc", "health"]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)

    def processes(self) -> list[psutil.Process]:
        """The supervisor and everything below it."""
        supervisor = psutil.Process(self.process.pid)
        return [supervisor, *supervisor.children(recursive=True)]

    def part(self, name: str) -> psutil.Process:
        """The code-server, the daemon or the web-server."""
        arguments = psutil.Process(self.process.pid).cmdline()
        (pid,) = [int(each.partition("=")[2]) for each in arguments if each.startswith(f"{name}=")]
        return psutil.Process(pid)

    def stop(self) -> int:
        """Ask it to stop as a platform does; answers the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)


@contextmanager
def serving(settings: Settings, log: Path, *, compute_seconds: float) -> Iterator[Server]:
    """Start a server and wait until it is healthy; what is left of it at the end is killed."""
    home = prepare_home(settings)
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "CAPTIONACC_HOME": str(settings.home),
        "CAPTIONACC_SENSOR_INTERVAL_S": "1",
        "BENCH_COMPUTE_SECONDS": str(compute_seconds),
    }
    command = [sys.executable, "-m", "captionacc_dagster.serve", "--port", str(free_port())]
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--definitions", "bench.instant_compute"],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    server = Server(process, environment, log)
    try:
        wait_for("a started server", (home / SERVING).exists, 180, log)
        wait_for("a healthy server", lambda: server.health().returncode == 0, 180, log)
        yield server
    finally:
        with suppress(psutil.NoSuchProcess):
            for each in server.processes():
                with suppress(psutil.NoSuchProcess):
                    each.kill()
        process.wait()
