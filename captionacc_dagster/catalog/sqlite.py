"""The catalog of one machine: a SQLite file that sensors, runs and commands share without a server.

Every change is one BEGIN IMMEDIATE transaction, so it happens whole or not at all, and of two processes that
race the second sees what the first did. Readers never wait (WAL).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from captionacc_dagster.catalog.migrations.sqlite import schema_version
from captionacc_dagster.catalog.protocol import (
    LEASE_TTL,
    CatalogError,
    ComputeCall,
    CroppedFramesVersion,
    Stage,
    Video,
    is_answered,
)
from captionacc_dagster.catalog.rows import (
    already_answered,
    lease_lost,
    not_found,
    storable,
    to_version,
    to_video,
)
from captionacc_dagster.catalog.sqlite_file import SqliteFile
from captionacc_dagster.catalog.sqlite_statements import (
    IS_HOLDER,
    NOBODY_HOLDS,
    VERSION_COLUMNS,
    VIDEO_COLUMNS,
    as_text,
    end_work,
    finish_work,
    forget_failure,
    give_up_reserved_versions,
    last_outcome,
    now_text,
    read_video,
    set_request,
    take_lease,
    version_under_way,
)
from gpu_ops.contract import GRID_HZ, CropInferResult, ExtractResult, VideoKeys, checked_id
from gpu_ops.regions import CropRegion

PAGE_ROWS = 500

_REQUESTED_AT = {
    Stage.LAYOUT: "layout_requested_at",
    Stage.EXTENTS: "layout_approved_at",
    Stage.CAPTIONS: "captions_requested_at",
}

# Best first: a tenant has the tier of its best user.
_TIERS = (("enterprise", "enterprise"), ("active", "premium"))


class SqliteCatalog:
    """Implements protocol.Catalog. Safe to share between threads; each process opens its own."""

    def __init__(self, path: Path) -> None:
        """Open the catalog at `path`, creating or upgrading it. Raises CatalogError."""
        self.path = path
        self._file = SqliteFile(path)

    def close(self) -> None:
        """Close the connections that are not in use. The catalog can be used again afterwards."""
        self._file.close()

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
        with self._file.changing() as db:
            row = db.execute("SELECT tenant_id, deleted_at FROM videos WHERE id = ?", (video_id,)).fetchone()
            if row is not None and row["tenant_id"] != tenant_id:
                raise CatalogError(f"There is a video {video_id} already, and it is another tenant's.")
            if row is None or row["deleted_at"] is not None:
                now = now_text()
                db.execute(
                    "INSERT OR IGNORE INTO tenants (id, name, slug, created_at) VALUES (?, ?, ?, ?)",
                    (tenant_id, tenant_id, tenant_id, now),
                )
                # A deleted video that comes back keeps its id and its version numbers, nothing else.
                db.execute(
                    """
                    INSERT INTO videos (id, tenant_id, display_path, storage_key, size_bytes, content_sha256,
                        languages, status, created_at, layout_requested_at, uploaded_at)
                    VALUES (:id, :tenant_id, :display_path, :storage_key, :size_bytes, :content_sha256,
                        :languages, :status, :now, :now, CASE WHEN :status <> 'uploading' THEN :now END)
                    ON CONFLICT (id) DO UPDATE SET display_path = excluded.display_path,
                        storage_key = excluded.storage_key, size_bytes = excluded.size_bytes,
                        content_sha256 = excluded.content_sha256, languages = excluded.languages,
                        status = excluded.status, created_at = excluded.created_at,
                        layout_requested_at = excluded.layout_requested_at,
                        uploaded_at = excluded.uploaded_at, deleted_at = NULL,
                        duration_seconds = NULL, width = NULL, height = NULL, video_codec = NULL,
                        bitrate = NULL, frame_count = NULL, caption_status = NULL, error_message = NULL,
                        failed_stage = NULL, current_cropped_frames_version = NULL, label_counts = NULL,
                        captions_db_key = NULL, layout_approved_at = NULL,
                        layout_approval_processed_at = NULL, captions_requested_at = NULL,
                        captions_processed_at = NULL
                    """,
                    {
                        "id": video_id,
                        "tenant_id": tenant_id,
                        "display_path": display_path,
                        "storage_key": storage_key,
                        "size_bytes": size_bytes,
                        "content_sha256": content_sha256,
                        "languages": languages,
                        "status": status,
                        "now": now,
                    },
                )
            return read_video(db, video_id)

    def video(self, video_id: str) -> Video:
        with self._file.reading() as db:
            return read_video(db, video_id)

    def find_by_content(self, tenant_id: str, content_sha256: str) -> Video | None:
        found = self._videos(
            "tenant_id = ? AND content_sha256 = ? AND deleted_at IS NULL ORDER BY created_at, id LIMIT 1",
            (tenant_id, content_sha256),
        )
        return found[0] if found else None

    def videos(self, *, tenant_id: str | None = None) -> Iterator[Video]:
        of_tenant = "tenant_id = ? AND " if tenant_id is not None else ""
        parameters = (tenant_id,) if tenant_id is not None else ()
        last = ("", "")
        while True:
            page = self._videos(
                f"{of_tenant}(created_at, id) > (?, ?) AND deleted_at IS NULL "
                "ORDER BY created_at, id LIMIT ?",
                (*parameters, *last, PAGE_ROWS),
            )
            yield from page
            if len(page) < PAGE_ROWS:
                return
            last = (as_text(page[-1].created_at), page[-1].id)

    def set_languages(self, video_id: str, languages: str) -> Video:
        with self._file.changing() as db:
            db.execute("UPDATE videos SET languages = ? WHERE id = ?", (languages, video_id))
            return read_video(db, video_id)

    def delete_video(self, video_id: str) -> None:
        with self._file.changing() as db:
            changed = db.execute(
                "UPDATE videos SET deleted_at = coalesce(deleted_at, ?) WHERE id = ?", (now_text(), video_id)
            )
            if changed.rowcount == 0:
                raise not_found(video_id)
            db.execute("DELETE FROM compute_calls WHERE video_id = ?", (video_id,))
            # Whoever is at work on it learns from its next heartbeat.
            db.execute(
                "UPDATE video_database_state SET lock_type = NULL, lock_holder_user_id = NULL, "
                "lock_holder_run_id = NULL, lock_expires_at = NULL WHERE video_id = ?",
                (video_id,),
            )
            db.execute(
                "UPDATE cropped_frames_versions SET status = 'archived', archived_at = ? "
                "WHERE video_id = ? AND status = 'active'",
                (now_text(), video_id),
            )

    def tier(self, tenant_id: str) -> str:
        with self._file.reading() as db:
            rows = db.execute(
                "SELECT DISTINCT access_tier_id FROM user_profiles WHERE tenant_id = ?", (tenant_id,)
            )
            held = {str(row["access_tier_id"]) for row in rows}
        return next((tier for access, tier in _TIERS if access in held), "free")

    # --- what is waiting

    def waiting_for_layout(self, limit: int) -> Sequence[Video]:
        return self._videos(
            f"""
            status = 'pending' AND deleted_at IS NULL AND {NOBODY_HOLDS}
            ORDER BY layout_requested_at, id LIMIT ?
            """,
            (Stage.LAYOUT.database, now_text(), limit),
        )

    def waiting_for_extents(self, limit: int) -> Sequence[Video]:
        return self._videos(
            f"""
            layout_approved_at > coalesce(layout_approval_processed_at, '') AND deleted_at IS NULL
                AND status = 'active' AND {NOBODY_HOLDS}
            ORDER BY layout_approved_at, id LIMIT ?
            """,
            (Stage.EXTENTS.database, now_text(), limit),
        )

    def waiting_for_captions(self, limit: int) -> Sequence[Video]:
        return self._videos(
            f"""
            captions_requested_at > coalesce(captions_processed_at, '') AND deleted_at IS NULL
                AND current_cropped_frames_version IS NOT NULL AND {NOBODY_HOLDS}
            ORDER BY captions_requested_at, id LIMIT ?
            """,
            (Stage.CAPTIONS.database, now_text(), limit),
        )

    def with_captions(self, after_id: str, limit: int) -> Sequence[Video]:
        return self._videos(
            "caption_status = 'ready' AND id > ? AND deleted_at IS NULL ORDER BY id LIMIT ?",
            (after_id, limit),
        )

    def stuck(self, older_than: timedelta, limit: int) -> Sequence[Video]:
        return self._videos(
            "status IN ('uploading', 'pending') AND deleted_at IS NULL AND created_at < ? "
            "ORDER BY created_at, id LIMIT ?",
            (as_text(datetime.now(UTC) - older_than), limit),
        )

    def held_by_expired_lease(self, limit: int) -> Sequence[tuple[Video, Stage, str]]:
        stages = {stage.database: stage for stage in Stage}
        now = datetime.now(UTC)
        with self._file.reading() as db:
            rows = db.execute(
                f"""
                SELECT {VIDEO_COLUMNS}, database_name, lock_holder_run_id
                FROM video_database_state JOIN videos ON videos.id = video_id
                WHERE lock_holder_run_id IS NOT NULL
                    AND ((lock_type = 'server' AND lock_expires_at <= ?)
                        OR (lock_type IS NULL AND last_activity_at <= ?))
                    AND CASE database_name WHEN 'layout' THEN status ELSE caption_status END = 'processing'
                    AND deleted_at IS NULL
                ORDER BY last_activity_at LIMIT ?
                """,
                (as_text(now), as_text(now - LEASE_TTL), limit),
            ).fetchall()
        return [(to_video(row), stages[row["database_name"]], row["lock_holder_run_id"]) for row in rows]

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
        with self._file.changing() as db:
            video = read_video(db, video_id)
            if unless_answered and is_answered(video, stage):
                raise already_answered(video_id, stage)
            taken_up = {
                Stage.LAYOUT: None,
                Stage.EXTENTS: video.layout_approved_at,
                Stage.CAPTIONS: video.captions_requested_at,
            }[stage]
            take_lease(db, video, stage, run_id, ttl, taken_up)
            if stage is Stage.LAYOUT:
                db.execute("UPDATE videos SET status = 'processing' WHERE id = ?", (video_id,))
                forget_failure(db, video_id, (Stage.LAYOUT,))
            else:
                db.execute("UPDATE videos SET caption_status = 'processing' WHERE id = ?", (video_id,))
                forget_failure(db, video_id, (Stage.EXTENTS, Stage.CAPTIONS))
            return read_video(db, video_id)

    def renew(self, video_id: str, stage: Stage, run_id: str, ttl: timedelta = LEASE_TTL) -> None:
        with self._file.changing() as db:
            now = datetime.now(UTC)
            renewed = db.execute(
                "UPDATE video_database_state SET lock_expires_at = ?, last_activity_at = ? "
                f"WHERE {IS_HOLDER}",
                (as_text(now + ttl), as_text(now), video_id, stage.database, run_id),
            )
            if renewed.rowcount == 0:
                raise lease_lost(video_id, stage)

    def finish_layout(self, video_id: str, run_id: str, result: ExtractResult) -> None:
        with self._file.changing() as db:
            if not finish_work(db, video_id, Stage.LAYOUT, run_id):
                return
            db.execute(
                "UPDATE videos SET status = 'active', duration_seconds = ?, width = ?, height = ?, "
                "video_codec = ?, bitrate = ?, frame_count = ? WHERE id = ?",
                (
                    result.duration,
                    result.frame_width,
                    result.frame_height,
                    result.video_codec,
                    result.bitrate,
                    result.frame_count,
                    video_id,
                ),
            )
            forget_failure(db, video_id, (Stage.LAYOUT,))

    def reserve_cropped_frames(self, video_id: str, run_id: str, region: CropRegion) -> CroppedFramesVersion:
        with self._file.changing() as db:
            holds = db.execute(
                f"SELECT 1 FROM video_database_state WHERE {IS_HOLDER}",
                (video_id, Stage.EXTENTS.database, run_id),
            ).fetchone()
            if holds is None:
                raise lease_lost(video_id, Stage.EXTENTS)
            under_way = version_under_way(db, video_id, region)
            if under_way is not None:
                db.execute(
                    "UPDATE cropped_frames_versions SET status = 'processing', run_id = ? "
                    "WHERE video_id = ? AND version = ?",
                    (run_id, video_id, under_way.version),
                )
                return dataclasses.replace(under_way, status="processing")
            # Whatever was reserved before, by a lost run or an earlier try of this one, is never finished.
            give_up_reserved_versions(db, video_id)
            video = read_video(db, video_id)
            (version,) = db.execute(
                "SELECT coalesce(max(version), 0) + 1 FROM cropped_frames_versions WHERE video_id = ?",
                (video_id,),
            ).fetchone()
            prefix = VideoKeys(video.tenant_id, video_id).cropped_frames(version)
            db.execute(
                "INSERT INTO cropped_frames_versions (video_id, tenant_id, version, storage_prefix, "
                "crop_region, frame_rate, status, run_id, created_at) "
                "VALUES (?, ?, ?, ?, ?, ?, 'processing', ?, ?)",
                (
                    video_id,
                    video.tenant_id,
                    version,
                    prefix,
                    json.dumps(dataclasses.asdict(region)),
                    GRID_HZ,
                    run_id,
                    now_text(),
                ),
            )
            return CroppedFramesVersion(
                video_id=video_id,
                version=version,
                storage_prefix=prefix,
                crop_region=region,
                status="processing",
            )

    def finish_extents(
        self, video_id: str, run_id: str, result: CropInferResult, *, approved_at: datetime | None
    ) -> None:
        with self._file.changing() as db:
            if not finish_work(db, video_id, Stage.EXTENTS, run_id):
                return
            now = now_text()
            db.execute(
                "UPDATE cropped_frames_versions SET status = 'archived', archived_at = ? "
                "WHERE video_id = ? AND status = 'active'",
                (now, video_id),
            )
            activated = db.execute(
                "UPDATE cropped_frames_versions SET status = 'active', activated_at = ?, chunk_count = ?, "
                "total_frames = ?, total_size_bytes = ? "
                "WHERE video_id = ? AND version = ? AND run_id = ? AND status = 'processing'",
                (
                    now,
                    result.chunk_count,
                    result.frame_count,
                    result.total_size_bytes,
                    video_id,
                    result.version,
                    run_id,
                ),
            )
            if activated.rowcount == 0:
                raise CatalogError(
                    f"Version {result.version} of the cropped frames of {video_id} is not this run's."
                )
            db.execute(
                "UPDATE videos SET current_cropped_frames_version = ?, label_counts = ?, "
                "layout_approval_processed_at = coalesce(?, layout_approval_processed_at) WHERE id = ?",
                (
                    result.version,
                    json.dumps(dict(result.label_counts)),
                    as_text(approved_at) if approved_at else None,
                    video_id,
                ),
            )
            set_request(db, video_id, "captions_requested_at")

    def finish_captions(
        self, video_id: str, run_id: str, captions_db_key: str, *, requested_at: datetime | None
    ) -> None:
        with self._file.changing() as db:
            if not finish_work(db, video_id, Stage.CAPTIONS, run_id):
                return
            db.execute(
                "UPDATE videos SET caption_status = 'ready', captions_db_key = ?, "
                "captions_processed_at = coalesce(?, captions_processed_at) WHERE id = ?",
                (captions_db_key, as_text(requested_at) if requested_at else None, video_id),
            )
            forget_failure(db, video_id, (Stage.EXTENTS, Stage.CAPTIONS))

    def fail(self, video_id: str, stage: Stage, run_id: str, message: str) -> bool:
        with self._file.changing() as db:
            if not end_work(db, video_id, stage, run_id, "failed"):
                return last_outcome(db, video_id, stage, run_id) == "failed"
            (taken_up,) = db.execute(
                "SELECT claimed_request_at FROM video_database_state "
                "WHERE video_id = ? AND database_name = ?",
                (video_id, stage.database),
            ).fetchone()
            status, processed = {
                Stage.LAYOUT: ("status", None),
                Stage.EXTENTS: ("caption_status", "layout_approval_processed_at"),
                Stage.CAPTIONS: ("caption_status", "captions_processed_at"),
            }[stage]
            db.execute(
                f"UPDATE videos SET {status} = 'error', error_message = ?, failed_stage = ? WHERE id = ?",
                (storable(message), stage.value, video_id),
            )
            if processed and taken_up:
                db.execute(f"UPDATE videos SET {processed} = ? WHERE id = ?", (taken_up, video_id))
            if stage is Stage.EXTENTS:
                give_up_reserved_versions(db, video_id)
            return True

    def record_call(self, video_id: str, stage: Stage, run_id: str, call: ComputeCall) -> None:
        with self._file.changing() as db:
            recorded = db.execute(
                f"""
                INSERT INTO compute_calls
                    (video_id, database_name, order_name, request_digest, call_id, run_id, recorded_at)
                SELECT video_id, database_name, ?, ?, ?, ?, ? FROM video_database_state WHERE {IS_HOLDER}
                ON CONFLICT (video_id, database_name, order_name) DO UPDATE SET
                    request_digest = excluded.request_digest, call_id = excluded.call_id,
                    run_id = excluded.run_id, recorded_at = excluded.recorded_at
                """,
                (
                    *(call.order, call.request_digest, call.call_id, run_id, now_text()),
                    *(video_id, stage.database, run_id),
                ),
            )
            if recorded.rowcount == 0:
                raise lease_lost(video_id, stage)

    def find_call(self, video_id: str, stage: Stage, order: str) -> ComputeCall | None:
        with self._file.reading() as db:
            row = db.execute(
                "SELECT request_digest, call_id FROM compute_calls "
                "WHERE video_id = ? AND database_name = ? AND order_name = ?",
                (video_id, stage.database, order),
            ).fetchone()
        return ComputeCall(order=order, **dict(row)) if row else None

    def forget_call(self, video_id: str, stage: Stage, run_id: str, order: str) -> bool:
        with self._file.changing() as db:
            place = (video_id, stage.database, order)
            where = "video_id = ? AND database_name = ? AND order_name = ?"
            db.execute(f"DELETE FROM compute_calls WHERE {where} AND run_id = ?", (*place, run_id))
            return db.execute(f"SELECT 1 FROM compute_calls WHERE {where}", place).fetchone() is None

    def release(self, video_id: str, stage: Stage, run_id: str) -> bool:
        with self._file.changing() as db:
            released = db.execute(
                "UPDATE video_database_state SET lock_type = NULL, lock_expires_at = NULL, locked_at = NULL, "
                f"last_activity_at = ? WHERE {IS_HOLDER}",
                (now_text(), video_id, stage.database, run_id),
            )
            taken_away = db.execute(
                "UPDATE video_database_state SET lock_holder_run_id = NULL WHERE video_id = ? "
                "AND database_name = ? AND lock_type = 'client' AND lock_holder_run_id = ?",
                (video_id, stage.database, run_id),
            )
            if taken_away.rowcount:
                # Anew, because the sensors start one run for each request.
                set_request(db, video_id, _REQUESTED_AT[stage])
                if stage is Stage.LAYOUT:
                    db.execute("UPDATE videos SET status = 'pending' WHERE id = ?", (video_id,))
            return released.rowcount > 0

    def approve_layout(self, video_id: str, *, again: bool = True) -> Video:
        with self._file.changing() as db:
            if again or read_video(db, video_id).layout_approved_at is None:
                set_request(db, video_id, "layout_approved_at")
            return read_video(db, video_id)

    def request_captions(self, video_id: str) -> Video:
        with self._file.changing() as db:
            set_request(db, video_id, "captions_requested_at")
            return read_video(db, video_id)

    def retry(self, video_id: str) -> Video:
        with self._file.changing() as db:
            video = read_video(db, video_id)
            if video.status == "error":
                set_request(db, video_id, "layout_requested_at")
                db.execute("UPDATE videos SET status = 'pending' WHERE id = ?", (video_id,))
                forget_failure(db, video_id, (Stage.LAYOUT,))
            elif video.caption_status == "error":
                of_captions = video.failed_stage == Stage.CAPTIONS
                set_request(db, video_id, _REQUESTED_AT[Stage.CAPTIONS if of_captions else Stage.EXTENTS])
                db.execute("UPDATE videos SET caption_status = NULL WHERE id = ?", (video_id,))
                forget_failure(db, video_id, (Stage.EXTENTS, Stage.CAPTIONS))
            return read_video(db, video_id)

    # --- versions

    def cropped_frames_versions(self, video_id: str) -> Sequence[CroppedFramesVersion]:
        with self._file.reading() as db:
            rows = db.execute(
                f"SELECT {VERSION_COLUMNS} FROM cropped_frames_versions WHERE video_id = ? ORDER BY version",
                (video_id,),
            ).fetchall()
        return [to_version(row) for row in rows]

    def describe(self) -> Mapping[str, Any]:
        with self._file.reading() as db:
            (videos,) = db.execute("SELECT count(*) FROM videos WHERE deleted_at IS NULL").fetchone()
            return {
                "kind": "sqlite",
                "where": str(self.path),
                "schema_version": schema_version(db),
                "videos": videos,
            }

    def _videos(self, where: str, parameters: Sequence[object]) -> list[Video]:
        with self._file.reading() as db:
            rows = db.execute(f"SELECT {VIDEO_COLUMNS} FROM videos WHERE {where}", parameters).fetchall()
        return [to_video(row) for row in rows]
