"""Trains the pair model and writes it as a shippable version. One command, repeatable to the bit.

    python -m gpu_ops.extents.train --config small              # a CPU
    python -m gpu_ops.extents.train --config full               # a machine with CUDA
    python -m gpu_ops.extents.train --config small --data confirmed --data-share 0.3 --start VERSION

Scenes are drawn first (see synthesis.pool), unless the same pool was drawn before. On a CPU the same recipe,
seed, data and number of threads give the same weights; on CUDA they do as far as its kernels are
deterministic. `--data` adds what annotators confirmed, written by `captionacc dataset export`.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gpu_ops.extents import registry
from gpu_ops.extents.examples import UNKNOWN, Batch, mixed_batches, shards_in
from gpu_ops.extents.export import CHECKPOINT, export
from gpu_ops.extents.network import PairNetwork
from gpu_ops.extents.provenance import code_version
from gpu_ops.extents.recipe import RECIPES, Recipe
from gpu_ops.extents.synthesis.pool import POOLS_FOLDER, Pool, media

PROVENANCE = "provenance.json"  # beside the shards of a dataset
LETTERS_WEIGHT = 0.6
WARM_UP = 0.03  # share of the steps
TELL_EVERY = 50  # steps
TIMED_STEPS = 20


@dataclass(frozen=True)
class Outcome:
    """Trained weights, and the running means of their last losses and shares of pairs labelled rightly."""

    network: PairNetwork
    loss: float
    pairs_right: float


def loss_of(network: PairNetwork, batch: Batch) -> tuple[Tensor, Tensor]:
    """Training loss and the share of pairs labelled rightly. Cells of UNKNOWN letters do not count."""
    half = batch.strips.device.type == "cuda"
    with torch.autocast(batch.strips.device.type, torch.bfloat16, enabled=half):
        logits, letters = network(batch.strips, batch.first, batch.second)
    logits, letters = logits.float(), letters.float()
    pair_loss = nn.functional.cross_entropy(logits, batch.wanted, label_smoothing=0.01)
    known = (batch.letters != UNKNOWN).float()
    cell_losses = nn.functional.binary_cross_entropy(
        letters.clamp(1e-4, 1 - 1e-4), batch.letters.float() * known, reduction="none"
    )
    letter_loss = (cell_losses * known).sum() / known.sum().clamp(min=1)
    right = (logits.argmax(dim=1) == batch.wanted).float().mean()
    return pair_loss + LETTERS_WEIGHT * letter_loss, right


def train(
    batches: Iterator[Batch],
    recipe: Recipe,
    seed: int,
    *,
    start: Mapping[str, Tensor] | None = None,
    device: torch.device | None = None,
    checkpoint: Path | None = None,
) -> Outcome:
    """Train for recipe.steps steps from `start` (weights) or from nothing; answers the averaged weights.

    The learning rate rises over the first steps and then falls along a cosine. The weights are averaged
    exponentially, the more slowly the longer, so that the untrained start is forgotten. `checkpoint`: where
    the averaged weights are saved twenty times on the way.
    """
    device = device or torch.device("cpu")
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
    network = PairNetwork()
    if start is not None:
        network.load_state_dict(dict(start))
    network = network.to(device).train()
    averaged = copy.deepcopy(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=1e-3)
    # On the device: asking for their values makes the CPU wait for the GPU.
    shown = torch.tensor([2.0, 0.0], device=device)
    clock = _Clock(recipe.steps)
    for step in range(recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * _rate_at(step / recipe.steps)
        loss, right = loss_of(network, next(batches).to(device))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimizer.step()
        _average(averaged, network, min(0.998, (1 + step) / (20 + step)) if step else 0.0)
        shown.lerp_(torch.stack([loss.detach(), right]), 0.02)
        if clock.tells(step):
            shown_loss, shown_right = shown.tolist()
            print(f"{clock.said(step)}  loss {shown_loss:.4f}  pairs right {shown_right:.4f}", flush=True)
        if checkpoint is not None and (step + 1) % max(1, recipe.steps // 20) == 0:
            torch.save(averaged.state_dict(), checkpoint)
    return Outcome(averaged, *shown.tolist())


def _rate_at(done: float) -> float:
    """The learning rate's factor at this share of the steps."""
    return min(1.0, done / WARM_UP + 0.02) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


@torch.no_grad()
def _average(averaged: PairNetwork, network: PairNetwork, decay: float) -> None:
    """Move `averaged` towards `network`, keeping the share `decay` of it."""
    for average, now in zip(averaged.state_dict().values(), network.state_dict().values(), strict=True):
        if average.is_floating_point():
            average.lerp_(now, 1 - decay)
        else:
            average.copy_(now)


