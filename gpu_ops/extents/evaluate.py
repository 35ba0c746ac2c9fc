"""Scores a pair model on drawn films with held-out fonts and photographs, and writes its card.

    python -m gpu_ops.extents.evaluate                      # the current model, every style
    python -m gpu_ops.extents.evaluate --model VERSION --films 4
    python -m gpu_ops.extents.evaluate --styles fades cuts  # some styles: a look, no card

A caption is found if both its ends are within 0.1 s of the truth; found and true captions are matched one to
one. The region is given, so this is the pair model and the decoding alone; `make bench` scores the product.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2

from gpu_ops.extents import registry
from gpu_ops.extents.card import write_card
from gpu_ops.extents.gallery import Failure, failures_of
from gpu_ops.extents.model import PairModel
from gpu_ops.extents.predict import ExtentPredictor, Prediction
from gpu_ops.extents.provenance import code_version
from gpu_ops.extents.synthesis.films import STYLES, Film, TrueCaption, random_film
from gpu_ops.extents.timing import TimedExtent

TOLERANCE_S = 0.1 + 1e-3
FIRST_SEED = 100  # films of seeds 1 to 3 were looked at while the decoding was made


@dataclass
class Score:
    """Counts over films: true captions, predicted ones, found ones, and the summed errors of the found ones'
    ends."""

    true: int = 0
    predicted: int = 0
    found: int = 0
    start_error: float = 0.0
    end_error: float = 0.0
    absolute_error: float = 0.0
    missed: list[TrueCaption] = field(default_factory=list[TrueCaption])
    invented: list[TimedExtent] = field(default_factory=list[TimedExtent])

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 1 where there was nothing to find and nothing was
        invented."""
        return 2 * self.found / (self.true + self.predicted) if self.true + self.predicted else 1.0

    def add(self, other: Score) -> None:
        """Count another score's films in."""
        self.true += other.true
        self.predicted += other.predicted
        self.found += other.found
        self.start_error += other.start_error
        self.end_error += other.end_error
        self.absolute_error += other.absolute_error


@dataclass(frozen=True)
class Order:
    """One film for one model to be scored on. `models`: the models folder."""

    models: Path
    version: str
    style: str
    seed: int
    seconds: float


@dataclass(frozen=True)
class FilmResult:
    """How a model did on one film, and what predicting its `grid_frames` cost."""

    order: Order
    score: Score
    failures: Sequence[Failure]
    grid_frames: int
    cpu_s: float


def score(captions: Sequence[TrueCaption], extents: Sequence[TimedExtent]) -> Score:
    """Match predicted extents with true captions in order of time."""
    predicted = [extent for extent in extents if extent.state == "predicted"]
    result = Score(len(captions), len(predicted))
    left = list(predicted)
    for caption in captions:
        for extent in left:
            start_error, end_error = extent.start_s - caption.start_s, extent.end_s - caption.end_s
            if abs(start_error) <= TOLERANCE_S and abs(end_error) <= TOLERANCE_S:
                left.remove(extent)
                result.found += 1
                result.start_error += start_error
                result.end_error += end_error
                result.absolute_error += (abs(start_error) + abs(end_error)) / 2
                break
        else:
            result.missed.append(caption)
    result.invented = left
    return result


def predict(model: PairModel, film: Film) -> Prediction:
    """The model's prediction for all of a film's native frames."""
    predictor = ExtentPredictor(model)
    for frame in film.frames():
        predictor.add(frame)
    return predictor.finish()


def evaluate_film(order: Order) -> FilmResult:
    """Draw the film, predict, compare. The same order gives the same score."""
    cv2.setNumThreads(1)
    registry.MODELS_FOLDER = order.models
    film = random_film(order.seed, order.style, order.seconds)
    model = PairModel.load(order.version)
    began = time.process_time()
    prediction = predict(model, film)
    cpu_s = time.process_time() - began
    result = score(film.captions, prediction.extents)
    failures = failures_of(film, order.style, order.seed, result.missed, result.invented)
    return FilmResult(order, result, failures, prediction.frame_count, cpu_s)


