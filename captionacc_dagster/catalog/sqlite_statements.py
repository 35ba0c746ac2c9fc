"""The statements of a SQLite catalog that several of its methods share: leases, outcomes, requests.

Each takes the connection of the transaction that it is a part of.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from captionacc_dagster.catalog.protocol import CroppedFramesVersion, Stage, Video
from captionacc_dagster.catalog.rows import (
    VERSION_FIELDS,
    VIDEO_FIELDS,
    lease_lost,
    not_found,
    to_version,
    to_video,
    work_held,
)
from gpu_ops.regions import CropRegion

VIDEO_COLUMNS = ", ".join(f"videos.{name}" for name in VIDEO_FIELDS)
VERSION_COLUMNS = ", ".join(VERSION_FIELDS)

IS_HOLDER = "video_id = ? AND database_name = ? AND lock_type = 'server' AND lock_holder_run_id = ?"

# Also after its lease was released or has expired, as long as nobody else began.
WORKED_LAST = "video_id = ? AND database_name = ? AND lock_type IS NOT 'client' AND lock_holder_run_id = ?"

NOBODY_HOLDS = """NOT EXISTS (
    SELECT 1 FROM video_database_state AS state
    WHERE state.video_id = videos.id AND state.database_name = ?
        AND (state.lock_type = 'client' OR (state.lock_type = 'server' AND state.lock_expires_at > ?)))"""


def take_lease(
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
            "expires_at": as_text(now + ttl),
            "now": as_text(now),
            "taken_up": as_text(taken_up) if taken_up else None,
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


def end_work(db: sqlite3.Connection, video_id: str, stage: Stage, run_id: str, outcome: str) -> bool:
    """Give up the lease and note the outcome: finished or failed. False if `run_id` may not say so."""
    may_end = WORKED_LAST if outcome == "failed" else IS_HOLDER
    ended = db.execute(
        f"""
        UPDATE video_database_state SET lock_type = NULL, lock_holder_run_id = NULL, lock_expires_at = NULL,
            locked_at = NULL, last_activity_at = ?, last_run_id = ?, last_outcome = ?
        WHERE {may_end}
        """,
        (now_text(), run_id, outcome, video_id, stage.database, run_id),
    )
    return ended.rowcount > 0


def finish_work(db: sqlite3.Connection, video_id: str, stage: Stage, run_id: str) -> bool:
    """Give up the lease to record a result; False if that was done before. Raises LeaseLost."""
    if end_work(db, video_id, stage, run_id, "finished"):
        db.execute(
            "UPDATE video_database_state SET server_version = server_version + 1, "
            "wasabi_version = server_version + 1, wasabi_synced_at = ? "
            "WHERE video_id = ? AND database_name = ?",
            (now_text(), video_id, stage.database),
        )
        db.execute(
            "DELETE FROM compute_calls WHERE video_id = ? AND database_name = ?", (video_id, stage.database)
        )
        return True
    if last_outcome(db, video_id, stage, run_id) == "finished":
        return False
    raise lease_lost(video_id, stage)


def last_outcome(db: sqlite3.Connection, video_id: str, stage: Stage, run_id: str) -> str | None:
    row = db.execute(
        "SELECT last_outcome FROM video_database_state "
        "WHERE video_id = ? AND database_name = ? AND last_run_id = ?",
        (video_id, stage.database, run_id),
    ).fetchone()
    return row["last_outcome"] if row else None


def forget_failure(db: sqlite3.Connection, video_id: str, stages: Sequence[Stage]) -> None:
    places = ", ".join("?" * len(stages))
    db.execute(
        "UPDATE videos SET error_message = NULL, failed_stage = NULL "
        f"WHERE id = ? AND failed_stage IN ({places})",
        (video_id, *(stage.value for stage in stages)),
    )


def version_under_way(
    db: sqlite3.Connection, video_id: str, region: CropRegion
) -> CroppedFramesVersion | None:
    """The newest version, if it is for that region, was never activated and a call may be computing it."""
    row = db.execute(
        f"""
        SELECT {VERSION_COLUMNS} FROM cropped_frames_versions
        WHERE video_id = :video_id AND status IN ('processing', 'failed')
            AND version = (SELECT max(version) FROM cropped_frames_versions WHERE video_id = :video_id)
            AND EXISTS (SELECT 1 FROM compute_calls
                        WHERE video_id = :video_id AND database_name = :database)
        """,
        {"video_id": video_id, "database": Stage.EXTENTS.database},
    ).fetchone()
    version = to_version(row) if row else None
    return version if version and version.crop_region == region else None


def give_up_reserved_versions(db: sqlite3.Connection, video_id: str) -> None:
    db.execute(
        "UPDATE cropped_frames_versions SET status = 'failed' WHERE video_id = ? AND status = 'processing'",
        (video_id,),
    )


def set_request(db: sqlite3.Connection, video_id: str, column: str) -> None:
    """Set a time to now, and in any case to a later one than before: clocks are sometimes set back."""
    before = getattr(read_video(db, video_id), column)
    now = datetime.now(UTC)
    later = now if before is None else max(now, before + timedelta(microseconds=1))
    db.execute(f"UPDATE videos SET {column} = ? WHERE id = ?", (as_text(later), video_id))


def read_video(db: sqlite3.Connection, video_id: str) -> Video:
    row = db.execute(
        f"SELECT {VIDEO_COLUMNS} FROM videos WHERE id = ? AND deleted_at IS NULL", (video_id,)
    ).fetchone()
    if row is None:
        raise not_found(video_id)
    return to_video(row)


def now_text() -> str:
    return as_text(datetime.now(UTC))


def as_text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds")
