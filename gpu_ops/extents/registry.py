"""Which pair models are shipped: their versions, newest first, without loading any of them. Standard library
only.

A model is a folder models/<version>/ holding encoder.onnx, head.onnx and model.json; its version is the first
twelve hex digits of the SHA-256 over both ONNX files, so a version names its weights.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODELS_FOLDER = Path(__file__).parent / "models"
WEIGHT_FILES = ("encoder.onnx", "head.onnx")


class UnknownModel(LookupError):
    """No model of the asked version is installed."""


@dataclass(frozen=True)
class ModelRecord:
    """A shipped model: its version, its folder, when it was made (ISO date and time), and all of
    model.json."""

    version: str
    folder: Path
    created_at: str
    facts: dict[str, Any]

    @property
    def f1(self) -> float | None:
        """F1 at 0.1 s on held-out drawn films, None where the model was not evaluated."""
        return self.facts.get("scores", {}).get("f1")


def content_version(folder: Path) -> str:
    """First twelve hex digits of the SHA-256 over the weight files in `folder`."""
    digest = hashlib.sha256()
    for name in WEIGHT_FILES:
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:12]


def models() -> list[ModelRecord]:
    """Every shipped model, newest first."""
    records: list[ModelRecord] = []
    for path in MODELS_FOLDER.glob("*/model.json"):
        facts = json.loads(path.read_text(encoding="utf-8"))
        records.append(ModelRecord(facts["version"], path.parent, facts["created_at"], facts))
    return sorted(records, key=lambda record: record.created_at, reverse=True)


def model(version: str | None = None) -> ModelRecord:
    """The model of this version, or the newest. Raises UnknownModel naming the versions there are."""
    known = models()
    for record in known:
        if version is None or record.version == version:
            return record
    have = ", ".join(record.version for record in known) or "none"
    raise UnknownModel(f"There is no pair model of version {version or '(any)'}; installed: {have}.")


def current_version() -> str:
    """Version of the newest model. Raises UnknownModel if none is installed."""
    return model().version
