"""What lies in the store, told from its keys: which artifact each is, and what has no place in the contract.

The inverse of contract.VideoKeys, and as light.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from gpu_ops.video.grid import WINDOW_STEPS

Side = Literal["client", "server"]

_FRAME = r"frame_(?:\d{6}|[1-9]\d{6,})\.jpg"
_CROPPED = r"cropped_frames_v(?P<version>[1-9]\d*)"
# By artifact: whose it is, and the key below {tenant_id}/{side}/videos/{video_id}/.
PLACES: Mapping[str, tuple[Side, re.Pattern[str]]] = {
    "video": ("client", re.compile(r"video\.mp4")),
    "full frame": ("client", re.compile(rf"full_frames/{_FRAME}")),
    "thumbnail": ("client", re.compile(rf"full_frames_thumbnails/{_FRAME}")),
    "layout_db": ("client", re.compile(r"layout\.db\.gz")),
    "chunk": (
        "client",
        re.compile(rf"{_CROPPED}/modulo_(?P<modulo>16|4|1)/chunk_(?P<start>\d{{10}})\.webm"),
    ),
    "manifest": ("client", re.compile(rf"{_CROPPED}/manifest\.json")),
    "captions_db": ("client", re.compile(r"captions\.db\.gz")),
    "subtitles": ("client", re.compile(r"captions\.(?:srt|vtt)")),
    "raw_ocr_db": ("server", re.compile(r"raw-ocr\.db\.gz")),
    "layout_server_db": ("server", re.compile(r"layout-server\.db\.gz")),
    "caption_frame_extents_db": ("server", re.compile(r"caption_frame_extents\.db\.gz")),
}
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_KEY = re.compile(rf"(?P<tenant>{_UUID})/(?P<side>client|server)/videos/(?P<video>{_UUID})/(?P<rest>.+)")


class StrangeKey(ValueError):
    """A key that the contract has no place for; the message says why."""


@dataclass(frozen=True)
class StoredArtifact:
    """What a key says about its object. `version`: that of cropped frames, None for everything else."""

    tenant_id: str
    video_id: str
    side: Side
    artifact: str
    version: int | None


def artifact_of(key: str) -> StoredArtifact:
    """The artifact under `key`. Raises StrangeKey."""
    found = _KEY.fullmatch(key)
    if found is None:
        raise StrangeKey(f"{key} is not in a video's folder")
    for artifact, (side, pattern) in PLACES.items():
        place = pattern.fullmatch(found["rest"])
        if place is None:
            continue
        if side != found["side"]:
            raise StrangeKey(f"{key} belongs under {side}/")
        named = place.groupdict()
        if artifact == "chunk" and int(named["start"]) % (WINDOW_STEPS * int(named["modulo"])):
            raise StrangeKey(f"{key} does not begin at a window of its level")
        version = int(named["version"]) if "version" in named else None
        return StoredArtifact(found["tenant"], found["video"], side, artifact, version)
    raise StrangeKey(f"{key} is no artifact of the contract")


def strangers(keys: Iterable[str], current_version: int | None) -> Sequence[str]:
    """What is wrong with the keys of one video, a sentence each.

    That is every key without a place in the contract or on the wrong side, and each version of cropped
    frames, up to the current one, that was never finished. A later version may be in the making.
    """
    problems: list[str] = []
    begun: set[int] = set()
    finished: set[int] = set()
    for key in keys:
        try:
            stored = artifact_of(key)
        except StrangeKey as stranger:
            problems.append(str(stranger))
            continue
        if stored.version is not None:
            (finished if stored.artifact == "manifest" else begun).add(stored.version)
    return problems + [
        f"cropped_frames_v{version} has chunks and no manifest"
        for version in sorted(begun - finished)
        if version <= (current_version or 0)
    ]
