"""Training is repeatable: what comes out follows from recipe, seed and data, not from the clock."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from gpu_ops.extents.examples import PAIRS_PER_SCENE, UNKNOWN, batches, mixed_batches, pair_labels, shards_in
from gpu_ops.extents.export import export
from gpu_ops.extents.labels import DIFFERENT, EMPTY_EMPTY, EMPTY_VALID, SAME, VALID_EMPTY
from gpu_ops.extents.recipe import Recipe
from gpu_ops.extents.train import loss_of, train

WIDTHS = (128, 160, 192)
RECIPE = Recipe(scenes=16, hard=0.0, steps=6, batch_scenes=2, learning_rate=3e-3)


def write_shard(
    path: Path, seed: int, *, scenes: int = 8, width: int = 128, letters: int | None = None
) -> Path:
    """Eight scenes in which a bright bar comes and goes."""
    scenes = 8
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 90, (scenes, 8, 64, width), dtype=np.uint8)
    captions = np.zeros((scenes, 8), np.int8)
    marks = np.zeros((scenes, 8, 8, width // 8), np.uint8)
    for scene, turn in enumerate(rng.integers(1, 8, scenes)):
        frames[scene, turn:, 24:40, 16:96] = 230
        captions[scene, turn:] = 1
        marks[scene, turn:, 3:5, 2:12] = 1
    if letters is not None:
        marks[:] = letters
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, frames=frames, captions=captions, letters=marks)
    return path


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    return [write_shard(tmp_path / f"shard_{n:05d}.npz", n, width=w) for n, w in enumerate(WIDTHS)]


def trained_version(shards: list[Path], models: Path, seed: int) -> str:
    return export(train(batches(shards, 2, seed), RECIPE, seed).network, models, {}).name


def test_the_same_seed_gives_the_same_weights_to_the_bit(shards: list[Path], tmp_path: Path) -> None:
    first = trained_version(shards, tmp_path / "first", 1)
    assert trained_version(shards, tmp_path / "second", 1) == first
    assert trained_version(shards, tmp_path / "third", 2) != first


def test_every_scene_comes_once_an_epoch(shards: list[Path]) -> None:
    epoch = list(islice(batches(shards, 2, 1), 6))
    scenes = {width: sum(len(b.strips) for b in epoch if b.strips.shape[2] == width) // 8 for width in WIDTHS}
    assert scenes == dict.fromkeys(WIDTHS, 8)


def test_annotated_shards_get_their_share_of_the_batches(tmp_path: Path) -> None:
    drawn = [write_shard(tmp_path / "drawn" / "shard_00000.npz", 1, width=128)]
    annotated = [write_shard(tmp_path / "annotated" / "video" / "shard_00000.npz", 2, width=256)]
    assert shards_in(tmp_path / "annotated") == annotated
    widths = [batch.strips.shape[2] for batch in islice(mixed_batches(drawn, annotated, 0.25, 2, 1), 200)]
    assert widths.count(256) / 200 == pytest.approx(0.25, abs=0.1)
    widths = [batch.strips.shape[2] for batch in islice(mixed_batches(drawn, annotated, 0.0, 2, 1), 20)]
    assert widths.count(256) == 0


def test_letters_that_nobody_knows_teach_nothing(tmp_path: Path) -> None:
    torch.manual_seed(1)
    shard = write_shard(tmp_path / "shard_00000.npz", 1, letters=UNKNOWN)
    outcome = train(batches([shard], 2, 1), RECIPE, 1)
    batch = next(batches([shard], 2, 1))
    loss, _ = loss_of(outcome.network, batch)
    loss.backward()
    bias = outcome.network.encoder.letters.bias
    assert torch.isfinite(loss)
    assert bias is not None
    marked = write_shard(tmp_path / "marked" / "shard_00000.npz", 1)
    other, _ = loss_of(outcome.network, next(batches([marked], 2, 1)))
    assert float(other.detach()) > float(loss.detach())


def test_a_pairs_label_says_what_its_frames_show() -> None:
    a, b = np.array([[0, 0], [1, 1], [1, 2], [0, 1], [2, 0]], np.int8).T
    wanted = [EMPTY_EMPTY, SAME, DIFFERENT, EMPTY_VALID, VALID_EMPTY]
    assert pair_labels(a, b).tolist() == wanted


def test_every_scene_gives_its_neighbours_and_as_many_pairs_farther_apart(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "shard_00000.npz", 1)
    batch = next(batches([shard], 2, 1))
    pairs = np.sort(np.stack([batch.first.numpy(), batch.second.numpy()], axis=1), axis=1)
    assert len({(int(a), int(b)) for a, b in pairs}) == len(pairs) == 2 * PAIRS_PER_SCENE
    assert (pairs[:, 0] // 8 == pairs[:, 1] // 8).all()
    assert (np.diff(pairs, axis=1) == 1).sum() == 2 * 7
    assert 0 < (batch.first > batch.second).sum() < len(pairs)
