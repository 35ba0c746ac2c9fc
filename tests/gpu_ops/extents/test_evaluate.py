"""Scores of a model, the errors behind them, and the card that shows both."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from gpu_ops.extents import registry
from gpu_ops.extents.card import MOST_PICTURES, write_card
from gpu_ops.extents.evaluate import FilmResult, Order, score, scores_of
from gpu_ops.extents.gallery import MOST_BYTES, Failure, failures_of
from gpu_ops.extents.synthesis.films import Film, TrueCaption
from gpu_ops.extents.timing import TimedExtent

SHOWN = [TrueCaption(1.0, 2.0, "One"), TrueCaption(2.0, 3.0, "Two"), TrueCaption(4.0, 5.0, "Three")]


def extent(start: float, end: float) -> TimedExtent:
    return TimedExtent(round(start * 10), round(end * 10) - 1, "predicted", 0.8, start, end)


def film() -> Film:
    """Six seconds of noise, the hardest thing to compress."""
    strips = np.random.default_rng(1).integers(0, 256, (60, 96, 960), dtype=np.uint8)
    return Film("noise", 10.0, strips, SHOWN)


def test_a_caption_counts_as_found_only_if_both_ends_are_on_time() -> None:
    result = score(SHOWN, [extent(1.05, 2.0), extent(2.0, 3.2), extent(4.0, 5.0)])
    assert (result.true, result.predicted, result.found) == (3, 3, 2)
    assert result.f1 == pytest.approx(2 / 3)
    assert result.missed == [SHOWN[1]]
    assert result.invented == [extent(2.0, 3.2)]


def test_a_caption_split_in_two_is_one_failure_and_an_invented_one_is_another() -> None:
    found = [extent(1.0, 2.0), extent(2.0, 2.4), extent(2.4, 3.0), extent(4.0, 5.0), extent(5.3, 5.8)]
    result = score(SHOWN, found)
    split, invented = failures_of(film(), "noisy", 7, result.missed, result.invented)
    assert split.expected == ["2.00 to 3.00 s: Two"]
    assert [line[:14] for line in split.found] == ["2.00 to 2.40 s", "2.40 to 3.00 s"]
    assert invented.expected == []
    assert invented.found == ["5.30 to 5.80 s, confidence 0.80"]
    for failure in (split, invented):
        assert len(failure.jpeg) < MOST_BYTES
        picture = cv2.imdecode(np.frombuffer(failure.jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
        assert picture is not None
        assert picture.shape[0] > 60


@pytest.fixture
def record(tmp_path: Path) -> registry.ModelRecord:
    """A model that was trained by recipe and scored on one film of two styles."""
    (tmp_path / "abc").mkdir()
    for name in registry.WEIGHT_FILES:
        (tmp_path / "abc" / name).write_bytes(b"weights")
    results = [
        FilmResult(Order(tmp_path, "abc", style, 100, 6), score(SHOWN, found), [], 60, 0.5)
        for style, found in (("calm", [extent(1, 2), extent(2, 3), extent(4, 5)]), ("noisy", [extent(1, 2)]))
    ]
    facts = {
        "version": "abc",
        "created_at": "2026-01-02T00:00:00+00:00",
        "parameters": 1000,
        "code": "0.1.0, commit 123",
        "training": {"config": "small", "seed": 5, "threads": 2, "media": {"latin": 3, "photographs": 4}},
        "scores": scores_of(results, 100, 1, 6, "0.1.0, commit 124"),
    }
    return registry.ModelRecord("abc", tmp_path / "abc", facts["created_at"], facts)


def test_the_card_says_what_made_the_model_how_it_scores_and_how_to_make_it_again(
    record: registry.ModelRecord,
) -> None:
    card = write_card(record, []).read_text()
    assert "| calm | 3 | 3 | 3 | 1.000 | 0.000 |" in card
    assert "| noisy | 3 | 1 | 1 | 0.500 | 0.000 |" in card
    assert "| **all** | 6 | 4 | 4 | 0.800 |" in card
    assert "python -m gpu_ops.extents.train --config small --seed 5 --threads 2" in card
    assert "0.1.0, commit 123" in card
    assert "0.1.0, commit 124" in card
    assert "4 photographs" in card
    assert record.f1 == 0.8


def test_the_gallery_is_bounded_and_shows_every_style_before_it_shows_one_twice(
    record: registry.ModelRecord,
) -> None:
    jpeg = cv2.imencode(".jpg", np.zeros((8, 8), np.uint8))[1].tobytes()
    errors = [
        Failure(style, 100, [], ["1.00 to 2.00 s"], jpeg) for style in ("a", "b", "c") for _ in range(20)
    ]
    write_card(record, errors)
    card = write_card(record, errors).read_text()
    shown = re.findall(r"!\[(\w), seed 100\]\((failures/[^)]+)\)", card)
    assert [style for style, _ in shown] == list("abc") * (MOST_PICTURES // 3)
    pictures = sorted((record.folder / "failures").iterdir())
    assert [f"failures/{path.name}" for path in pictures] == sorted(path for _, path in shown)
    assert "60 errors" in card


def test_every_shipped_card_names_pictures_that_are_there_and_small() -> None:
    for shipped in registry.models():
        card = (shipped.folder / "MODEL_CARD.md").read_text()
        assert shipped.version in card
        named = re.findall(r"\((failures/[^)]+)\)", card)
        assert len(named) <= MOST_PICTURES
        assert all((shipped.folder / name).stat().st_size < MOST_BYTES for name in named)


def test_evaluating_an_unknown_model_names_those_there_are(tmp_path: Path) -> None:
    (tmp_path / "abc").mkdir()
    facts = {"version": "abc", "created_at": "2026-01-01T00:00:00+00:00"}
    (tmp_path / "abc" / "model.json").write_text(json.dumps(facts))
    command = [sys.executable, "-m", "gpu_ops.extents.evaluate", "--model", "zzz", "--models", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == "There is no pair model of version zzz; installed: abc."
