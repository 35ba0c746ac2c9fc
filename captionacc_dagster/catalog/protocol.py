"""What the pipeline asks of a catalog, be it SQLite on one machine or Supabase in production.

The catalog is the truth about a video's status. Every change of status is a compare-and-set made in one
transaction, and every method may be called again with the same arguments after a lost reply.

A stage holds the lease of the database it writes while it works:

    stage      lease on                 videos column it moves
    layout     layout                   status: uploading|pending|error|active -> processing -> active
    extents    caption_frame_extents    caption_status: any -> processing (stays so until captions exist)
    captions   captions                 caption_status: any -> processing -> ready

An annotator's client lock on a database always wins: it needs nobody's leave, and the run that held the lease
learns of it from LeaseLost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal, Protocol

from gpu_ops.contract import CropInferResult, ExtractResult
from gpu_ops.regions import CropRegion


class Stage(StrEnum):
    """A part of a video's life that one run carries out."""

    LAYOUT = "layout"
    EXTENTS = "extents"
    CAPTIONS = "captions"

    @property
    def database(self) -> str:
        """The database whose lease the stage holds."""
        return {"layout": "layout", "extents": "caption_frame_extents", "captions": "captions"}[self.value]


@dataclass(frozen=True, kw_only=True)
class Video:
    """One row of `videos`. Times are aware datetimes in UTC."""

    id: str
    tenant_id: str
    display_path: str
    storage_key: str
    status: str  # uploading | pending | processing | active | error
    created_at: datetime
    layout_requested_at: datetime  # when it was added, or the last `retry` of its layout
    caption_status: str | None = None  # None | processing | ready | error
    error_message: str | None = None
    failed_stage: str | None = None  # the Stage that error_message is about
    size_bytes: int | None = None
    content_sha256: str | None = None
    duration_seconds: float | None = None
    width: int | None = None
    height: int | None = None
    video_codec: str | None = None
    bitrate: int | None = None
    frame_count: int | None = None
    current_cropped_frames_version: int | None = None
    label_counts: Mapping[str, int] | None = None
    captions_db_key: str | None = None
    # An approval is a newer layout_approved_at; the crop stage has dealt with it once the second equals it.
    layout_approved_at: datetime | None = None
    layout_approval_processed_at: datetime | None = None
    # A request for caption OCR (new extents, or an annotator's) is a newer captions_requested_at; likewise.
    captions_requested_at: datetime | None = None
    captions_processed_at: datetime | None = None
    languages: str = ""  # comma-separated BCP 47 hints for OCR; empty: automatic
    deleted_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class CroppedFramesVersion:
    """One row of `cropped_frames_versions`."""

    video_id: str
    version: int
    storage_prefix: str
    crop_region: CropRegion
    status: str  # processing | active | archived | failed
    total_frames: int | None = None
    chunk_count: int | None = None
    total_size_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class ComputeCall:
    """A computation that a run ordered from a machine elsewhere, as it is on record for the stage's work."""

    order: str  # which of the work's orders; a later one of that name supersedes it
    request_digest: str  # of everything that was asked
    call_id: str  # what the other side calls it


def requested_at(video: Video, stage: Stage) -> datetime | None:
    """When the stage's work was last asked for; None if it never was."""
    return {
        Stage.LAYOUT: video.layout_requested_at,
        Stage.EXTENTS: video.layout_approved_at,
        Stage.CAPTIONS: video.captions_requested_at,
    }[stage]


def is_answered(video: Video, stage: Stage) -> bool:
    """Whether the stage's artifacts exist and answer the latest request for them."""
    if video.failed_stage == stage:
        # A failed request counts as dealt with, but nothing answers it.
        return False
    return {
        Stage.LAYOUT: video.status == "active",
        Stage.EXTENTS: video.layout_approval_processed_at == video.layout_approved_at
        and video.current_cropped_frames_version is not None,
        Stage.CAPTIONS: video.caption_status == "ready"
        and video.captions_processed_at == video.captions_requested_at,
    }[stage]


class CatalogError(Exception):
    """The catalog could not do what was asked; the message says why and what to do."""


class CatalogUnavailable(CatalogError):
    """The catalog's server cannot be used as it is set up, or not at this moment; `kind` says which."""

    def __init__(self, message: str, *, kind: Trouble) -> None:
        super().__init__(message)
        self.kind = kind


Trouble = Literal[
    "not_installed",  # the client library
    "wrong_url",
    "wrong_key",
    "schema_not_exposed",
    "schema_behind",  # `captionacc migrate` was not run
    "schema_ahead",  # a newer captionacc has migrated it
    "unreachable",
    "timed_out",
]


class VideoNotFound(CatalogError):
    """There is no such video, or it was deleted."""


class WorkHeld(CatalogError):
    """Someone else holds the lease. `holder_run_id` is None when it is an annotator's client lock."""

    def __init__(self, message: str, *, holder_run_id: str | None) -> None:
        super().__init__(message)
        self.holder_run_id = holder_run_id


class AlreadyAnswered(CatalogError):
    """Another run has meanwhile made what this run was started for."""


class LeaseLost(CatalogError):
    """A run tried to renew or finish work whose lease is no longer its own."""


LEASE_TTL = timedelta(seconds=90)


