"""Draws scenes into files ahead of training, so that drawing and learning can each have a core.

python -m gpu_ops.extents.synthesis.pool --out POOL --scenes 20000 --seed 1
"""

from __future__ import annotations

import argparse
import os
import random
from pathlib import Path

import cv2
import numpy as np

from gpu_ops.extents.synthesis.scenes import SHAPES, random_scene

SHARD_SCENES = 64


def draw_shard(folder: Path, seed: int, number: int, hard: float = 0.0) -> Path:
    """Draw shard `number` of SHARD_SCENES scenes of one shape, the share `hard` of them of the hardest kinds.

    The same seed, number and share give the same scenes.
    """
    rng = random.Random(f"{seed}/{number}")
    shape = rng.choices(list(SHAPES), list(SHAPES.values()))[0]
    scenes = [random_scene(rng, shape, hard=hard) for _ in range(SHARD_SCENES)]
    path = folder / f"shard_{seed}_{number:05d}.npz"
    unfinished = path.with_suffix(".part.npz")
    np.savez(
        unfinished,
        frames=np.stack([scene.frames for scene in scenes]),
        captions=np.stack([scene.captions for scene in scenes]),
        letters=np.stack([scene.letters for scene in scenes]),
    )
    os.replace(unfinished, path)
    return path


def main() -> None:
    """Command line: fill a folder with shards."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the shards (10 MB to 30 MB each)")
    parser.add_argument("--scenes", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hard", type=float, default=0.0, help="share of scenes of the hardest kinds, 0-1")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    for number in range(max(1, options.scenes // SHARD_SCENES)):
        draw_shard(options.out, options.seed, number, options.hard)


if __name__ == "__main__":
    main()
