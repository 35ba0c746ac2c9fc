"""The catalog of one machine: a SQLite file that sensors, runs and commands share without a server.

Every change is one BEGIN IMMEDIATE transaction, so it happens whole or not at all, and of two processes that
race the second sees what the first did. Readers never wait (WAL).
"""

from __future__ import annotations

import dataclasses
import json
import os
import sqlite3
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from captionacc_dagster.catalog.migrations.sqlite import migrate, schema_version
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
    VERSION_FIELDS,
    VIDEO_FIELDS,
    already_answered,
    lease_lost,
    not_found,
    storable,
    to_version,
    to_video,
    work_held,
)
from gpu_ops.contract import GRID_HZ, CropInferResult, CropRegion, ExtractResult, VideoKeys, checked_id

BUSY_TIMEOUT_S = 30.0
PAGE_ROWS = 500

_VIDEO = ", ".join(f"videos.{name}" for name in VIDEO_FIELDS)
_VERSION = ", ".join(VERSION_FIELDS)

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
        # By process: a connection must never be used across a fork.
        self._idle: dict[int, list[sqlite3.Connection]] = {}
        with self._errors():
            path.parent.mkdir(parents=True, exist_ok=True)
        with self._reading() as db:
            migrate(db)

    def close(self) -> None:
        """Close the connections that are not in use. The catalog can be used again afterwards."""
        for connection in self._idle.pop(os.getpid(), []):
            connection.close()

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
        with self._changing() as db:
            row = db.execute("SELECT tenant_id, deleted_at FROM videos WHERE id = ?", (video_id,)).fetchone()
            if row is not None and row["tenant_id"] != tenant_id:
                raise CatalogError(f"There is a video {video_id} already, and it is another tenant's.")
            if row is None or row["deleted_at"] is not None:
                now = _now()
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
            return _video(db, video_id)

    def video(self, video_id: str) -> Video:
        with self._reading() as db:
            return _video(db, video_id)

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
            last = (_text(page[-1].created_at), page[-1].id)

    def set_languages(self, video_id: str, languages: str) -> Video:
        with self._changing() as db:
            db.execute("UPDATE videos SET languages = ? WHERE id = ?", (languages, video_id))
            return _video(db, video_id)

    def delete_video(self, video_id: str) -> None:
        with self._changing() as db:
            changed = db.execute(
                "UPDATE videos SET deleted_at = coalesce(deleted_at, ?) WHERE id = ?", (_now(), video_id)
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
                (_now(), video_id),
            )

    def tier(self, tenant_id: str) -> str:
        with self._reading() as db:
            rows = db.execute(
                "SELECT DISTINCT access_tier_id FROM user_profiles WHERE tenant_id = ?", (tenant_id,)
            )
            held = {str(row["access_tier_id"]) for row in rows}
        return next((tier for access, tier in _TIERS if access in held), "free")

    # --- what is waiting

    def waiting_for_layout(self, limit: int) -> Sequence[Video]:
        return self._videos(
            f"""
            status = 'pending' AND deleted_at IS NULL AND {_NOBODY_HOLDS}
            ORDER BY layout_requested_at, id LIMIT ?
            """,
            (Stage.LAYOUT.database, _now(), limit),
        )

    def waiting_for_extents(self, limit: int) -> Sequence[Video]:
        return self._videos(
            f"""
            layout_approved_at > coalesce(layout_approval_processed_at, '') AND deleted_at IS NULL
                AND status = 'active' AND {_NOBODY_HOLDS}
            ORDER BY layout_approved_at, id LIMIT ?
            """,
            (Stage.EXTENTS.database, _now(), limit),
        )

    def waiting_for_captions(self, limit: int) -> Sequence[Video]:
        return self._videos(
            f"""
            captions_requested_at > coalesce(captions_processed_at, '') AND deleted_at IS NULL
                AND current_cropped_frames_version IS NOT NULL AND {_NOBODY_HOLDS}
            ORDER BY captions_requested_at, id LIMIT ?
            """,
            (Stage.CAPTIONS.database, _now(), limit),
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
            (_text(datetime.now(UTC) - older_than), limit),
        )

    def held_by_expired_lease(self, limit: int) -> Sequence[tuple[Video, Stage, str]]:
        stages = {stage.database: stage for stage in Stage}
        now = datetime.now(UTC)
        with self._reading() as db:
            rows = db.execute(
                f"""
                SELECT {_VIDEO}, database_name, lock_holder_run_id
                FROM video_database_state JOIN videos ON videos.id = video_id
                WHERE lock_holder_run_id IS NOT NULL
                    AND ((lock_type = 'server' AND lock_expires_at <= ?)
                        OR (lock_type IS NULL AND last_activity_at <= ?))
                    AND CASE database_name WHEN 'layout' THEN status ELSE caption_status END = 'processing'
                    AND deleted_at IS NULL
                ORDER BY last_activity_at LIMIT ?
                """,
                (_text(now), _text(now - LEASE_TTL), limit),
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
        with self._changing() as db:
            video = _video(db, video_id)
            if unless_answered and is_answered(video, stage):
                raise already_answered(video_id, stage)
            taken_up = {
                Stage.LAYOUT: None,
                Stage.EXTENTS: video.layout_approved_at,
                Stage.CAPTIONS: video.captions_requested_at,
            }[stage]
            _take_lease(db, video, stage, run_id, ttl, taken_up)
            if stage is Stage.LAYOUT:
                db.execute("UPDATE videos SET status = 'processing' WHERE id = ?", (video_id,))
                _forget_failure(db, video_id, (Stage.LAYOUT,))
            else:
                db.execute("UPDATE videos SET caption_status = 'processing' WHERE id = ?", (video_id,))
                _forget_failure(db, video_id, (Stage.EXTENTS, Stage.CAPTIONS))
            return _video(db, video_id)

    def renew(self, video_id: str, stage: Stage, run_id: str, ttl: timedelta = LEASE_TTL) -> None:
        with self._changing() as db:
            now = datetime.now(UTC)
            renewed = db.execute(
                "UPDATE video_database_state SET lock_expires_at = ?, last_activity_at = ? "
                f"WHERE {_IS_HOLDER}",
                (_text(now + ttl), _text(now), video_id, stage.database, run_id),
            )
            if renewed.rowcount == 0:
                raise lease_lost(video_id, stage)

    def finish_layout(self, video_id: str, run_id: str, result: ExtractResult) -> None:
        with self._changing() as db:
            if not _finish_work(db, video_id, Stage.LAYOUT, run_id):
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
            _forget_failure(db, video_id, (Stage.LAYOUT,))

    def reserve_cropped_frames(self, video_id: str, run_id: str, region: CropRegion) -> CroppedFramesVersion:
        with self._changing() as db:
            holds = db.execute(
                f"SELECT 1 FROM video_database_state WHERE {_IS_HOLDER}",
                (video_id, Stage.EXTENTS.database, run_id),
            ).fetchone()
            if holds is None:
                raise lease_lost(video_id, Stage.EXTENTS)
            under_way = _version_under_way(db, video_id, region)
            if under_way is not None:
                db.execute(
                    "UPDATE cropped_frames_versions SET status = 'processing', run_id = ? "
                    "WHERE video_id = ? AND version = ?",
                    (run_id, video_id, under_way.version),
                )
                return dataclasses.replace(under_way, status="processing")
            # Whatever was reserved before, by a lost run or an earlier try of this one, is never finished.
            _give_up_reserved_versions(db, video_id)
            video = _video(db, video_id)
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
                    _now(),
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
        with self._changing() as db:
            if not _finish_work(db, video_id, Stage.EXTENTS, run_id):
                return
            now = _now()
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
                    _text(approved_at) if approved_at else None,
                    video_id,
                ),
            )
            _request(db, video_id, "captions_requested_at")

    def finish_captions(
        self, video_id: str, run_id: str, captions_db_key: str, *, requested_at: datetime | None
    ) -> None:
        with self._changing() as db:
            if not _finish_work(db, video_id, Stage.CAPTIONS, run_id):
                return
            db.execute(
                "UPDATE videos SET caption_status = 'ready', captions_db_key = ?, "
                "captions_processed_at = coalesce(?, captions_processed_at) WHERE id = ?",
                (captions_db_key, _text(requested_at) if requested_at else None, video_id),
            )
            _forget_failure(db, video_id, (Stage.EXTENTS, Stage.CAPTIONS))

    def fail(self, video_id: str, stage: Stage, run_id: str, message: str) -> bool:
        with self._changing() as db:
            if not _end_work(db, video_id, stage, run_id, "failed"):
                return _last_outcome(db, video_id, stage, run_id) == "failed"
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
                _give_up_reserved_versions(db, video_id)
            return True

    def record_call(self, video_id: str, stage: Stage, run_id: str, call: ComputeCall) -> None:
        with self._changing() as db:
            recorded = db.execute(
                f"""
                INSERT INTO compute_calls
                    (video_id, database_name, order_name, request_digest, call_id, run_id, recorded_at)
                SELECT video_id, database_name, ?, ?, ?, ?, ? FROM video_database_state WHERE {_IS_HOLDER}
                ON CONFLICT (video_id, database_name, order_name) DO UPDATE SET
                    request_digest = excluded.request_digest, call_id = excluded.call_id,
                    run_id = excluded.run_id, recorded_at = excluded.recorded_at
                """,
                (
                    *(call.order, call.request_digest, call.call_id, run_id, _now()),
                    *(video_id, stage.database, run_id),
                ),
            )
            if recorded.rowcount == 0:
                raise lease_lost(video_id, stage)

    def find_call(self, video_id: str, stage: Stage, order: str) -> ComputeCall | None:
        with self._reading() as db:
            row = db.execute(
                "SELECT request_digest, call_id FROM compute_calls "
                "WHERE video_id = ? AND database_name = ? AND order_name = ?",
                (video_id, stage.database, order),
            ).fetchone()
        return ComputeCall(order=order, **dict(row)) if row else None

    def forget_call(self, video_id: str, stage: Stage, run_id: str, order: str) -> bool:
        with self._changing() as db:
            place = (video_id, stage.database, order)
            where = "video_id = ? AND database_name = ? AND order_name = ?"
            db.execute(f"DELETE FROM compute_calls WHERE {where} AND run_id = ?", (*place, run_id))
            return db.execute(f"SELECT 1 FROM compute_calls WHERE {where}", place).fetchone() is None

    def release(self, video_id: str, stage: Stage, run_id: str) -> bool:
        with self._changing() as db:
            released = db.execute(
                "UPDATE video_database_state SET lock_type = NULL, lock_expires_at = NULL, locked_at = NULL, "
                f"last_activity_at = ? WHERE {_IS_HOLDER}",
                (_now(), video_id, stage.database, run_id),
            )
            taken_away = db.execute(
                "UPDATE video_database_state SET lock_holder_run_id = NULL WHERE video_id = ? "
                "AND database_name = ? AND lock_type = 'client' AND lock_holder_run_id = ?",
                (video_id, stage.database, run_id),
            )
            if taken_away.rowcount:
                # Anew, because the sensors start one run for each request.
                _request(db, video_id, _REQUESTED_AT[stage])
                if stage is Stage.LAYOUT:
                    db.execute("UPDATE videos SET status = 'pending' WHERE id = ?", (video_id,))
            return released.rowcount > 0

    def approve_layout(self, video_id: str, *, again: bool = True) -> Video:
        with self._changing() as db:
            if again or _video(db, video_id).layout_approved_at is None:
                _request(db, video_id, "layout_approved_at")
            return _video(db, video_id)

    def request_captions(self, video_id: str) -> Video:
        with self._changing() as db:
            _request(db, video_id, "captions_requested_at")
            return _video(db, video_id)

    def retry(self, video_id: str) -> Video:
        with self._changing() as db:
            video = _video(db, video_id)
            if video.status == "error":
                _request(db, video_id, "layout_requested_at")
                db.execute("UPDATE videos SET status = 'pending' WHERE id = ?", (video_id,))
                _forget_failure(db, video_id, (Stage.LAYOUT,))
            elif video.caption_status == "error":
                of_captions = video.failed_stage == Stage.CAPTIONS
                _request(db, video_id, _REQUESTED_AT[Stage.CAPTIONS if of_captions else Stage.EXTENTS])
                db.execute("UPDATE videos SET caption_status = NULL WHERE id = ?", (video_id,))
                _forget_failure(db, video_id, (Stage.EXTENTS, Stage.CAPTIONS))
            return _video(db, video_id)

    # --- versions

    def cropped_frames_versions(self, video_id: str) -> Sequence[CroppedFramesVersion]:
        with self._reading() as db:
            rows = db.execute(
                f"SELECT {_VERSION} FROM cropped_frames_versions WHERE video_id = ? ORDER BY version",
                (video_id,),
            ).fetchall()
        return [to_version(row) for row in rows]

    def describe(self) -> Mapping[str, Any]:
        with self._reading() as db:
            (videos,) = db.execute("SELECT count(*) FROM videos WHERE deleted_at IS NULL").fetchone()
            return {
                "kind": "sqlite",
                "where": str(self.path),
                "schema_version": schema_version(db),
                "videos": videos,
            }

    # --- connections

    def _videos(self, where: str, parameters: Sequence[object]) -> list[Video]:
        with self._reading() as db:
            rows = db.execute(f"SELECT {_VIDEO} FROM videos WHERE {where}", parameters).fetchall()
        return [to_video(row) for row in rows]

    @contextmanager
    def _changing(self) -> Generator[sqlite3.Connection]:
        with self._reading() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    @contextmanager
    def _reading(self) -> Generator[sqlite3.Connection]:
        with self._errors():
            idle = self._idle.setdefault(os.getpid(), [])
            connection = idle.pop() if idle else self._connect()
            try:
                yield connection
            except sqlite3.Error:
                connection.close()
                raise
            except BaseException:
                idle.append(connection)
                raise
            idle.append(connection)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA foreign_keys = ON")
        _use_wal(connection)
        return connection

    @contextmanager
    def _errors(self) -> Generator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise CatalogError(
                f"The catalog {self.path} cannot be used: {error}. "
                "Is the disk full, or the file damaged or not yours?"
            ) from error


