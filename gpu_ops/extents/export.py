"""Writes a trained pair model as a shippable version: models/<version>/ with its weights and what made it."""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gpu_ops.extents import labels, registry
from gpu_ops.extents.network import EMBEDDING, Encoder, HeadProbabilities, PairNetwork

CHECKPOINT = "network.pt"  # the weights as PyTorch has them, for training further


class _HalfEncoder(nn.Module):
    """The encoder as exported: float16 out, since many embeddings are kept at once."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, strips: Tensor) -> Tensor:
        return self.encoder(strips).half()


def export(network: PairNetwork, models: Path, facts: Mapping[str, Any]) -> Path:
    """Write the version's folder below `models` and return it. `facts` go into model.json.

    The same weights give the same files, and so the same version, which is then written anew.
    """
    network = network.cpu().eval()
    models.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=models))
    try:
        with warnings.catch_warnings():
            # The TorchScript exporter needs no further package, and says that it is old.
            warnings.simplefilter("ignore")
            _write_onnx(network, folder)
        torch.save(network.state_dict(), folder / CHECKPOINT)
        version = registry.content_version(folder)
        record = {
            "version": version,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "labels": list(labels.LABELS),
            **facts,
        }
        text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
        (folder / "model.json").write_text(text, encoding="utf-8")
        final = models / version
        shutil.rmtree(final, ignore_errors=True)
        folder.chmod(0o755)
        return folder.rename(final)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write_onnx(network: PairNetwork, folder: Path) -> None:
    strips = torch.zeros(2, 64, 128, dtype=torch.uint8)
    embedding = torch.zeros(2, EMBEDDING, 8, 16, dtype=torch.float16)
    cells = {0: "pairs", 2: "rows", 3: "columns"}
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
