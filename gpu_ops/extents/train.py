"""Trains the pair model on drawn scenes and exports it as a shippable version.

    python -m gpu_ops.extents.synthesis.pool --out POOL --scenes 20000 --seed 1     # draw, ~35 ms a scene
    python -m gpu_ops.extents.train --pool POOL --minutes 45 --seed 1 --out gpu_ops/extents/models

The pool may still be growing while training runs. Learning is on one CPU core unless --threads says more.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from gpu_ops.extents import labels, registry
from gpu_ops.extents.network import CHANNELS, EMBEDDING, Encoder, Head, HeadProbabilities

BATCH_SCENES = 8
PAIRS_PER_SCENE = 18
LETTERS_WEIGHT = 0.6


@dataclass(frozen=True)
class Batch:
    """Scenes as tensors: strips uint8 (S*8, H, W), letters 0/1 (S*8, H/8, W/8), pairs as frame numbers
    `first` and `second` (P,), and their labels `wanted` (P,)."""

    strips: Tensor
    letters: Tensor
    first: Tensor
    second: Tensor
    wanted: Tensor


def pair_label(a: int, b: int) -> int:
    """Label of a pair of frames that show captions `a` and `b` (0: none)."""
    if a == b:
        return labels.SAME if a else labels.EMPTY_EMPTY
    if a and b:
        return labels.DIFFERENT
    return labels.EMPTY_VALID if b else labels.VALID_EMPTY


def _varied(rng: np.random.Generator, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One scene (8, H, W) under another gamma, contrast and brightness, seldom inverted or noisier."""
    levels = np.arange(256, dtype=np.float32) / 255
    levels = levels ** rng.uniform(0.7, 1.4)
    levels = (levels - 0.5) * rng.uniform(0.6, 1.15) + 0.5 + rng.uniform(-0.12, 0.12)
    if rng.random() < 0.08:
        levels = 1 - levels
    table = np.clip(levels * 255, 0, 255).astype(np.uint8)
    out = table[frames]
    if rng.random() < 0.12:
        grain = rng.normal(0, rng.uniform(1, 6), frames.shape)
        out = np.clip(out + grain, 0, 255).astype(np.uint8)
    return out


def _scene_pairs(rng: np.random.Generator, captions: NDArray[np.int8]) -> list[tuple[int, int, int]]:
    """Ordered pairs (first, second, label) inside one scene: neighbours first, then any, in either order."""
    count = len(captions)
    neighbours = [(i, i + 1) for i in range(count - 1)]
    far = [(i, j) for i in range(count) for j in range(i + 2, count)]
    rng.shuffle(far)
    pairs: list[tuple[int, int, int]] = []
    for i, j in neighbours + far[: PAIRS_PER_SCENE - len(neighbours)]:
        a, b = (i, j) if rng.random() < 0.5 else (j, i)
        pairs.append((a, b, pair_label(int(captions[a]), int(captions[b]))))
    return pairs


def batches(pool: Path, seed: int) -> Iterator[Batch]:
    """Endless batches of BATCH_SCENES scenes of one shape, from whatever shards the pool holds by now."""
    rng = np.random.default_rng(seed)
    while True:
        shards = sorted(path for path in pool.glob("shard_*.npz") if not path.name.endswith(".part.npz"))
        if not shards:
            raise SystemExit(f"No scenes in {pool}: draw some with python -m gpu_ops.extents.synthesis.pool")
        with np.load(shards[rng.integers(len(shards))]) as shard:
            frames, captions, letters = shard["frames"], shard["captions"], shard["letters"]
        # A third of the shard at a time, so that batches from different shards and shapes alternate.
        budget = max(2, round(BATCH_SCENES * 64 * 384 / (frames.shape[2] * frames.shape[3])))
        order = rng.permutation(len(frames))[: budget * 3]
        for start in range(0, len(order) - budget + 1, budget):
            yield _batch(rng, [int(i) for i in order[start : start + budget]], frames, captions, letters)


def _batch(
    rng: np.random.Generator,
    chosen: list[int],
    frames: NDArray[np.uint8],
    captions: NDArray[np.int8],
    letters: NDArray[np.uint8],
) -> Batch:
    pairs: list[tuple[int, int, int]] = []
    count = frames.shape[1]
    for place, scene in enumerate(chosen):
        pairs += [
            (a + place * count, b + place * count, label)
            for a, b, label in _scene_pairs(rng, captions[scene])
        ]
    first, second, wanted = (torch.tensor(column) for column in zip(*pairs, strict=True))
    return Batch(
        torch.from_numpy(np.concatenate([_varied(rng, frames[scene]) for scene in chosen])),
        torch.from_numpy(letters[chosen].reshape(-1, *letters.shape[2:]).astype(np.float32)),
        first,
        second,
        wanted,
    )


class PairNetwork(nn.Module):
    """Encoder and head together, as trained."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.head = Head()

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits of the batch's pairs (P, 5) and letter probabilities (F, H/8, W/8)."""
        embeddings = self.encoder(batch.strips)
        return self.head(embeddings[batch.first], embeddings[batch.second]), embeddings[:, CHANNELS]


