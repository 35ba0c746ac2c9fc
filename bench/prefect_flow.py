"""The same three steps on Prefect, run by its own interpreter in bench-out/prefect: not by the project's.

`python prefect_flow.py measure COUNT SECONDS_BETWEEN` makes that many flow runs and prints, as JSON, when
each was created, started and ended.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId


@task
def read_full_frames(video: str) -> str:
    return video


@task
def full_frames_cover_the_video(video: str) -> bool:
    return bool(video)


@task
def ocr_failures_are_rare(video: str) -> bool:
    return bool(video)


@flow
def video_initial_processing(video: str = "") -> None:
    made = read_full_frames(video)
    full_frames_cover_the_video(made)
    ocr_failures_are_rare(made)


def deploy() -> None:
    """A deployment that a process worker takes from the pool `bench`."""
    video_initial_processing.from_source(
        source=str(Path(__file__).parent), entrypoint=f"{Path(__file__).name}:video_initial_processing"
    ).deploy(name="bench", work_pool_name="bench")


async def measure(count: int, seconds_between: float) -> list[tuple[float, float, float]]:
    async with get_client() as client:
        deployment = await client.read_deployment_by_name("video-initial-processing/bench")
        created: dict[Any, float] = {}
        for number in range(count):
            run = await client.create_flow_run_from_deployment(
                deployment.id, parameters={"video": str(number)}
            )
            created[run.id] = time.time()
            await asyncio.sleep(seconds_between)
        wanted = FlowRunFilter(id=FlowRunFilterId(any_=list(created)))
        while True:
            runs = await client.read_flow_runs(flow_run_filter=wanted)
            if all(run.state is not None and run.state.is_final() for run in runs):
                break
            await asyncio.sleep(1)
        assert all(run.state is not None and run.state.is_completed() for run in runs), "flow runs failed"
        return [
            (created[run.id], run.start_time.timestamp(), run.end_time.timestamp())
            for run in runs
            if run.start_time and run.end_time
        ]


if __name__ == "__main__":
    if sys.argv[1] == "deploy":
        deploy()
    else:
        print(json.dumps(asyncio.run(measure(int(sys.argv[2]), float(sys.argv[3])))))