_IS_HOLDER = "video_id = ? AND database_name = ? AND lock_type = 'server' AND lock_holder_run_id = ?"

# Also after its lease was released or has expired, as long as nobody else began.
_WORKED_LAST = "video_id = ? AND database_name = ? AND lock_type IS NOT 'client' AND lock_holder_run_id = ?"

_NOBODY_HOLDS = """NOT EXISTS (
    SELECT 1 FROM video_database_state AS state
    WHERE state.video_id = videos.id AND state.database_name = ?
        AND (state.lock_type = 'client' OR (state.lock_type = 'server' AND state.lock_expires_at > ?)))"""


def _use_wal(connection: sqlite3.Connection) -> None:
    # Switching a new file to WAL takes an exclusive lock that SQLite does not wait for, whatever the timeout.
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _take_lease(
    db: sqlite3.Connection,
    video: Video,
    stage: Stage,
    run_id: str,
    ttl: timedelta,
    taken_up: datetime | None,
) -> None:
    now = datetime.now(UTC)
    taken = db.execute(
        """
        INSERT INTO video_database_state AS state (video_id, database_name, tenant_id, lock_type,
            lock_holder_run_id, lock_expires_at, locked_at, last_activity_at, claimed_request_at)
        VALUES (:video_id, :database, :tenant_id, 'server', :run_id, :expires_at, :now, :now, :taken_up)
        ON CONFLICT (video_id, database_name) DO UPDATE SET lock_type = 'server', lock_holder_user_id = NULL,
            lock_holder_run_id = excluded.lock_holder_run_id, lock_expires_at = excluded.lock_expires_at,
            locked_at = excluded.locked_at, last_activity_at = excluded.last_activity_at,
            claimed_request_at = excluded.claimed_request_at
        WHERE state.lock_type IS NULL
            OR (state.lock_type = 'server'
                AND (state.lock_holder_run_id = :run_id OR state.lock_expires_at <= :now))
        """,
        {
            "video_id": video.id,
            "database": stage.database,
            "tenant_id": video.tenant_id,
            "run_id": run_id,
            "expires_at": _text(now + ttl),
            "now": _text(now),
            "taken_up": _text(taken_up) if taken_up else None,
        },
    )
    if taken.rowcount:
        return
    holder = db.execute(
        "SELECT lock_type, lock_holder_run_id FROM video_database_state "
        "WHERE video_id = ? AND database_name = ?",
        (video.id, stage.database),
    ).fetchone()
    by_annotator = holder["lock_type"] == "client"
    raise work_held(video.id, stage, None if by_annotator else holder["lock_holder_run_id"])