def loss_of(network: PairNetwork, batch: Batch) -> tuple[Tensor, Tensor]:
    """Training loss and the share of pairs labelled rightly."""
    logits, letters = network(batch)
    pair_loss = nn.functional.cross_entropy(logits, batch.wanted, label_smoothing=0.01)
    letter_loss = nn.functional.binary_cross_entropy(letters.clamp(1e-4, 1 - 1e-4), batch.letters)
    right = (logits.argmax(dim=1) == batch.wanted).float().mean()
    return pair_loss + LETTERS_WEIGHT * letter_loss, right


def _warming_average(average: Tensor, now: Tensor, seen: Tensor | int) -> Tensor:
    """Exponential average that forgets the untrained start: the decay rises from 0 to 0.998."""
    decay = min(0.998, (1 + int(seen)) / (20 + int(seen)))
    return average * decay + now * (1 - decay)


def train(
    pool: Path, minutes: float, seed: int, learning_rate: float, start: Path | None, checkpoint: Path
) -> PairNetwork:
    """Train for `minutes` of wall time from `start` (a checkpoint) or from nothing; returns the averaged
    weights.

    The learning rate rises for the first 3 % of the time and then falls along a cosine. The averaged weights
    are saved to `checkpoint` every few minutes.
    """
    torch.manual_seed(seed)
    random.seed(seed)
    network = PairNetwork()
    if start is not None:
        network.load_state_dict(torch.load(start, weights_only=True))
    averaged = AveragedModel(network, avg_fn=_warming_average, use_buffers=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=1e-3)
    began = saved = time.monotonic()
    shown_loss, shown_right = 2.0, 0.0
    for step, batch in enumerate(batches(pool, seed)):
        done = (time.monotonic() - began) / (minutes * 60) if minutes else 1.0
        if done >= 1:
            break
        warm = min(1.0, done / 0.03 + 0.02)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))
        network.train()
        loss, right = loss_of(network, batch)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimizer.step()
        averaged.update_parameters(network)
        shown_loss += 0.02 * (float(loss.detach()) - shown_loss)
        shown_right += 0.02 * (float(right) - shown_right)
        if step % 50 == 0:
            print(f"{done:6.1%} step {step} loss {shown_loss:.4f} pairs right {shown_right:.4f}", flush=True)
        if time.monotonic() - saved > 240:
            saved = time.monotonic()
            torch.save(averaged.module.state_dict(), checkpoint)
    torch.save(averaged.module.state_dict(), checkpoint)
    trained = averaged.module
    assert isinstance(trained, PairNetwork)
    return trained


class _HalfEncoder(nn.Module):
    """The encoder as exported: float16 out, since many embeddings are kept at once."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, strips: Tensor) -> Tensor:
        return self.encoder(strips).half()


def export(network: PairNetwork, models: Path, facts: dict[str, object]) -> Path:
    """Write encoder.onnx, head.onnx and model.json below `models` under their content version; returns the
    folder."""
    network.eval()
    folder = models / "unfinished"
    folder.mkdir(parents=True, exist_ok=True)
    strips = torch.zeros(2, 64, 128, dtype=torch.uint8)
    embedding = torch.zeros(2, EMBEDDING, 8, 16, dtype=torch.float16)
    cells = {0: "pairs", 2: "rows", 3: "columns"}
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # the TorchScript exporter needs no further package, and says it is old
        torch.onnx.export(
            _HalfEncoder(network.encoder).eval(),
            (strips,),
            folder / "encoder.onnx",
            dynamo=False,
            input_names=["strips"],
            output_names=["embeddings"],
            dynamic_axes={
                "strips": {0: "frames", 1: "height", 2: "width"},
                "embeddings": {0: "frames", 2: "rows", 3: "columns"},
            },
        )
        torch.onnx.export(
            HeadProbabilities(network.head).eval(),
            (embedding, embedding),
            folder / "head.onnx",
            dynamo=False,
            input_names=["a", "b"],
            output_names=["probabilities"],
            dynamic_axes={"a": cells, "b": cells, "probabilities": {0: "pairs"}},
        )
    version = registry.content_version(folder)
    facts = {
        "version": version,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "labels": list(labels.LABELS),
        **facts,
    }
    (folder / "model.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    final = models / version
    if final.exists():
        for path in folder.iterdir():
            path.replace(final / path.name)
        folder.rmdir()
        return final
    return folder.rename(final)


def main() -> None:
    """Command line: train, then export."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pool", type=Path, required=True, help="folder of shards from synthesis.pool")
    parser.add_argument(
        "--minutes", type=float, default=45, help="wall time to train for (0: only export --start)"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--start", type=Path, help="checkpoint to go on from")
    parser.add_argument(
        "--checkpoint", type=Path, default=Path("pair_network.pt"), help="where to save weights"
    )
    parser.add_argument(
        "--out", type=Path, default=registry.MODELS_FOLDER, help="models folder to export into"
    )
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    network = train(
        options.pool, options.minutes, options.seed, options.learning_rate, options.start, options.checkpoint
    )
    shards = len(list(options.pool.glob("shard_*.npz")))
    facts: dict[str, object] = {
        "training": {
            "minutes": options.minutes,
            "seed": options.seed,
            "learning_rate": options.learning_rate,
            "shards": shards,
            "continued": options.start is not None,
        },
    }
    print(export(network, options.out, facts))


if __name__ == "__main__":
    main()
