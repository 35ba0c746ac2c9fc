"""Whether a run is still alive, whoever started it.

Dagster does not notice when a run's process dies together with the process that watched it, and nobody
watches the runs that the command line carries out itself. So every run that takes a lease notes its machine
and process.
"""

from __future__ import annotations

import os
import socket

import dagster as dg
from dagster._core.storage.tags import GRPC_INFO_TAG  # how Dagster marks a run that a code server carries out

PROCESS_TAG = "captionacc/process"

UNDER_WAY = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def note_process(instance: dg.DagsterInstance, run_id: str) -> None:
    """Tag the run with the process that carries it out."""
    instance.add_run_tags(run_id, {PROCESS_TAG: f"{socket.gethostname()}:{os.getpid()}"})


def is_dead(instance: dg.DagsterInstance, run_id: str) -> bool:
    """True if the run has ended, or its process on this machine is gone: it is then reported as failed.

    A run this instance does not know, or one on another machine, counts as alive: its lease must expire.
    """
    run = instance.get_run_by_id(run_id)
    if run is None:
        return False
    if run.is_finished:
        return True
    if _host_of(run) != socket.gethostname() or is_carried_out_here(run):
        return False
    report_lost(instance, run)
    return True


def is_carried_out_here(run: dg.DagsterRun) -> bool:
    """Whether the process that carries it out is one of this machine's and exists."""
    return _host_of(run) == socket.gethostname() and _process_exists(
        int(run.tags[PROCESS_TAG].rpartition(":")[2])
    )


def _host_of(run: dg.DagsterRun) -> str:
    return run.tags.get(PROCESS_TAG, "").rpartition(":")[0]


def end_runs_of_former_server(instance: dg.DagsterInstance) -> int:
    """End the runs that a code server carried out, said by a new one before it takes any. Answers how many.

    Runs end with their code server. Reported now, they are tried again at once, and none takes up a place of
    the queue for ever. Runs that the command line carries out are not meant.
    """
    unfinished = dg.RunsFilter(statuses=UNDER_WAY)
    lost = [run for run in instance.get_runs(unfinished) if GRPC_INFO_TAG in run.tags]
    for run in lost:
        if run.status is dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run)
        else:
            report_lost(instance, run)
    return len(lost)


def report_lost(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """End a run whose process is gone, so that nothing waits for it."""
    instance.report_run_failed(
        run, "The process that carried out this run is gone: it was killed or its machine stopped."
    )


def _process_exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False