class _Clock:
    """How long it will still take, from how long it took. For people to read; nothing depends on it."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._began = time.monotonic()

    def tells(self, step: int) -> bool:
        return step % TELL_EVERY == 0 or step in (TIMED_STEPS, self._steps - 1)

    def said(self, step: int) -> str:
        rate = (step + 1) / max(1e-6, time.monotonic() - self._began)
        left = (self._steps - step - 1) / rate / 60
        return f"step {step + 1} of {self._steps}  {rate:.2f} steps/s  {left:.0f} min left"


def main() -> None:
    """Command line: draw, train, export."""
    options = _arguments()
    code = code_version()  # as loaded: the files may change while this runs
    recipe = RECIPES[options.config]
    changes = {name: value for name in asdict(recipe) if (value := getattr(options, name)) is not None}
    recipe = replace(recipe, **changes)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # asked for by deterministic algorithms
    torch.set_num_threads(options.threads)
    start = _weights(options.start) if options.start else None
    annotated = [shard for folder in options.data for shard in shards_in(folder)]
    if options.data and not annotated:
        sys.exit(f"No shards in {', '.join(map(str, options.data))}: run captionacc dataset export first.")
    pool = Pool(options.seed, recipe.scenes, recipe.hard)
    print(f"Pool {pool.key}, {recipe.steps} steps on {device}.", flush=True)
    drawn = pool.drawn(options.pools)
    share = options.data_share if annotated else 0.0
    options.checkpoint.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    outcome = train(
        mixed_batches(drawn, annotated or drawn, share, recipe.batch_scenes, options.seed),
        recipe,
        options.seed,
        start=start,
        device=device,
        checkpoint=options.checkpoint,
    )
    facts: dict[str, Any] = {
        "code": code,
        "training": {
            "config": options.config + (" with changes" if changes else ""),
            **asdict(recipe),
            "seed": options.seed,
            "pool": pool.key,
            "media": dict(media()),
            "data": _origins(annotated),
            "data_share": share,
            "start": options.start,
            "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
            "threads": options.threads,
            "torch": torch.__version__,
            "minutes": round((time.monotonic() - began) / 60, 1),
            "loss": round(outcome.loss, 4),
            "pairs_right": round(outcome.pairs_right, 4),
        },
    }
    print(export(outcome.network, options.out, facts))


def _origins(shards: Sequence[Path]) -> list[dict[str, Any]]:
    """Where annotated shards come from, by the provenance.json beside them; nobody's id is repeated."""
    if not shards:
        return []
    origins = [
        json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
        for folder in sorted({shard.parent for shard in shards})
    ]
    tenants = {origin["tenant_id"] for origin in origins}
    if len(tenants) > 1:
        print(f"The data is of {len(tenants)} tenants: see that each agreed.", flush=True)
    names = sorted(shard.name for shard in shards)
    return [
        {
            "digest": hashlib.sha256(repr(names).encode()).hexdigest()[:12],
            "tenants": len(tenants),
            "videos": len(origins),
            "captions": sum(origin["captions"] for origin in origins),
            "scenes": sum(origin["scenes"] for origin in origins),
        }
    ]


def _weights(start: str) -> Mapping[str, Tensor]:
    """Weights of a model version, or in a checkpoint file."""
    path = Path(start)
    if not path.is_file():
        try:
            path = registry.model(start).folder / CHECKPOINT
        except registry.UnknownModel as error:
            sys.exit(f"{error} {start} is no checkpoint file either.")
    if not path.is_file():
        sys.exit(f"Model {start} was shipped without {CHECKPOINT}, so it cannot be trained further.")
    return torch.load(path, weights_only=True)


def _arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m gpu_ops.extents.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", choices=list(RECIPES), default="small", help="a recipe of recipe.py")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path, nargs="+", default=[], help="folders of dataset export")
    parser.add_argument("--data-share", type=float, default=0.3, help="share of the batches from --data")
    parser.add_argument("--start", help="model version, or checkpoint file, to train further")
    parser.add_argument("--out", type=Path, default=registry.MODELS_FOLDER, help="models folder to write to")
    parser.add_argument("--pools", type=Path, default=POOLS_FOLDER, help="where drawn scenes are kept")
    parser.add_argument("--checkpoint", type=Path, default=Path("build/pair_network.pt"))
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--threads", type=int, default=cores, help=f"default: all cores ({cores})")
    for name, value in asdict(RECIPES["small"]).items():
        option = "--" + name.replace("_", "-")
        parser.add_argument(option, type=type(value), help="instead of what the recipe says")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
