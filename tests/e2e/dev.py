"""`captionacc dev`: Dagster's web server and daemon on the repository's workspace.yaml and dagster.yaml."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from captionacc_dagster.settings import Settings
from tests.servers.postgres import free_port

ROOT = Path(__file__).parent.parent.parent


@contextmanager
def dagster_dev(settings: Settings, log: Path) -> Iterator[str]:
    """`make dev` without make: answers the address of the web server."""
    port = free_port()
    with log.open("w") as output:
        server = subprocess.Popen(
            [Path(sys.executable).parent / "captionacc", "dev", "--port", str(port)],
            env={**os.environ, "CAPTIONACC_HOME": str(settings.home)},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for("the web server", lambda: answers(f"{address}/server_info"), 120, log)
        yield address
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            server.wait(20)
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)


def answers(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(url, timeout=2) as reply:
        return reply.status == 200
    return False


def wait_for(what: str, happened: Callable[[], bool], seconds: float, log: Path) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            raise AssertionError(
                f"{what}: not within {seconds} s; dagster dev said:\n{log.read_text()[-4000:]}"
            )
        time.sleep(0.5)


def graphql(address: str, query: str, variables: dict[str, Any] | None = None) -> str:
    body = json.dumps({"query": query, "variables": variables or {}}).encode()
    request = urllib.request.Request(f"{address}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as reply:
        return reply.read().decode()
