"""Batches of labelled scenes from shards, in an order that depends on nothing but the seed.

A shard is an .npz file of scenes of one shape: `frames` uint8 (S, 8, H, W), luma; `captions` int8 (S, 8), 0
for none, equal numbers for equal captions; `letters` uint8 (S, 8, H/8, W/8), 1 where captions have letters, 0
where not, UNKNOWN where nobody knows. synthesis.pool draws such shards, annotated.py cuts them out of films.
"""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gpu_ops.extents import labels

UNKNOWN = 255
PAIRS_PER_SCENE = 18
OPEN_SHARDS = 8  # read at a time, so that neighbouring batches differ in shape
READ_AHEAD = 8  # batches


@dataclass(frozen=True)
class Batch:
    """Scenes as tensors: strips uint8 (S*8, H, W), letters 0/1/UNKNOWN uint8 (S*8, H/8, W/8), pairs as frame
    numbers `first` and `second` (P,), and their labels `wanted` (P,)."""

    strips: Tensor
    letters: Tensor
    first: Tensor
    second: Tensor
    wanted: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`."""
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in vars(self).values()))


@dataclass(frozen=True)
class _Shard:
    frames: NDArray[np.uint8]
    captions: NDArray[np.int8]
    letters: NDArray[np.uint8]


def shards_in(folder: Path) -> list[Path]:
    """Every finished shard below `folder`, in a fixed order."""
    return sorted(path for path in folder.rglob("shard_*.npz") if not path.name.endswith(".part.npz"))


def mixed_batches(
    drawn: Sequence[Path], annotated: Sequence[Path], annotated_share: float, batch_scenes: int, seed: int
) -> Iterator[Batch]:
    """Endless batches, the share `annotated_share` (0-1) of them from `annotated` shards, the rest from
    `drawn`."""
    sources = [batches(shards, batch_scenes, seed + kind) for kind, shards in enumerate((drawn, annotated))]
    choice = np.random.default_rng([seed, 2])
    while True:
        yield next(sources[int(choice.random() < annotated_share)])


def batches(shards: Sequence[Path], batch_scenes: int, seed: int) -> Iterator[Batch]:
    """Endless batches of scenes of one shape; every scene comes once an epoch.

    Made by several threads ahead of their use. Each batch draws from a generator of its own, so their order
    and content do not depend on the threads.
    """
    workers = max(1, (os.cpu_count() or 2) // 2)
    with ThreadPoolExecutor(workers, "batches") as pool:
        waiting: deque[Future[Batch]] = deque()
        for make in _orders(pool, shards, batch_scenes, seed):
            waiting.append(pool.submit(make))
            if len(waiting) > READ_AHEAD:
                yield waiting.popleft().result()


def _orders(
    pool: Executor, shards: Sequence[Path], batch_scenes: int, seed: int
) -> Iterator[Callable[[], Batch]]:
    for rng, opened in _opened(pool, shards, seed):
        chosen = [(shard, part) for shard in opened for part in _parts(rng, shard, batch_scenes)]
        for number in rng.permutation(len(chosen)):
            shard, part = chosen[int(number)]
            own = np.random.default_rng(rng.integers(2**63))
            yield lambda own=own, shard=shard, part=part: _batch(own, shard, part)


def _opened(
    pool: Executor, shards: Sequence[Path], seed: int
) -> Iterator[tuple[np.random.Generator, list[_Shard]]]:
    """A few shards at a time, the next ones read meanwhile, with their epoch's random numbers."""
    coming: list[Future[_Shard]] = []
    rng = None
    for epoch in itertools.count():
        following = np.random.default_rng([seed, epoch])
        order = [shards[int(number)] for number in following.permutation(len(shards))]
        for start in range(0, len(order), OPEN_SHARDS):
            read = coming
            coming = [pool.submit(_read, path) for path in order[start : start + OPEN_SHARDS]]
            if rng is not None:
                yield rng, [shard.result() for shard in read]
            rng = following


def _read(path: Path) -> _Shard:
    with np.load(path) as shard:
        return _Shard(shard["frames"], shard["captions"], shard["letters"])


def _parts(rng: np.random.Generator, shard: _Shard, batch_scenes: int) -> list[list[int]]:
    """The shard's scenes in groups of about as many pixels as `batch_scenes` of 64 x 384 have."""
    count, _, height, width = shard.frames.shape
    size = min(count, max(2, round(batch_scenes * 64 * 384 / (height * width))))
    order = [int(scene) for scene in rng.permutation(count)]
    return [order[start : start + size] for start in range(0, count, size)]


def _batch(rng: np.random.Generator, shard: _Shard, chosen: list[int]) -> Batch:
    first, second = _pairs(rng, len(chosen), shard.frames.shape[1])
    shown = shard.captions[chosen].reshape(-1)
    return Batch(
        torch.from_numpy(np.concatenate([_varied(rng, shard.frames[scene]) for scene in chosen])),
        torch.from_numpy(shard.letters[chosen].reshape(-1, *shard.letters.shape[2:])),
        torch.from_numpy(first),
        torch.from_numpy(second),
        torch.from_numpy(pair_labels(shown[first], shown[second])),
    )


def pair_labels(a: NDArray[np.int8], b: NDArray[np.int8]) -> NDArray[np.int64]:
    """Labels (P,) of pairs of frames that show captions `a` and `b` (0: none)."""
    known = {
        labels.EMPTY_EMPTY: (a == 0) & (b == 0),
        labels.SAME: a == b,
        labels.EMPTY_VALID: a == 0,
        labels.VALID_EMPTY: b == 0,
    }
    return np.select(list(known.values()), list(known), labels.DIFFERENT).astype(np.int64)


def _pairs(rng: np.random.Generator, scenes: int, frames: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """PAIRS_PER_SCENE pairs inside each of the scenes, as frame numbers in the batch: all neighbours, the
    rest farther apart, each in either order."""
    neighbours = np.arange(frames - 1)
    far = np.stack(np.triu_indices(frames, 2), axis=1)
    drawn = rng.random((scenes, len(far))).argsort(axis=1)[:, : PAIRS_PER_SCENE - len(neighbours)]
    near = np.broadcast_to(np.stack([neighbours, neighbours + 1], axis=1), (scenes, frames - 1, 2))
    pairs = np.concatenate([near, far[drawn]], axis=1) + frames * np.arange(scenes)[:, None, None]
    pairs = pairs.reshape(-1, 2)
    turned = rng.random(len(pairs)) < 0.5
    return np.where(turned, pairs[:, 1], pairs[:, 0]), np.where(turned, pairs[:, 0], pairs[:, 1])


def _varied(rng: np.random.Generator, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One scene (8, H, W) under another gamma, contrast and brightness, seldom inverted or noisier."""
    levels = np.arange(256, dtype=np.float32) / 255
    levels = levels ** rng.uniform(0.7, 1.4)
    levels = (levels - 0.5) * rng.uniform(0.6, 1.15) + 0.5 + rng.uniform(-0.12, 0.12)
    if rng.random() < 0.08:
        levels = 1 - levels
    table = np.clip(levels * 255, 0, 255).astype(np.uint8)
    # OpenCV's table look-up lets other threads work meanwhile, NumPy's does not.
    out = np.asarray(cv2.LUT(frames.reshape(-1, frames.shape[-1]), table), np.uint8).reshape(frames.shape)
    if rng.random() < 0.12:
        grain = rng.standard_normal(frames.shape, dtype=np.float32) * np.float32(rng.uniform(1, 6))
        out = np.clip(out + grain, 0, 255).astype(np.uint8)
    return out