def scores_of(
    results: Sequence[FilmResult], first_seed: int, films: int, seconds: float, code: str
) -> dict[str, Any]:
    """What model.json keeps of an evaluation; `code` is the version of the code that made it."""
    total = Score()
    styles: dict[str, Score] = {}
    for result in results:
        styles.setdefault(result.order.style, Score()).add(result.score)
        total.add(result.score)
    return {
        "measure": "F1 of captions with both ends within 0.1 s",
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "code": code,
        "first_seed": first_seed,
        "films": films,
        "seconds": seconds,
        "f1": round(total.f1, 4),
        "bias_start_s": round(total.start_error / max(1, total.found), 4),
        "bias_end_s": round(total.end_error / max(1, total.found), 4),
        "grid_frames_per_cpu_s": round(
            sum(result.grid_frames for result in results) / max(1e-6, sum(result.cpu_s for result in results))
        ),
        "styles": {name: _line(each) for name, each in (("all", total), *styles.items())},
    }


def _line(each: Score) -> dict[str, Any]:
    return {
        "true": each.true,
        "predicted": each.predicted,
        "found": each.found,
        "f1": round(each.f1, 4),
        "mean_error_s": round(each.absolute_error / each.found, 4) if each.found else None,
    }


def main() -> None:
    """Command line: draw films, predict, print a table, write the card."""
    options = _arguments()
    registry.MODELS_FOLDER = options.models
    try:
        record = registry.model(options.model)
    except registry.UnknownModel as error:
        sys.exit(str(error))
    code = code_version()  # as loaded: the files may change while this runs
    orders = [
        Order(options.models, record.version, style, seed, options.seconds)
        for style in options.styles or STYLES
        for seed in range(options.seed, options.seed + options.films)
    ]
    with ProcessPoolExecutor(options.processes, multiprocessing.get_context("spawn")) as workers:
        results = list(_told(workers.map(evaluate_film, orders)))
    scores = scores_of(results, options.seed, options.films, options.seconds, code)
    _print(scores)
    failures = [failure for result in results for failure in result.failures]
    for failure in failures:
        print(f"{failure.style} {failure.seed}: expected {failure.expected}, found {failure.found}")
    if options.styles:
        print("Only some styles were scored: the model's card stays as it is.")
        return
    print(write_card(_recorded(record, scores), failures))


def _told(results: Iterable[FilmResult]) -> Iterable[FilmResult]:
    for result in results:
        each = result.score
        print(f"{result.order.style} {result.order.seed}: {each.found} of {each.true} found", flush=True)
        yield result


def _print(scores: Mapping[str, Any]) -> None:
    for name, line in scores["styles"].items():
        error = "" if line["mean_error_s"] is None else f"  mean |error| {line['mean_error_s']:.3f} s"
        counts = f"true {line['true']:3d} predicted {line['predicted']:3d} found {line['found']:3d}"
        print(f"{name:22s} {counts}  F1@0.1s {line['f1']:.3f}{error}")
    print(
        f"bias start {scores['bias_start_s']:+.4f} end {scores['bias_end_s']:+.4f} s, "
        f"{scores['grid_frames_per_cpu_s']} grid frames a CPU-second",
        flush=True,
    )


def _recorded(record: registry.ModelRecord, scores: Mapping[str, Any]) -> registry.ModelRecord:
    """The record with these scores, also in its model.json."""
    facts = {**record.facts, "scores": dict(scores)}
    text = json.dumps(facts, indent=2, ensure_ascii=False) + "\n"
    (record.folder / "model.json").write_text(text, encoding="utf-8")
    return registry.model(record.version)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m gpu_ops.extents.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", metavar="VERSION", help="default: the current one")
    parser.add_argument("--models", type=Path, default=registry.MODELS_FOLDER, help="models folder")
    parser.add_argument("--films", type=int, default=2, help="films for each style")
    parser.add_argument("--seed", type=int, default=FIRST_SEED, help="of each style's first film")
    parser.add_argument("--styles", nargs="+", choices=list(STYLES), help="only these")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each film")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