class Catalog(Protocol):
    """All times are taken from the catalog's own clock."""

    # --- videos
    def add_video(
        self,
        *,
        video_id: str,
        tenant_id: str,
        display_path: str,
        storage_key: str,
        size_bytes: int,
        content_sha256: str | None = None,
        languages: str = "",
        status: str = "pending",
    ) -> Video:
        """Insert a row, or return the existing one for this video_id; a deleted one begins anew.

        Raises CatalogError if the id is another tenant's.
        """
        ...

    def video(self, video_id: str) -> Video:
        """Raises VideoNotFound."""
        ...

    def find_by_content(self, tenant_id: str, content_sha256: str) -> Video | None: ...

    def videos(self, *, tenant_id: str | None = None) -> Iterator[Video]:
        """All that are not deleted, oldest first, read in pages."""
        ...

    def set_languages(self, video_id: str, languages: str) -> Video:
        """Other hints for OCR (as in Video) from the next run on."""
        ...

    def delete_video(self, video_id: str) -> None:
        """Mark as deleted: no sensor, run or command touches it from now on."""
        ...

    def tier(self, tenant_id: str) -> str:
        """The tenant's tier: free | premium | enterprise; free when unknown."""
        ...

    # --- what is waiting (every answer is oldest first and at most `limit` long)
    def waiting_for_layout(self, limit: int) -> Sequence[Video]:
        """Status `pending` and nobody at work on it: the upload is complete."""
        ...

    def waiting_for_extents(self, limit: int) -> Sequence[Video]:
        """Status `active` with an approval newer than the one last processed, and nobody at work on it."""
        ...

    def waiting_for_captions(self, limit: int) -> Sequence[Video]:
        """A caption request newer than the one last processed, with an active cropped-frames version.

        None whose captions a run or an annotator holds.
        """
        ...

    def with_captions(self, after_id: str, limit: int) -> Sequence[Video]:
        """caption_status `ready`, ids greater than `after_id` (ordered by id, unlike the others)."""
        ...

    def stuck(self, older_than: timedelta, limit: int) -> Sequence[Video]:
        """Status `uploading` or `pending`, created longer than `older_than` ago."""
        ...

    def held_by_expired_lease(self, limit: int) -> Sequence[tuple[Video, Stage, str]]:
        """Videos whose stage is `processing` though its holder is gone, with that holder's run id.

        Its lease has expired, or was given up more than LEASE_TTL ago without a result. `fail` still works
        for that run.
        """
        ...

    # --- a stage's work
    def claim(
        self,
        video_id: str,
        stage: Stage,
        run_id: str,
        ttl: timedelta = LEASE_TTL,
        *,
        unless_answered: bool = False,
    ) -> Video:
        """Take the lease and move the status to `processing`, both or neither. Again by the same run: fine.

        Raises VideoNotFound, WorkHeld while another live lease exists, and with `unless_answered`
        AlreadyAnswered where `is_answered`.
        """
        ...

    def renew(self, video_id: str, stage: Stage, run_id: str, ttl: timedelta = LEASE_TTL) -> None:
        """Push the expiry on. Raises LeaseLost."""
        ...

    def finish_layout(self, video_id: str, run_id: str, result: ExtractResult) -> None:
        """Record the facts, status `active`, error cleared, lease released. Raises LeaseLost."""
        ...

    def reserve_cropped_frames(self, video_id: str, run_id: str, region: CropRegion) -> CroppedFramesVersion:
        """A new version, never used before, in status `processing`. Raises LeaseLost.

        While a call of the stage is on record, the newest version instead, if it was reserved for this region
        and never activated: that call is computing it.
        """
        ...

    def finish_extents(
        self, video_id: str, run_id: str, result: CropInferResult, *, approved_at: datetime | None
    ) -> None:
        """Activate result.version and archive the one before, mark the approval `approved_at` processed,
        request captions, release the lease. Raises LeaseLost."""
        ...

    def finish_captions(
        self, video_id: str, run_id: str, captions_db_key: str, *, requested_at: datetime | None
    ) -> None:
        """caption_status `ready`, mark the request processed, release the lease. Raises LeaseLost."""
        ...

    def fail(self, video_id: str, stage: Stage, run_id: str, message: str) -> bool:
        """If `run_id` holds the stage, or held it last and released it: status `error` with the message.

        Also: reserved versions `failed`, the approval or request that it took up marked processed (no retry
        storm; a newer one still waits), lease released. Otherwise change nothing and return False.
        """
        ...

    def record_call(self, video_id: str, stage: Stage, run_id: str, call: ComputeCall) -> None:
        """Put the call on record as this run's, over whichever stood there. Raises LeaseLost.

        It stays there, whatever becomes of the run, until the stage is finished or `forget_call`.
        """
        ...

    def find_call(self, video_id: str, stage: Stage, order: str) -> ComputeCall | None:
        """What is on record of that order, whichever run recorded it."""
        ...

    def forget_call(self, video_id: str, stage: Stage, run_id: str, order: str) -> bool:
        """Take the order off the record; False, and nothing changed, where another run has recorded it."""
        ...

    def release(self, video_id: str, stage: Stage, run_id: str) -> bool:
        """Give the lease up, the status left alone (the run is dead, or ends early). False if it has none.

        What an annotator took from this run is requested anew, to be done after them.
        """
        ...

    def approve_layout(self, video_id: str, *, again: bool = True) -> Video:
        """Record a new approval: layout_approved_at becomes now. Without `again`, one that exists stays."""
        ...

    def request_captions(self, video_id: str) -> Video:
        """Record a new request for caption OCR: captions_requested_at becomes now."""
        ...

    def retry(self, video_id: str) -> Video:
        """Put a failed video back: status error -> pending, or caption_status error -> a new request for that
        stage. A video that has not failed is returned as it is."""
        ...

    # --- versions
    def cropped_frames_versions(self, video_id: str) -> Sequence[CroppedFramesVersion]: ...

    def describe(self) -> Mapping[str, Any]:
        """For `captionacc doctor`: kind, where, schema version, number of videos. Raises CatalogError."""
        ...
