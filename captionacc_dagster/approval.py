"""Approving a layout: the region goes into layout.db first, the approval into the catalog last."""

from __future__ import annotations

import tempfile
from pathlib import Path

from captionacc_dagster.artifacts import keys_of
from captionacc_dagster.catalog.protocol import Catalog, Video
from gpu_ops import database
from gpu_ops.contract import BadRequest, MissingObject
from gpu_ops.layout import database as layout_db
from gpu_ops.regions import CropRegion
from gpu_ops.store import ObjectStore


def approve(
    catalog: Catalog, store: ObjectStore, video: Video, region: CropRegion | None, *, again: bool = True
) -> Video:
    """Approve `region`, or the one that layout.db proposes. An approval of an approved layout crops it anew,
    unless it is not to be approved `again`.

    Raises MissingObject while there is no layout, BadRequest while one is made or when there is no region.
    """
    if video.status == "processing":
        raise BadRequest("The layout of this video is being made at this moment. Approve it afterwards.")
    key = keys_of(video).layout_db
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "layout.db"
        if not database.fetch(store, key, path):
            raise MissingObject(
                "This video has no layout yet. Approve it after its first run; `captionacc status` shows it."
            )
        if region is None and layout_db.read_crop_region(path) is None:
            raise BadRequest(
                "No captions were found in this video. If it has some, say where: "
                "--region LEFT,TOP,RIGHT,BOTTOM in fractions of the frame."
            )
        layout_db.set_approved(path, region)
        database.publish(store, key, path)
    return catalog.approve_layout(video.id, again=again)
