"""`make bench-control`: what the control plane costs in memory, and how fast it starts runs.

Prints the conditions beside the numbers. Prefect is measured in the same session, but for --no-prefect.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
from dataclasses import asdict
from functools import partial
from importlib.metadata import version

from rich.console import Console
from rich.table import Table

from bench.control_footprint import IDLE_SECONDS, Footprint, measure_footprints
from bench.control_prefect import measure_prefect
from bench.control_server import as_json
from bench.control_throughput import ARRIVAL_SECONDS, ARRIVALS, BACKLOG, Throughput, measure_throughput
from bench.media import OUT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("footprint", "throughput"))
    parser.add_argument("--no-prefect", action="store_true")
    options = parser.parse_args()
    console = Console(width=120)
    console.print(conditions())
    footprints: list[Footprint] = []
    throughputs: list[Throughput] = []
    if options.only != "throughput":
        for footprint in measure_footprints():
            footprints.append(footprint)
            console.print(_footprint_table(footprint))
    if options.only != "footprint":
        for measure in (
            partial(measure_throughput, "SQLite"),
            partial(measure_throughput, "PostgreSQL"),
            *([] if options.no_prefect else [measure_prefect]),
        ):
            throughputs.append(measure())
            console.print(_throughput_table(throughputs[-1:]))
        console.print(_throughput_table(throughputs))
    console.print(f"load at the end: {_load()}")
    results = {
        "conditions": conditions(),
        "footprints": [asdict(each) for each in footprints],
        "throughput": [asdict(each) for each in throughputs],
    }
    as_json(OUT / "control.json", results)


def conditions() -> str:
    return (
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC, {len(os.sched_getaffinity(0))} CPUs, "
        f"Python {platform.python_version()}, dagster {version('dagster')}, load {_load()}"
    )


def _load() -> str:
    return " ".join(f"{value:.1f}" for value in os.getloadavg())


def _footprint_table(footprint: Footprint) -> Table:
    table = Table(title=f"{footprint.way}, {IDLE_SECONDS:.0f} s later", title_justify="left")
    for heading in ("part", "RSS MiB", "PSS MiB"):
        table.add_column(heading, justify="left" if heading == "part" else "right")
    for name, part in footprint.parts.items():
        table.add_row(name, f"{part.rss:.0f}", f"{part.pss:.0f}")
    table.add_row("together", "", f"{footprint.pss:.0f}")
    return table


def _throughput_table(throughputs: list[Throughput]) -> Table:
    table = Table(
        title=f"{BACKLOG} at once: runs per minute; {ARRIVALS}, one every {ARRIVAL_SECONDS:.0f} s: latency",
        title_justify="left",
    )
    for heading in ("system", "storage", "runs/min", "at once", "p50 s", "p95 s"):
        table.add_column(heading, justify="left" if heading in ("system", "storage") else "right")
    for each in throughputs:
        table.add_row(
            each.system,
            each.storage,
            f"{each.runs_per_minute:.1f}",
            str(each.most_at_once),
            f"{each.latency_p50_s:.1f}",
            f"{each.latency_p95_s:.1f}",
        )
    return table


if __name__ == "__main__":
    main()
