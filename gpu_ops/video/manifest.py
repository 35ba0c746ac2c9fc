"""The list of a version's chunks, stored beside them as manifest.json. Standard library only."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from gpu_ops.contract import GRID_HZ, ComputeError
from gpu_ops.regions import CropPixels
from gpu_ops.store import ObjectStore
from gpu_ops.video.grid import Modulo

Rectangle = tuple[int, int, int, int]  # left, top, right, bottom in pixels; right and bottom exclusive

MANIFEST_NAME = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """One WebM file: `path` below the version's prefix, `frame_indices` on the 10 Hz grid in order."""

    modulo: Modulo
    start: int
    path: str
    frame_indices: tuple[int, ...]
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """One version of a video's cropped frames. Chunks are ordered by level (16, 4, 1) and start.

    `watermarks`: what of the cropped frames is covered before a caption is read; they themselves show it.
    """

    version: int
    crop: CropPixels
    frame_count: int
    chunks: tuple[Chunk, ...]
    fps: int = GRID_HZ
    watermarks: tuple[Rectangle, ...] = ()

    @property
    def total_bytes(self) -> int:
        """Size of all chunks."""
        return sum(chunk.bytes for chunk in self.chunks)

    def to_json(self) -> bytes:
        """As stored: UTF-8, the same bytes for the same content."""
        return json.dumps(asdict(self), separators=(",", ":"), sort_keys=True).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Manifest:
        """The inverse of to_json. Raises ComputeError when it is none."""
        try:
            fields: dict[str, Any] = json.loads(data)
            for chunk in fields["chunks"]:
                chunk["frame_indices"] = tuple(chunk["frame_indices"])
            fields["chunks"] = tuple(Chunk(**chunk) for chunk in fields["chunks"])
            fields["crop"] = CropPixels(**fields["crop"])
            fields["watermarks"] = tuple(tuple(edges) for edges in fields.get("watermarks", ()))
            return cls(**fields)
        except (ValueError, TypeError, KeyError) as error:
            raise ComputeError(
                "The manifest of the cropped frames is damaged. Crop the video again."
            ) from error


def read_manifest(store: ObjectStore, prefix: str) -> Manifest:
    """The manifest of the version at `prefix`. Raises MissingObject, ComputeError."""
    return Manifest.from_json(store.get(f"{prefix}/{MANIFEST_NAME}"))
