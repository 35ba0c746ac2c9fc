"""Training scenes of real footage: the frames around captions that annotators confirmed, with what they show.

A scene is eight consecutive grid frames that are all known: frames of confirmed captions, and of the gaps
beside them the part that is nearer to a confirmed caption than to any other. There is one for each end of a
confirmed caption. They come from the stored chunks, so they have been through VP9 once more than what the
model sees when it predicts.
"""

from __future__ import annotations

import hashlib
import io
import random
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_ops.captions.rows import CaptionRow
from gpu_ops.extents.strips import model_size, normalised
from gpu_ops.store import ObjectStore
from gpu_ops.video.encode import decode_chunk, open_chunk
from gpu_ops.video.manifest import Manifest

FRAMES = 8
CELL = 8
SHARD_SCENES = 64
UNKNOWN_LETTERS = 255  # examples.UNKNOWN, which needs PyTorch
REACH = FRAMES  # frames of a gap beside a caption that are of use
_UNKNOWN = -1


@dataclass(frozen=True)
class PlannedScene:
    """Grid frames `start` to `start` + 7; `captions` numbers what each shows, 0 for none, equal numbers for
    equal captions."""

    start: int
    captions: tuple[int, ...]


@dataclass(frozen=True)
class Shard:
    """An .npz file (see examples.py) named by its content, and how many scenes it holds."""

    name: str
    data: bytes
    scenes: int
    preview: NDArray[np.uint8]


def plan_scenes(rows: Sequence[CaptionRow], since: str | None = None) -> list[PlannedScene]:
    """The scenes that the confirmed rows of a video give, in order of time.

    `rows` partition the grid. `since` (ISO-8601 UTC): only the ends of rows last confirmed at or after it.
    """
    rows = sorted(rows, key=lambda row: row.start_frame_index)
    shown, doubtful = _known_frames(rows)
    scenes: dict[int, PlannedScene] = {}
    for row in rows:
        if row.state != "confirmed" or (since and (row.extents_updated_at or "") < since):
            continue
        for end in (row.start_frame_index, row.end_frame_index + 1):
            start = _window(shown, doubtful, end)
            if start is not None:
                scenes[start] = _scene(shown, start)
    return [scenes[start] for start in sorted(scenes)]


def _known_frames(rows: Sequence[CaptionRow]) -> tuple[NDArray[np.int32], set[int]]:
    """For each grid frame the number of its caption, 0 for none, _UNKNOWN; and the places between touching
    captions that read the same, of which nobody can say whether they differ."""
    shown = np.full(rows[-1].end_frame_index + 1 if rows else 0, _UNKNOWN, np.int32)
    numbers: dict[str, int] = {}
    doubtful: set[int] = set()
    for place, row in enumerate(rows):
        first, beyond = row.start_frame_index, row.end_frame_index + 1
        before = rows[place - 1] if place else None
        after = rows[place + 1] if place + 1 < len(rows) else None
        if row.state == "confirmed":
            number = numbers.setdefault(_identity(row), len(numbers) + 1)
            if before is not None and before.state == "confirmed" and shown[first - 1] == number:
                doubtful.add(first)
            shown[first:beyond] = number
        elif row.state == "gap" and not row.annotated:
            left, right = (side is not None and side.state == "confirmed" for side in (before, after))
            half = (
                row.frame_count
                if (left or before is None) and (right or after is None)
                else (row.frame_count // 2)
            )
            reach = min(REACH, half)
            if left:
                shown[first : first + reach] = 0
            if right:
                shown[beyond - reach : beyond] = 0
    return shown, doubtful


def _identity(row: CaptionRow) -> str:
    """Equal for captions that say the same; a row of unknown text equals only itself."""
    text = row.text if row.text is not None else row.caption_ocr
    plain = "".join(unicodedata.normalize("NFKC", text or "").split())
    return plain or f"\0{row.start_frame_index}"


def _window(shown: NDArray[np.int32], doubtful: set[int], end: int) -> int | None:
    """A start for eight known frames with the caption's `end` between two of them, always the same one."""
    starts = [
        start
        for start in range(end - FRAMES + 1, end)
        if start >= 0
        and start + FRAMES <= len(shown)
        and (shown[start : start + FRAMES] != _UNKNOWN).all()
        and doubtful.isdisjoint(range(start + 1, start + FRAMES))
    ]
    return random.Random(end).choice(starts) if starts else None


def _scene(shown: NDArray[np.int32], start: int) -> PlannedScene:
    numbers: dict[int, int] = {0: 0}
    captions = [numbers.setdefault(int(n), len(numbers)) for n in shown[start : start + FRAMES]]
    return PlannedScene(start, tuple(captions))


def cut_shards(
    store: ObjectStore, prefix: str, manifest: Manifest, scenes: Sequence[PlannedScene]
) -> Iterator[Shard]:
    """The scenes as shards of at most SHARD_SCENES, their frames read from the chunks below `prefix`.

    The same chunks and scenes give the same shards. Raises MissingObject, ComputeError.
    """
    for first in range(0, len(scenes), SHARD_SCENES):
        yield _shard(store, prefix, manifest, scenes[first : first + SHARD_SCENES])


def _shard(store: ObjectStore, prefix: str, manifest: Manifest, scenes: Sequence[PlannedScene]) -> Shard:
    wanted = {scene.start + place for scene in scenes for place in range(FRAMES)}
    strips = dict(_strips(store, prefix, manifest, wanted))
    frames = np.stack([[strips[scene.start + place] for place in range(FRAMES)] for scene in scenes])
    captions = np.array([scene.captions for scene in scenes], np.int8)
    height, width = frames.shape[2:]
    letters = np.where(captions[:, :, None, None] == 0, 0, UNKNOWN_LETTERS).astype(np.uint8)
    letters = np.broadcast_to(letters, (*captions.shape, height // CELL, width // CELL))
    file = io.BytesIO()
    np.savez_compressed(file, frames=frames, captions=captions, letters=letters)
    data = file.getvalue()
    name = f"shard_{hashlib.sha256(data).hexdigest()[:12]}.npz"
    return Shard(name, data, len(scenes), _preview(frames, captions))


def _strips(
    store: ObjectStore, prefix: str, manifest: Manifest, wanted: set[int]
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """(grid index, luma at model size) of each wanted frame; every chunk is read once."""
    for chunk in manifest.chunks:
        if wanted.isdisjoint(chunk.frame_indices):
            continue
        key = f"{prefix}/{chunk.path}"
        with open_chunk(store.get(key), key) as container:
            for index, frame in zip(chunk.frame_indices, decode_chunk(container, key), strict=True):
                if index in wanted:
                    plane = frame.planes[0]
                    luma = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
                    luma = luma[:, : plane.width]
                    yield index, normalised(luma, model_size(*luma.shape)).copy()


def _preview(frames: NDArray[np.uint8], captions: NDArray[np.int8]) -> NDArray[np.uint8]:
    """The first few scenes, the frame before a change above the frame after it."""
    rows: list[NDArray[np.uint8]] = []
    for scene, shown in list(zip(frames, captions, strict=True))[:4]:
        (changes,) = np.nonzero(np.diff(shown))
        at = int(changes[0]) if len(changes) else 0
        rows += [scene[at], scene[at + 1], np.full((4, scene.shape[2]), 255, np.uint8)]
    picture = np.concatenate(rows)
    scale = min(1.0, 640 / picture.shape[1])
    return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.uint8)
