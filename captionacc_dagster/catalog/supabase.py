"""The catalog of production: a Supabase project's Postgres, reached through its gateway.

What must happen whole or not at all is one SQL function each (migrations/postgres/0002_functions.sql), which
sqlite.py parallels statement by statement. A function answers one JSON value, so that the server's limit on
rows cuts nothing off, and its arguments travel in the request's body, however many they are.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from captionacc_dagster.catalog.gateway import Gateway, Refused
from captionacc_dagster.catalog.protocol import (
    LEASE_TTL,
    CatalogError,
    ComputeCall,
    CroppedFramesVersion,
    Stage,
    Video,
    VideoNotFound,
)
from captionacc_dagster.catalog.rows import (
    already_answered,
    lease_lost,
    not_found,
    storable,
    to_version,
    to_video,
    work_held,
)
from gpu_ops.contract import GRID_HZ, CropInferResult, ExtractResult, InvalidId, checked_id
from gpu_ops.regions import CropRegion

PAGE_ROWS = 500

_BEFORE_ALL = {"created_at": "-infinity", "video_id": "00000000-0000-0000-0000-000000000000"}


class SupabaseCatalog:
    """Implements protocol.Catalog. Safe to share between threads; a forked process opens its own."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

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
        checked_id(video_id, "video")
        checked_id(tenant_id, "tenant")
        added = self._call(
            "add_video",
            video_id=video_id,
            tenant_id=tenant_id,
            display_path=display_path,
            storage_key=storage_key,
            size_bytes=size_bytes,
            content_sha256=content_sha256,
            languages=languages,
            status=status,
        )
        return to_video(added)

    def video(self, video_id: str) -> Video:
        found = self._videos("find_video", video_id=video_id)
        if not found:
            raise not_found(video_id)
        return found[0]

    def find_by_content(self, tenant_id: str, content_sha256: str) -> Video | None:
        found = self._videos("find_by_content", tenant_id=tenant_id, content_sha256=content_sha256)
        return found[0] if found else None

    def videos(self, *, tenant_id: str | None = None) -> Iterator[Video]:
        last = _BEFORE_ALL
        while True:
            page = self._videos("videos_after", tenant_id=tenant_id, **last, limit=PAGE_ROWS)
            yield from page
            if len(page) < PAGE_ROWS:
                return
            last = {"created_at": page[-1].created_at.isoformat(), "video_id": page[-1].id}

    def set_languages(self, video_id: str, languages: str) -> Video:
        return to_video(self._call("set_languages", video_id=video_id, languages=languages))

    def delete_video(self, video_id: str) -> None:
        self._call("delete_video", video_id=video_id)

    def tier(self, tenant_id: str) -> str:
        return str(self._call("tier", tenant_id=tenant_id))

    # --- what is waiting

    def waiting_for_layout(self, limit: int) -> Sequence[Video]:
        return self._videos("waiting_for_layout", limit=limit)

    def waiting_for_extents(self, limit: int) -> Sequence[Video]:
        return self._videos("waiting_for_extents", limit=limit)

    def waiting_for_captions(self, limit: int) -> Sequence[Video]:
        return self._videos("waiting_for_captions", limit=limit)

    def with_captions(self, after_id: str, limit: int) -> Sequence[Video]:
        return self._videos("with_captions", after_id=after_id, limit=limit)

    def stuck(self, older_than: timedelta, limit: int) -> Sequence[Video]:
        return self._videos("stuck", older_than_s=older_than.total_seconds(), limit=limit)

    def held_by_expired_lease(self, limit: int) -> Sequence[tuple[Video, Stage, str]]:
        lost = self._call("held_by_expired_lease", ttl_s=LEASE_TTL.total_seconds(), limit=limit)
        return [(to_video(each["video"]), Stage(each["stage"]), each["run_id"]) for each in lost]

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
        claimed = self._work(
            "claim",
            video_id,
            stage,
            run_id=run_id,
            ttl_s=ttl.total_seconds(),
            unless_answered=unless_answered,
        )
        return to_video(claimed)

    def renew(self, video_id: str, stage: Stage, run_id: str, ttl: timedelta = LEASE_TTL) -> None:
        self._work("renew", video_id, stage, run_id=run_id, ttl_s=ttl.total_seconds())

    def finish_layout(self, video_id: str, run_id: str, result: ExtractResult) -> None:
        self._call(
            "finish_layout",
            Stage.LAYOUT,
            video_id=video_id,
            run_id=run_id,
            duration_seconds=result.duration,
            width=result.frame_width,
            height=result.frame_height,
            video_codec=result.video_codec,
            bitrate=result.bitrate,
            frame_count=result.frame_count,
        )

    def reserve_cropped_frames(self, video_id: str, run_id: str, region: CropRegion) -> CroppedFramesVersion:
        reserved = self._call(
            "reserve_cropped_frames",
            Stage.EXTENTS,
            video_id=video_id,
            run_id=run_id,
            crop_region=dataclasses.asdict(region),
            frame_rate=GRID_HZ,
            request_id=str(uuid.uuid4()),
        )
        return to_version(reserved)

    def finish_extents(
        self, video_id: str, run_id: str, result: CropInferResult, *, approved_at: datetime | None
    ) -> None:
        self._call(
            "finish_extents",
            Stage.EXTENTS,
            video_id=video_id,
            run_id=run_id,
            version=result.version,
            frame_count=result.frame_count,
            chunk_count=result.chunk_count,
            total_size_bytes=result.total_size_bytes,
            label_counts=dict(result.label_counts),
            approved_at=_text(approved_at),
        )

    def finish_captions(
        self, video_id: str, run_id: str, captions_db_key: str, *, requested_at: datetime | None
    ) -> None:
        self._call(
            "finish_captions",
            Stage.CAPTIONS,
            video_id=video_id,
            run_id=run_id,
            captions_db_key=captions_db_key,
            requested_at=_text(requested_at),
        )

    def fail(self, video_id: str, stage: Stage, run_id: str, message: str) -> bool:
        with suppress(VideoNotFound):
            return bool(self._work("fail", video_id, stage, run_id=run_id, message=storable(message)))
        return False

    def record_call(self, video_id: str, stage: Stage, run_id: str, call: ComputeCall) -> None:
        self._work("record_call", video_id, stage, run_id=run_id, **dataclasses.asdict(call))

    def find_call(self, video_id: str, stage: Stage, order: str) -> ComputeCall | None:
        found = self._work("find_call", video_id, stage, order=order)
        if not found:
            return None
        (row,) = found
        return ComputeCall(order=order, request_digest=row["request_digest"], call_id=row["call_id"])

    def forget_call(self, video_id: str, stage: Stage, run_id: str, order: str) -> bool:
        return bool(self._work("forget_call", video_id, stage, run_id=run_id, order=order))

    def release(self, video_id: str, stage: Stage, run_id: str) -> bool:
        with suppress(VideoNotFound):
            return bool(self._work("release", video_id, stage, run_id=run_id))
        return False

    def approve_layout(self, video_id: str, *, again: bool = True) -> Video:
        return self._asked("approve_layout", video_id, request_id=str(uuid.uuid4()), again=again)

    def request_captions(self, video_id: str) -> Video:
        return self._asked("request_captions", video_id, request_id=str(uuid.uuid4()))

    def retry(self, video_id: str) -> Video:
        return self._asked("retry", video_id)

    # --- versions

    def cropped_frames_versions(self, video_id: str) -> Sequence[CroppedFramesVersion]:
        return [to_version(row) for row in self._call("versions_of", video_id=video_id)]

    def describe(self) -> Mapping[str, Any]:
        return {
            "kind": "supabase",
            "where": f"{self._gateway.url}, schema {self._gateway.schema}",
            "schema_version": self._gateway.schema_version(),
            "videos": self._call("count_videos"),
        }

    # --- calls

    def _videos(self, function: str, **arguments: Any) -> list[Video]:
        return [to_video(row) for row in self._call(function, **arguments)]

    def _asked(self, function: str, video_id: str, **arguments: Any) -> Video:
        return to_video(self._call(function, video_id=video_id, **arguments))

    def _work(self, function: str, video_id: str, stage: Stage, **arguments: Any) -> Any:
        return self._call(function, stage, video_id=video_id, stage=stage.value, **arguments)

    def _call(self, function: str, about: Stage | None = None, /, **arguments: Any) -> Any:
        """Call the function; what it refuses becomes the protocol's error about that video and stage."""
        video_id = str(arguments.get("video_id", ""))
        try:
            if "video_id" in arguments:
                checked_id(video_id, "video")
            return self._gateway.call(function, **arguments)
        except InvalidId:
            raise not_found(video_id) from None
        except Refused as refused:
            if refused.code == "CA404":
                raise not_found(video_id) from None
            if refused.code == "CA409" and about is not None:
                raise work_held(video_id, about, refused.detail or None) from None
            if refused.code == "CA412" and about is not None:
                raise already_answered(video_id, about) from None
            if refused.code == "CA410" and about is not None:
                raise lease_lost(video_id, about) from None
            raise CatalogError(str(refused)) from None


def _text(time: datetime | None) -> str | None:
    return time.isoformat() if time else None
