"""The pair model at run time (onnxruntime; no PyTorch)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from gpu_ops import gpu
from gpu_ops.extents import registry

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

# What a GPU is given at once, always: for any other number its kernels would be chosen anew.
GPU_BATCH = 64

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
        return _answers(self._encoder, {"strips": batch})

    def compare(self, a: Embeddings, b: Embeddings) -> Probabilities:
        """Probabilities float32 (N, 5), in the order of labels.LABELS, of the N pairs (a[i], b[i])."""
        return _answers(self._head, {"a": a, "b": b})


def _answers(session: InferenceSession, inputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """The model's answer to each row of the inputs, which have equally many."""
    if not gpu.is_on_gpu(session):
        return _answer(session, inputs)
    count = len(next(iter(inputs.values())))
    answers: list[NDArray[Any]] = []
    for start in range(0, count, GPU_BATCH):
        full = {name: _filled(rows[start : start + GPU_BATCH]) for name, rows in inputs.items()}
        answers.append(_answer(session, full)[: count - start])
    return answers[0] if len(answers) == 1 else np.concatenate(answers)


def _answer(session: InferenceSession, inputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
    (answer,) = session.run(None, inputs)
    return cast("NDArray[Any]", answer)


def _filled(rows: NDArray[Any]) -> NDArray[Any]:
    """At most GPU_BATCH rows, with as many more of zeros as make a batch."""
    missing = GPU_BATCH - len(rows)
    return np.concatenate([rows, np.zeros((missing, *rows.shape[1:]), rows.dtype)]) if missing else rows