def _end_work(db: sqlite3.Connection, video_id: str, stage: Stage, run_id: str, outcome: str) -> bool:
    """Give up the lease and note the outcome: finished or failed. False if `run_id` may not say so."""
    may_end = _WORKED_LAST if outcome == "failed" else _IS_HOLDER
    ended = db.execute(
        f"""
        UPDATE video_database_state SET lock_type = NULL, lock_holder_run_id = NULL, lock_expires_at = NULL,
            locked_at = NULL, last_activity_at = ?, last_run_id = ?, last_outcome = ?
        WHERE {may_end}
        """,
        (_now(), run_id, outcome, video_id, stage.database, run_id),
    )
    return ended.rowcount > 0


def _finish_work(db: sqlite3.Connection, video_id: str, stage: Stage, run_id: str) -> bool:
    """Give up the lease to record a result; False if that was done before. Raises LeaseLost."""
    if _end_work(db, video_id, stage, run_id, "finished"):
        db.execute(
            "UPDATE video_database_state SET server_version = server_version + 1, "
            "wasabi_version = server_version + 1, wasabi_synced_at = ? "
            "WHERE video_id = ? AND database_name = ?",
            (_now(), video_id, stage.database),
        )
        db.execute(
            "DELETE FROM compute_calls WHERE video_id = ? AND database_name = ?", (video_id, stage.database)
        )
        return True
    if _last_outcome(db, video_id, stage, run_id) == "finished":
        return False
    raise lease_lost(video_id, stage)


