"""The model card: from model.json and the errors of an evaluation to MODEL_CARD.md and its pictures."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gpu_ops.extents.gallery import Failure
from gpu_ops.extents.registry import WEIGHT_FILES, ModelRecord
from gpu_ops.extents.synthesis.sources import HELD_OUT_FAMILIES, HELD_OUT_IMAGE_PACKAGES

MOST_PICTURES = 12
CARD, PICTURES = "MODEL_CARD.md", "failures"


def write_card(record: ModelRecord, failures: Sequence[Failure]) -> Path:
    """Write the card of an evaluated model (its facts hold `scores`) beside its weights; returns its path.

    Of the failures the first MOST_PICTURES are shown, in turn from every style that has some.
    """
    shown = _from_every_style(failures)[:MOST_PICTURES]
    folder = record.folder / PICTURES
    shutil.rmtree(folder, ignore_errors=True)
    entries: list[str] = []
    for number, failure in enumerate(shown, 1):
        folder.mkdir(exist_ok=True)
        name = f"{number:02d}_{failure.style}.jpg"
        (folder / name).write_bytes(failure.jpeg)
        entries.append(_entry(f"{PICTURES}/{name}", failure))
    path = record.folder / CARD
    path.write_text(_card(record, len(failures), entries), encoding="utf-8")
    return path


def _from_every_style(failures: Sequence[Failure]) -> list[Failure]:
    """The first failure of each style, then the second of each, and so on."""
    turn: dict[str, int] = {}
    ranked: list[tuple[int, int, Failure]] = []
    for number, failure in enumerate(failures):
        turn[failure.style] = turn.get(failure.style, 0) + 1
        ranked.append((turn[failure.style], number, failure))
    return [failure for _, _, failure in sorted(ranked, key=lambda each: each[:2])]


def _card(record: ModelRecord, failure_count: int, entries: Sequence[str]) -> str:
    facts, scores = record.facts, record.facts["scores"]
    size = sum((record.folder / name).stat().st_size for name in WEIGHT_FILES)
    parts = [
        f"# Pair model {record.version}",
        "Says of two frames of a caption strip whether they show the same caption, different ones, or none "
        "in both, the first or the second. `encoder.onnx`, a small residual convolutional network, looks at "
        "each frame once and keeps 25 numbers for each 8 x 8 pixels; `head.onnx` compares any two frames "
        f"cell by cell. {facts['parameters']:,} parameters, {size / 1e6:.2f} MB together "
        "(`gpu_ops/extents/network.py`). The version is the first twelve hex digits of the SHA-256 over both "
        "files.",
        f"Made {record.created_at[:10]}, scored {scores['date']}. Code that trained it: "
        f"{facts.get('code', 'not recorded')}. Code that scored it: {scores['code']}.",
        "## Data",
        _data(facts),
        "## Training",
        _table(("what", "value"), [(name, _said(value)) for name, value in facts["training"].items()]),
        *_repeat(facts["training"]),
        *facts.get("notes", ()),
        "## Scores",
        f"Captions of which both ends are within 0.1 s, on {scores['films']} drawn films of "
        f"{scores['seconds']:g} s for each style (seeds {scores['first_seed']} to "
        f"{scores['first_seed'] + scores['films'] - 1}) with the held-out fonts and photographs, region "
        "given, native frames seen. The films come from the generator that drew the training scenes: "
        "expect less on real footage.",
        _scores(scores),
        f"Found boundaries are {scores['bias_start_s']:+.3f} s (starts) and {scores['bias_end_s']:+.3f} s "
        f"(ends) off on average. {scores['grid_frames_per_cpu_s']:.0f} grid frames a CPU-second.",
        "## What it gets wrong",
        f"{failure_count} errors; of each, the strip just before and after the start, then the end."
        if entries
        else "Nothing on these films.",
        *entries,
    ]
    return "\n\n".join(parts) + "\n"


def _data(facts: Mapping[str, Any]) -> str:
    training = facts["training"]
    lines = [
        "- **Drawn scenes** (`gpu_ops/extents/synthesis`): eight frames of a strip each, with random "
        "captions in every look that footage has, over moving, cut and dissolving pictures, with signs, "
        "logos and clocks as distractors, through real H.264, JPEG or VP9. No footage of anybody's."
    ]
    if "media" in training:
        media = dict(training["media"])
        pictures = media.pop("photographs", 0)
        faces = ", ".join(f"{script} {count}" for script, count in media.items())
        lines.append(f"- **Drawn with** {pictures} photographs and these numbers of font faces: {faces}.")
    for data in training.get("data", ()):
        lines.append(
            f"- **Confirmed by annotators**: {data['captions']} captions of {data['videos']} videos of "
            f"{data['tenants']} tenant(s), {data['scenes']} scenes, dataset {data['digest']}."
        )
    lines.append(
        f"- **Never drawn in training**, and so used for scoring: the fonts {', '.join(HELD_OUT_FAMILIES)}; "
        f"the photographs of {', '.join(HELD_OUT_IMAGE_PACKAGES)}."
    )
    return "\n".join(lines)


def _repeat(training: Mapping[str, Any]) -> list[str]:
    """The command that makes the same weights, for a training by recipe."""
    if "config" not in training:
        return []
    options = [f"--config {str(training['config']).split()[0]}", f"--seed {training['seed']}"]
    if str(training["config"]) != str(training["config"]).split()[0]:
        names = ("scenes", "hard", "steps", "batch_scenes", "learning_rate")
        options += [f"--{name.replace('_', '-')} {training[name]}" for name in names]
    if training.get("start"):
        options.append(f"--start {training['start']}")
    if training.get("data"):
        options.append(f"--data DATASET --data-share {training['data_share']}")
    options.append(f"--threads {training['threads']}")
    return [f"To make it again: `python -m gpu_ops.extents.train {' '.join(options)}`"]


def _scores(scores: Mapping[str, Any]) -> str:
    rows = [
        (
            f"**{name}**" if name == "all" else name,
            str(line["true"]),
            str(line["predicted"]),
            str(line["found"]),
            f"{line['f1']:.3f}",
            "" if line["mean_error_s"] is None else f"{line['mean_error_s']:.3f}",
        )
        for name, line in scores["styles"].items()
    ]
    return _table(("style", "true", "predicted", "found", "F1", "mean error s"), rows)


def _entry(picture: str, failure: Failure) -> str:
    def lines(what: Sequence[str]) -> str:
        return "; ".join(f"`{line.replace('`', ' ')}`" for line in what) or "nothing"

    return (
        f"![{failure.style}, seed {failure.seed}]({picture})\n\n"
        f"**{failure.style}**, seed {failure.seed}. Expected: {lines(failure.expected)}. "
        f"Found: {lines(failure.found)}."
    )


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---"] * len(headings)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (headings, rule, *rows))


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_said(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_said, value))
    return "none" if value is None else str(value)
