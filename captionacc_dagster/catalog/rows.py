"""Rows of the tables as the protocol's values, and refusals in words: the same in every catalog."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from captionacc_dagster.catalog.protocol import (
    AlreadyAnswered,
    CroppedFramesVersion,
    LeaseLost,
    Stage,
    Video,
    VideoNotFound,
    WorkHeld,
)
from gpu_ops.regions import CropRegion

VIDEO_FIELDS = tuple(field.name for field in dataclasses.fields(Video))
VERSION_FIELDS = tuple(field.name for field in dataclasses.fields(CroppedFramesVersion))

_TIMES = frozenset(
    {
        "created_at",
        "layout_requested_at",
        "layout_approved_at",
        "layout_approval_processed_at",
        "captions_requested_at",
        "captions_processed_at",
        "deleted_at",
    }
)


def to_video(row: Mapping[str, Any]) -> Video:
    """A row of `videos`, its times in ISO 8601; other columns than Video's are left out."""
    values = {name: row[name] for name in VIDEO_FIELDS}
    for name in _TIMES:
        # In UTC whatever the server's zone: a run's key is made of the text of such a time.
        values[name] = datetime.fromisoformat(values[name]).astimezone(UTC) if values[name] else None
    values["label_counts"] = _decoded(values["label_counts"])
    return Video(**values)


def to_version(row: Mapping[str, Any]) -> CroppedFramesVersion:
    """A row of `cropped_frames_versions`; other columns than CroppedFramesVersion's are left out."""
    values = {name: row[name] for name in VERSION_FIELDS}
    values["crop_region"] = CropRegion(**_decoded(values["crop_region"]))
    return CroppedFramesVersion(**values)


def not_found(video_id: str) -> VideoNotFound:
    return VideoNotFound(f"There is no video {video_id}. `captionacc status` lists those there are.")


def work_held(video_id: str, stage: Stage, holder_run_id: str | None) -> WorkHeld:
    """The refusal of a claim; `holder_run_id` None: an annotator has the database open."""
    if holder_run_id is None:
        message = f"An annotator has the {stage.database} of {video_id} open."
    else:
        message = f"Run {holder_run_id} is at work on the {stage.value} of {video_id}."
    return WorkHeld(message, holder_run_id=holder_run_id)


def already_answered(video_id: str, stage: Stage) -> AlreadyAnswered:
    return AlreadyAnswered(f"Another run has just made the {stage.value} of {video_id}.")


def lease_lost(video_id: str, stage: Stage) -> LeaseLost:
    return LeaseLost(
        f"This run no longer holds the {stage.database} of {video_id}: another run or an annotator took it, "
        "or the video was deleted."
    )


def storable(text: str) -> str:
    """The text without what no database holds: NUL, halves of surrogate pairs; a crashed program's, say."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode("utf-8")


def _decoded(value: Any) -> Any:
    """JSON as SQLite keeps it (text) or as it comes from a server (decoded)."""
    return json.loads(value) if isinstance(value, str) else value
