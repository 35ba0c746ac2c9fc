"""The pair model at run time (onnxruntime; no PyTorch)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from gpu_ops import gpu
from gpu_ops.extents import registry

Embeddings = NDArray[np.float16]
Probabilities = NDArray[np.float32]


class PairModel:
    """Encodes strips once each and compares any two of them.

    Use `PairModel.load()`; `version` names the weights by their content.
    """

    def __init__(self, record: registry.ModelRecord, threads: int = 1) -> None:
        self.version = record.version
        self.checkpoint_path = str(record.folder.name)
        self._encoder, self._head = (
            gpu.open_session(record.folder / name, threads) for name in registry.WEIGHT_FILES
        )

    @property
    def on_gpu(self) -> bool:
        return gpu.is_on_gpu(self._encoder)

    @classmethod
    def load(cls, version: str | None = None, threads: int = 1) -> PairModel:
        """The model of this version, or the newest. Raises registry.UnknownModel."""
        return cls(registry.model(version), threads)

    def encode(self, strips: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]) -> Embeddings:
        """Embeddings float16 (N, C, H/8, W/8) of N luma strips (H, W) of one size, both multiples of 16.

        The last channel is the probability, 0-1, that a cell holds caption letters.
        """
        batch = np.stack(strips) if not isinstance(strips, np.ndarray) else strips
        (output,) = self._encoder.run(None, {"strips": batch})
        return cast(Embeddings, output)

    def compare(self, a: Embeddings, b: Embeddings) -> Probabilities:
        """Probabilities float32 (N, 5), in the order of labels.LABELS, of the N pairs (a[i], b[i])."""
        (output,) = self._head.run(None, {"a": a, "b": b})
        return cast(Probabilities, output)
