"""A pool: scenes drawn into files ahead of training. What is in it follows from its seed and size alone.

python -m gpu_ops.extents.synthesis.pool --scenes 12800 --seed 1        # ~35 ms a scene and core
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import random
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from gpu_ops.extents.provenance import sources_digest
from gpu_ops.extents.synthesis import sources
from gpu_ops.extents.synthesis.scenes import SHAPES, random_scene

SHARD_SCENES = 64
POOLS_FOLDER = Path("build/pools")


@dataclass(frozen=True)
class Pool:
    """`scenes` scenes (rounded down to whole shards), the share `hard` (0-1) of them of the hardest kinds."""

    seed: int
    scenes: int
    hard: float = 0.0

    @property
    def shards(self) -> int:
        return max(1, self.scenes // SHARD_SCENES)

    @property
    def key(self) -> str:
        """Names the content: the seed and size, the drawing code, and the fonts and photographs there are."""
        made_from = (self, sources_digest(Path(__file__).parent), sorted(media().items()))
        return hashlib.sha256(repr(made_from).encode()).hexdigest()[:12]

    def drawn(self, pools: Path = POOLS_FOLDER, processes: int | None = None) -> list[Path]:
        """The shards below `pools`, in order; those that are not there yet are drawn, on every core."""
        folder = pools / self.key
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"shard_{number:05d}.npz" for number in range(self.shards)]
        missing = [number for number, path in enumerate(paths) if not path.exists()]
        if not missing:
            return paths
        # Spawned, not forked: the parent may hold threads of torch and OpenCV.
        workers = ProcessPoolExecutor(processes or os.cpu_count(), multiprocessing.get_context("spawn"))
        with workers as draw:
            orders = [draw.submit(draw_shard, paths[n], self.seed, n, self.hard) for n in missing]
            for done, order in enumerate(as_completed(orders), 1):
                order.result()
                if done % 10 == 0 or done == len(orders):
                    print(f"drew {done} of {len(orders)} shards of {SHARD_SCENES} scenes", flush=True)
        return paths


def media() -> Mapping[str, int]:
    """How many faces each script is drawn in for training, and how many photographs lie behind."""
    faces = {script: len(sources.fonts(script, "train")) for script in sources.scripts("train")}
    return {**faces, "photographs": len(sources.photographs("train"))}


def draw_shard(path: Path, seed: int, number: int, hard: float = 0.0) -> None:
    """Draw shard `number` of SHARD_SCENES scenes of one shape (see examples.py) to `path`.

    The same seed, number and share give the same scenes.
    """
    cv2.setNumThreads(1)
    rng = random.Random(f"{seed}/{number}")
    shape = rng.choices(list(SHAPES), list(SHAPES.values()))[0]
    scenes = [random_scene(rng, shape, hard=hard) for _ in range(SHARD_SCENES)]
    unfinished = path.with_suffix(".part.npz")
    np.savez(
        unfinished,
        frames=np.stack([scene.frames for scene in scenes]),
        captions=np.stack([scene.captions for scene in scenes]),
        letters=np.stack([scene.letters for scene in scenes]),
    )
    os.replace(unfinished, path)


def main() -> None:
    """Command line: draw a pool and say where it is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pools", type=Path, default=POOLS_FOLDER, help="folder of pools")
    parser.add_argument("--scenes", type=int, default=12_800, help="0.15 to 0.45 MB each")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hard", type=float, default=0.0, help="share of scenes of the hardest kinds, 0-1")
    options = parser.parse_args()
    pool = Pool(options.seed, options.scenes, options.hard)
    print(pool.drawn(options.pools)[0].parent)


if __name__ == "__main__":
    main()
