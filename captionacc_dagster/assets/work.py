"""What every asset function does around its sentence: hold the work, and end clearly when it cannot."""

from __future__ import annotations

import base64
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg
from dagster._core.storage.tags import PARENT_RUN_ID_TAG, RETRY_NUMBER_TAG  # how Dagster marks another go

from captionacc_dagster import runs
from captionacc_dagster.catalog.lease import HeldWork, held_work
from captionacc_dagster.catalog.protocol import (
    AlreadyAnswered,
    Catalog,
    CatalogError,
    LeaseLost,
    Stage,
    VideoNotFound,
    WorkHeld,
)
from captionacc_dagster.jobs import UNLESS_ANSWERED
from captionacc_dagster.resources.compute import WorkStopped
from gpu_ops.contract import ComputeError

# A crashed worker or a busy store may work the next time; what cannot get better is never tried again.
MOST_RETRIES = 2
RETRY_DELAY_S = 5

# Failure metadata: the run that holds the work this run was asked to do; that another run has done it.
HELD = "held_by_run"
ANSWERED = "answered_by_another_run"

STOPPED = "The run was stopped. Run it again with `captionacc retry` or from the Dagster UI."


@contextmanager
def stage_work(context: dg.AssetExecutionContext, catalog: Catalog, stage: Stage) -> Generator[HeldWork]:
    """Hold `stage` of the partition's video. A failure becomes the catalog's message and a dagster.Failure.

    One that may pass is tried again by Dagster while there are tries left; the last one is recorded.
    """
    video_id, run_id = context.partition_key, context.run.run_id
    runs.note_process(context.instance, run_id)
    try:
        with held_work(
            catalog,
            video_id,
            stage,
            run_id,
            is_dead=lambda holder: runs.is_dead(context.instance, holder),
            unless_answered=_is_for_a_request(context.run.tags),
        ) as held:
            try:
                yield held
            except (WorkHeld, VideoNotFound, LeaseLost):
                raise
            except WorkStopped as stopped:
                raise dg.Failure(str(stopped), allow_retries=False) from stopped
            except Exception as error:
                message = _sentence(error)
                _try_again(context, error)
                catalog.fail(video_id, stage, run_id, message)
                raise dg.Failure(message, allow_retries=False) from error
            except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
                catalog.fail(video_id, stage, run_id, STOPPED)
                raise
    except (WorkHeld, AlreadyAnswered, VideoNotFound, LeaseLost) as reason:
        # Another run won, or the video is gone: nothing is wrong with it, and trying again would not help.
        metadata: dict[str, Any] = {}
        if isinstance(reason, WorkHeld) and reason.holder_run_id is not None:
            metadata[HELD] = reason.holder_run_id
        if isinstance(reason, AlreadyAnswered):
            metadata[ANSWERED] = True
        raise dg.Failure(f"Nothing done: {reason}", metadata=metadata, allow_retries=False) from reason


def _is_for_a_request(tags: Mapping[str, str]) -> bool:
    """Whether the run is of use only while what it was started for still waits.

    An operator's re-execution has its parent's tags, but wants the work done; a retry by Dagster does not.
    """
    by_operator = PARENT_RUN_ID_TAG in tags and RETRY_NUMBER_TAG not in tags
    return UNLESS_ANSWERED.items() <= tags.items() and not by_operator


def _sentence(error: Exception) -> str:
    if isinstance(error, ComputeError | CatalogError):
        return str(error)
    return f"Unexpected {type(error).__name__}: {error}"


def _try_again(context: dg.AssetExecutionContext, error: Exception) -> None:
    """Ask Dagster for another try, where one may help.

    A retry policy on the asset would do the same, but Dagster also applies it to a run that is cancelled.
    """
    permanent = isinstance(error, ComputeError) and error.permanent
    if not permanent and context.retry_number < MOST_RETRIES:
        delay = RETRY_DELAY_S * 2**context.retry_number
        raise dg.RetryRequested(max_retries=MOST_RETRIES, seconds_to_wait=delay) from error


def report(
    context: dg.AssetExecutionContext,
    results: Mapping[str, Mapping[str, Any]],
    data_versions: Mapping[str, str],
) -> Generator[dg.MaterializeResult[Any]]:
    """Materialize every asset one compute call made, also those the operator did not select."""
    selected = {key.to_user_string() for key in context.selected_asset_keys}
    for name, metadata in results.items():
        version = data_versions[name]
        if name in selected:
            yield dg.MaterializeResult(
                asset_key=name, metadata=metadata, data_version=dg.DataVersion(version)
            )
        else:
            context.log_event(
                dg.AssetMaterialization(
                    asset_key=name,
                    partition=context.partition_key,
                    metadata=metadata,
                    tags={"dagster/data_version": version},
                )
            )


def picture(jpeg: bytes) -> dg.MarkdownMetadataValue:
    """A JPEG shown in place on the asset's page."""
    return dg.MetadataValue.md(f"![picture](data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')})")
