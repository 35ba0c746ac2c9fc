from __future__ import annotations

import json
from pathlib import Path

import pytest

from gpu_ops.extents import registry


def test_every_shipped_model_is_named_by_its_content() -> None:
    records = registry.models()
    assert records
    for record in records:
        assert record.version == record.folder.name == registry.content_version(record.folder)


def test_shipped_weights_stay_small() -> None:
    for record in registry.models():
        assert sum(path.stat().st_size for path in record.folder.iterdir()) <= 3_000_000


def test_the_newest_model_is_current_and_older_ones_can_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version, day in (("aaa", "2026-01-01"), ("bbb", "2026-02-01")):
        (tmp_path / version).mkdir()
        facts = {"version": version, "created_at": f"{day}T00:00:00+00:00"}
        (tmp_path / version / "model.json").write_text(json.dumps(facts))
    monkeypatch.setattr(registry, "MODELS_FOLDER", tmp_path)
    assert registry.current_version() == "bbb"
    assert registry.model("aaa").version == "aaa"
    with pytest.raises(registry.UnknownModel, match=r"no pair model of version zzz.*installed: bbb, aaa"):
        registry.model("zzz")