def _last_outcome(db: sqlite3.Connection, video_id: str, stage: Stage, run_id: str) -> str | None:
    row = db.execute(
        "SELECT last_outcome FROM video_database_state "
        "WHERE video_id = ? AND database_name = ? AND last_run_id = ?",
        (video_id, stage.database, run_id),
    ).fetchone()
    return row["last_outcome"] if row else None


def _forget_failure(db: sqlite3.Connection, video_id: str, stages: Sequence[Stage]) -> None:
    places = ", ".join("?" * len(stages))
    db.execute(
        "UPDATE videos SET error_message = NULL, failed_stage = NULL "
        f"WHERE id = ? AND failed_stage IN ({places})",
        (video_id, *(stage.value for stage in stages)),
    )


def _version_under_way(
    db: sqlite3.Connection, video_id: str, region: CropRegion
) -> CroppedFramesVersion | None:
    """The newest version, if it is for that region, was never activated and a call may be computing it."""
    row = db.execute(
        f"""
        SELECT {_VERSION} FROM cropped_frames_versions
        WHERE video_id = :video_id AND status IN ('processing', 'failed')
            AND version = (SELECT max(version) FROM cropped_frames_versions WHERE video_id = :video_id)
            AND EXISTS (SELECT 1 FROM compute_calls
                        WHERE video_id = :video_id AND database_name = :database)
        """,
        {"video_id": video_id, "database": Stage.EXTENTS.database},
    ).fetchone()
    version = to_version(row) if row else None
    return version if version and version.crop_region == region else None


def _give_up_reserved_versions(db: sqlite3.Connection, video_id: str) -> None:
    db.execute(
        "UPDATE cropped_frames_versions SET status = 'failed' WHERE video_id = ? AND status = 'processing'",
        (video_id,),
    )


def _request(db: sqlite3.Connection, video_id: str, column: str) -> None:
    """Set a time to now, and in any case to a later one than before: clocks are sometimes set back."""
    before = getattr(_video(db, video_id), column)
    now = datetime.now(UTC)
    later = now if before is None else max(now, before + timedelta(microseconds=1))
    db.execute(f"UPDATE videos SET {column} = ? WHERE id = ?", (_text(later), video_id))


def _video(db: sqlite3.Connection, video_id: str) -> Video:
    row = db.execute(
        f"SELECT {_VIDEO} FROM videos WHERE id = ? AND deleted_at IS NULL", (video_id,)
    ).fetchone()
    if row is None:
        raise not_found(video_id)
    return to_video(row)


def _now() -> str:
    return _text(datetime.now(UTC))


def _text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds")
