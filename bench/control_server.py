"""A control plane of its own for each measurement: started, found to be healthy, looked at, stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from captionacc_dagster.doctor import is_ready
from captionacc_dagster.health import examine_server
from captionacc_dagster.instance import prepare_home
from captionacc_dagster.serve import SERVING
from captionacc_dagster.settings import Settings
from tests.servers.postgres import free_port

ROOT = Path(__file__).parent.parent
START_SECONDS = 300.0


@dataclass(frozen=True)
class Memory:
    """Of one process, in MiB: all of its pages, and its share of them (PSS: a page of three is a third)."""

    rss: float
    pss: float


@contextmanager
def control_plane(
    settings: Settings, definitions: str, *, web: bool = True, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """`captionacc serve` with these definitions, its output beside its home."""
    home = prepare_home(settings)
    listen = ["--port", str(free_port())] if web else ["--no-webserver"]
    with (settings.home / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "captionacc_dagster.serve", *listen, "--definitions", definitions],
            cwd=ROOT,
            env={
                **os.environ,
                "DAGSTER_HOME": str(home),
                "CAPTIONACC_HOME": str(settings.home),
                **(environment or {}),
            },
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: (home / SERVING).exists() and is_ready(examine_server(settings)), START_SECONDS)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def memory_of_parts(supervisor: int) -> dict[str, Memory]:
    """Memory by part; run workers and other children of a part count as theirs."""
    parts = dict(argument.split("=") for argument in psutil.Process(supervisor).cmdline() if "=" in argument)
    return {
        "supervisor": memory([supervisor]),
        **{
            name: memory([int(pid), *(c.pid for c in psutil.Process(int(pid)).children(recursive=True))])
            for name, pid in parts.items()
        },
    }


def memory(pids: list[int]) -> Memory:
    """Together, from /proc/PID/smaps_rollup."""
    total = {"Rss": 0, "Pss": 0}
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in total:
                total[name] += int(rest.split()[0])
    return Memory(total["Rss"] / 1024, total["Pss"] / 1024)


def wait_until(happened: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s")
        time.sleep(0.5)


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least `share` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 100) * len(ordered) // 100) - 1))]


def as_json(path: Path, results: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1))
