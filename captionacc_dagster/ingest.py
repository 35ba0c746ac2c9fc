"""A file becomes a video of the catalog: its bytes go to the store first, its row into the catalog last.

The video's id follows from tenant and content. So the same file twice is one video, and an ingest that died
between the two steps, or an object that was lost, is repaired by repeating it: the same object is written
again.
"""

from __future__ import annotations

import hashlib
import stat
import uuid
from dataclasses import dataclass
from pathlib import Path

from captionacc_dagster.catalog.protocol import Catalog, Video
from captionacc_dagster.progress import printable
from gpu_ops.contract import VideoKeys
from gpu_ops.store import ObjectStore

READ_BYTES = 1 << 20

# Any fixed value; another one would give every video another id.
_NAMESPACE = uuid.UUID("6f4f9a57-1d2c-5c55-9a5d-0c1b2d3e4f50")


class IngestError(Exception):
    """The file cannot be taken in; the message names it and says why."""


@dataclass(frozen=True)
class Ingested:
    """The video a file has become; `created` is False where the tenant had it already."""

    video: Video
    created: bool


def ingest(
    path: Path,
    catalog: Catalog,
    store: ObjectStore,
    tenant_id: str,
    languages: str | None = None,
    *,
    display_path: str | None = None,
    status: str = "pending",
) -> Ingested:
    """Upload the file, then add it to the catalog in `status`; a file the tenant has already stays as it is.

    `languages` are comma-separated BCP 47 hints for OCR, empty for automatic; None keeps those of a file the
    tenant has already, others replace them. `display_path` (default: the
    file's name) is only ever shown. Raises IngestError for what is not a readable, non-empty regular file.
    """
    name = printable(display_path if display_path is not None else path.name)
    shown = printable(str(path))
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise IngestError(f"{shown} is not a file. Give the video file itself.")
        if facts.st_size == 0:
            raise IngestError(f"{shown} is empty. Copy or download the video again.")
        digest = _sha256(path)
        existing = catalog.find_by_content(tenant_id, digest)
        if existing is not None and languages not in (None, existing.languages):
            existing = catalog.set_languages(existing.id, languages)
        if existing is not None and store.head(existing.storage_key) is not None:
            return Ingested(existing, created=False)
        video_id = existing.id if existing else str(uuid.uuid5(_NAMESPACE, f"{tenant_id}/{digest}"))
        key = VideoKeys(tenant_id, video_id).video
        store.upload(path, key)
        after = path.stat()
    except FileNotFoundError:
        raise IngestError(f"There is no file {shown}.") from None
    except OSError as error:
        raise IngestError(f"{shown} cannot be taken in: {error.strerror or error}.") from error
    if (after.st_size, after.st_mtime_ns) != (facts.st_size, facts.st_mtime_ns):
        raise IngestError(f"{shown} changed while it was read. Wait until it is complete, then try again.")
    video = catalog.add_video(
        video_id=video_id,
        tenant_id=tenant_id,
        display_path=name,
        storage_key=key,
        size_bytes=facts.st_size,
        content_sha256=digest,
        languages=languages or "",
        status=status,
    )
    return Ingested(video, created=existing is None)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(READ_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
