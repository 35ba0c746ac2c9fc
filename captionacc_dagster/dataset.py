"""Confirmed captions as training data in a folder: each video's scenes, beside where they come from.

    OUT/<video id>/shard_<hash>.npz     labelled frames, as gpu_ops.extents.examples describes them
    OUT/<video id>/provenance.json      whose video, which cropped frames and model, when, which shards

A tenant's frames never get into a folder with another tenant's unless that was asked for.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from captionacc_dagster import artifacts
from captionacc_dagster.artifacts import keys_of
from captionacc_dagster.catalog import open_catalog
from captionacc_dagster.catalog.protocol import Video
from captionacc_dagster.definitions import build_definitions
from captionacc_dagster.instance import open_instance
from captionacc_dagster.jobs import export_training_data
from captionacc_dagster.partitions import videos as video_partitions
from captionacc_dagster.progress import ProgressListener
from captionacc_dagster.resources import build_resources
from captionacc_dagster.settings import Settings, open_store
from gpu_ops.contract import BadRequest
from gpu_ops.store import ObjectStore

PROVENANCE = "provenance.json"


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What one video gave. `error` is a sentence for the user; with it, nothing was written."""

    video: Video
    captions: int = 0
    scenes: int = 0
    folder: Path | None = None
    error: str | None = None


def export_dataset(
    out: Path, settings: Settings, tenant_id: str | None, since: str | None, listener: ProgressListener
) -> list[Exported]:
    """Export every video of the tenant (None: of all tenants) that has captions confirmed at or after `since`
    (ISO-8601 UTC; None: ever). One that fails does not stop the others. Raises BadRequest where
    `out` holds another tenant's frames.
    """
    catalog, store = open_catalog(settings), open_store(settings)
    if tenant_id is not None:
        _refuse_others(out, tenant_id)
    chosen = [
        video
        for video in catalog.videos(tenant_id=tenant_id)
        if video.caption_status == "ready" and _has_confirmed(store, video, since)
    ]
    definitions = build_definitions(settings, build_resources(settings, listener))
    exported: list[Exported] = []
    with open_instance(settings) as instance:
        for video in chosen:
            listener.stage(video.display_path, "training data")
            if not instance.has_dynamic_partition(str(video_partitions.name), video.id):
                instance.add_dynamic_partitions(str(video_partitions.name), [video.id])
            error = _run(definitions, instance, video, since)
            if error is not None:
                exported.append(Exported(video=video, error=error))
                continue
            facts = _download(store, video, out / video.id)
            exported.append(
                Exported(
                    video=video,
                    captions=facts["captions"],
                    scenes=facts["scenes"],
                    folder=out / video.id,
                )
            )
    return exported


def _refuse_others(out: Path, tenant_id: str) -> None:
    for path in out.glob(f"*/{PROVENANCE}"):
        if json.loads(path.read_text(encoding="utf-8"))["tenant_id"] != tenant_id:
            raise BadRequest(
                f"{path.parent} holds another tenant's frames. Export into another folder, or ask for all "
                "tenants together with --all-tenants."
            )


def _has_confirmed(store: ObjectStore, video: Video, since: str | None) -> bool:
    return any(
        row.state == "confirmed" and (since is None or (row.extents_updated_at or "") >= since)
        for row in artifacts.read_captions(store, video)
    )


def _run(
    definitions: dg.Definitions, instance: dg.DagsterInstance, video: Video, since: str | None
) -> str | None:
    """Materialize the video's training data. None when done, a sentence when that failed."""
    result = definitions.resolve_job_def(export_training_data.name).execute_in_process(
        instance=instance,
        partition_key=video.id,
        raise_on_error=False,
        run_config={
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            "ops": {"training_data": {"config": {"since": since}}},
        },
        tags={"tenant": video.tenant_id, "trigger": "cli"},
    )
    if result.success:
        return None
    for event in result.all_events:
        failure = event.step_failure_data if event.is_step_failure else None
        if failure is not None and failure.user_failure_data is not None:
            return str(failure.user_failure_data.description)
        if failure is not None and failure.error is not None:
            return f"Unexpected failure: {failure.error.message.strip()}"
    return f"The run did not finish; see run {result.run_id} in the Dagster UI."


def _download(store: ObjectStore, video: Video, folder: Path) -> dict[str, Any]:
    """Copy what the provenance in the store lists, and it last; answers it."""
    keys = keys_of(video)
    provenance = store.get(keys.training_data_provenance)
    facts: dict[str, Any] = json.loads(provenance)
    names = [str(shard["name"]) for shard in facts["shards"]]
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        if not (folder / name).exists():  # named by its content
            _write(folder / name, store.get(f"{keys.training_data}/{name}"))
    _write(folder / PROVENANCE, provenance)
    for stale in folder.glob("shard_*.npz"):
        if stale.name not in names:
            stale.unlink()
    return facts


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    os.replace(part, path)
