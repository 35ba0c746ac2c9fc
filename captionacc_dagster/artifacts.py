"""The databases in the store as the control plane reads and writes them: regions, extents, captions."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from captionacc_dagster.catalog.protocol import Catalog, Video
from gpu_ops import database
from gpu_ops.captions import database as captions_db
from gpu_ops.captions.rows import CaptionRow, Merged, merge_extents
from gpu_ops.contract import BadRequest, MissingObject, VideoKeys
from gpu_ops.extents import database as extents_db
from gpu_ops.extents.database import StoredExtent
from gpu_ops.layout import database as layout_db
from gpu_ops.regions import CropRegion
from gpu_ops.store import ObjectStore

VERSION_KEY = "cropped_frames_version"
MODEL_KEY = "model_version"


def keys_of(video: Video) -> VideoKeys:
    """Where the video's artifacts lie."""
    return VideoKeys(video.tenant_id, video.id)


def layout_region(store: ObjectStore, video: Video) -> CropRegion | None:
    """The crop region of layout.db; None where none was found and none given. Raises MissingObject."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "layout.db"
        if not database.fetch(store, keys_of(video).layout_db, path):
            raise MissingObject("This video has no layout yet: run video_initial_processing first.")
        return layout_db.read_crop_region(path)


def approved_region(store: ObjectStore, video: Video) -> CropRegion:
    """The crop region of layout.db, as approved. Raises MissingObject, or BadRequest when there is none."""
    region = layout_region(store, video)
    if region is None:
        raise BadRequest(
            "No captions were found in this video and no crop region was given. If it has captions, approve "
            "it with a region: captionacc approve VIDEO --region LEFT,TOP,RIGHT,BOTTOM (as fractions)."
        )
    return region


@dataclass(frozen=True)
class StoredExtents:
    """One inference run as the captions stage needs it; `rests` are where moving captions are at rest, by
    first and last frame."""

    extents: Sequence[StoredExtent]
    cropped_frames_version: int
    model_version: str
    rests: Sequence[tuple[int, int]] = ()

    @property
    def frame_count(self) -> int:
        return self.extents[-1].end_frame_index + 1 if self.extents else 0


def remove_unfinished_crops(catalog: Catalog, store: ObjectStore, video: Video, current: int) -> int:
    """Delete what ended runs left of cropped-frames versions they never finished; answers how many objects.

    Only for the holder of the extents lease, whose own version is `current`: nobody else is writing one.
    """
    leftovers = [
        info.key
        for version in catalog.cropped_frames_versions(video.id)
        if version.status in ("processing", "failed") and version.version != current
        for info in store.list(keys_of(video).cropped_frames(version.version))
    ]
    store.delete(leftovers)
    return len(leftovers)


def read_extents(store: ObjectStore, video: Video) -> StoredExtents:
    """The video's caption_frame_extents.db. Raises MissingObject."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "caption_frame_extents.db"
        if not database.fetch(store, keys_of(video).caption_frame_extents_db, path):
            raise MissingObject(
                "This video has no caption extents yet: approve its layout, or run crop_and_infer."
            )
        origin = extents_db.read_origin(path)
        return StoredExtents(extents_db.read_extents(path), *origin, rests=extents_db.read_rests(path))


def merged_captions(store: ObjectStore, video: Video, found: StoredExtents, now: str) -> Merged:
    """The extents fitted to the captions.db that is in the store at this moment, if any."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "captions.db"
        database.fetch(store, keys_of(video).captions_db, path)
        return merge_extents(
            found.extents,
            captions_db.read_rows(path),
            frame_count=found.frame_count,
            same_frames=captions_db.read_metadata(path).get(VERSION_KEY) == str(found.cropped_frames_version),
            now=now,
            seams=captions_db.read_seams(path),
        )


def publish_captions(store: ObjectStore, video: Video, captions: Merged, found: StoredExtents) -> str:
    """Write captions.db over the one in the store; answers the sha256 of its content."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "captions.db"
        database.fetch(store, keys_of(video).captions_db, path)
        captions_db.write_rows(
            path,
            captions.rows,
            seams=captions.seams,
            metadata={VERSION_KEY: str(found.cropped_frames_version), MODEL_KEY: found.model_version},
        )
        return database.publish(store, keys_of(video).captions_db, path)


def read_captions(store: ObjectStore, video: Video) -> list[CaptionRow]:
    """Every row of the video's captions.db. Raises MissingObject."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "captions.db"
        if not database.fetch(store, keys_of(video).captions_db, path):
            raise MissingObject("This video has no captions yet. `captionacc status` shows how far it is.")
        return captions_db.read_rows(path)


def digest(text: str) -> str:
    """A data version for text content."""
    return hashlib.sha256(text.encode()).hexdigest()


def timestamp() -> str:
    """Now, as ISO-8601 UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")
