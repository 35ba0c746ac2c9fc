"""Finding the captions that annotators queued for OCR inside captions.db itself.

The annotation app writes `caption_ocr_status = queued` or `image_needs_regen` into the database and puts it
back into the store; no row of the catalog changes. So a round goes over all videos with captions, a few at a
time, and looks into the databases that were written since the round before.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from captionacc_dagster import artifacts
from captionacc_dagster.artifacts import keys_of
from captionacc_dagster.catalog.protocol import Catalog, Video
from gpu_ops.contract import ComputeError
from gpu_ops.store import ObjectStore

VIDEOS_PER_TICK = 50
# The store's clock may lag behind ours.
CLOCK_SLACK = timedelta(minutes=1)


@dataclass(frozen=True)
class Round:
    """Where a round stands: videos up to `after` are seen; databases older than `since` were seen before."""

    after: str = ""
    since: str = datetime.min.replace(tzinfo=UTC).isoformat()
    began: str = ""


def request_edited_captions(catalog: Catalog, store: ObjectStore, cursor: str | None) -> str:
    """Look at the next few videos, request caption OCR for those that want it; answers the next cursor."""
    here = Round(**json.loads(cursor)) if cursor else Round()
    began = here.began or (datetime.now(UTC) - CLOCK_SLACK).isoformat()
    found = catalog.with_captions(here.after, VIDEOS_PER_TICK)
    for video in found:
        if _wants_reading(store, video, datetime.fromisoformat(here.since)):
            catalog.request_captions(video.id)
    ended = len(found) < VIDEOS_PER_TICK
    following = Round(since=began) if ended else Round(after=found[-1].id, since=here.since, began=began)
    return json.dumps(asdict(following))


def _wants_reading(store: ObjectStore, video: Video, since: datetime) -> bool:
    stored = store.head(keys_of(video).captions_db)
    if stored is None or stored.modified < since:
        return False
    try:
        return any(row.requested for row in artifacts.read_captions(store, video))
    except ComputeError:
        return False
