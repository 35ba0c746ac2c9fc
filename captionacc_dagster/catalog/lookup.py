"""Finding the video a person means: by its id, the beginning of its id, or its file name."""

from __future__ import annotations

import re
from itertools import islice

from captionacc_dagster.catalog.protocol import Catalog, Video, VideoNotFound
from captionacc_dagster.progress import printable

LISTED = 5


class AmbiguousVideo(VideoNotFound):
    """More than one video is meant."""


def find_video(catalog: Catalog, wanted: str) -> Video:
    """The video whose id is `wanted`; else the only one whose id begins with it or whose file name it is.

    Raises VideoNotFound, AmbiguousVideo.
    """
    if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", wanted):
        return catalog.video(wanted)
    name = printable(wanted)
    matches = (
        video
        for video in catalog.videos()
        if video.display_path == name or (wanted and video.id.startswith(wanted.lower()))
    )
    found = list(islice(matches, LISTED + 1))
    if not found:
        raise VideoNotFound(f"There is no video {name!r}. `captionacc status` lists those there are.")
    if len(found) > 1:
        ids = ", ".join(video.id for video in found[:LISTED]) + (", …" if len(found) > LISTED else "")
        raise AmbiguousVideo(f"{name!r} could be any of {ids}. Give more of the id.")
    return found[0]
