"""Scores a pair model on drawn films with held-out fonts and photographs, style by style.

    python -m gpu_ops.extents.evaluate --seeds 1 2 --version VERSION
    python -m gpu_ops.extents.evaluate --failures FOLDER      # and write pictures of what went wrong

A caption is found if both its ends are within 0.1 s of the truth; found and true captions are matched one to
one.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2

from gpu_ops.extents import registry
from gpu_ops.extents.model import PairModel
from gpu_ops.extents.predict import ExtentPredictor, Prediction, TimedExtent
from gpu_ops.extents.synthesis.films import STYLES, Film, TrueCaption, contact_strip, random_film

TOLERANCE_S = 0.1 + 1e-3


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


def _write_failures(folder: Path, film: Film, result: Score) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    spans = [("missed", c.start_s, c.end_s) for c in result.missed]
    spans += [("invented", e.start_s, e.end_s) for e in result.invented]
    for number, (kind, start, end) in enumerate(spans[:6]):
        times = [
            start - 0.15,
            start - 0.05,
            start + 0.02,
            (start + end) / 2,
            end - 0.05,
            end + 0.02,
            end + 0.15,
        ]
        name = f"{film.name}_{number}_{kind}_{start:.2f}-{end:.2f}.jpg"
        cv2.imwrite(str(folder / name), contact_strip(film, times))


def main() -> None:
    """Command line: draw films, predict, print a table and optionally write it as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", help="model version (default: the newest)")
    parser.add_argument("--models", type=Path, help="models folder, if not the shipped one")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--styles", nargs="+", default=list(STYLES), choices=list(STYLES))
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--failures", type=Path, help="folder for pictures of errors")
    parser.add_argument("--record", action="store_true", help="write the scores into the model's model.json")
    options = parser.parse_args()
    if options.models is not None:
        registry.MODELS_FOLDER = options.models
    model = PairModel.load(options.version)
    total = Score()
    table: dict[str, float] = {}
    for style in options.styles:
        styled, grid_frames, seconds = Score(), 0, 0.0
        for seed in options.seeds:
            film = random_film(seed, style, options.seconds)
            began = time.process_time()
            prediction = predict(model, film)
            seconds += time.process_time() - began
            grid_frames += prediction.frame_count
            result = score(film.captions, prediction.extents)
            styled.add(result)
            if options.failures is not None:
                _write_failures(options.failures, film, result)
        total.add(styled)
        table[style] = round(styled.f1, 4)
        print(
            f"{style:22s} true {styled.true:3d} predicted {styled.predicted:3d} F1@0.1s {styled.f1:.3f}"
            f"  mean |error| {styled.absolute_error / max(1, styled.found):.3f} s"
            f"  {grid_frames / max(1e-6, seconds):.0f} grid frames/s",
            flush=True,
        )
    bias = (total.start_error / max(1, total.found), total.end_error / max(1, total.found))
    print(
        f"{'TOTAL':22s} true {total.true:3d} predicted {total.predicted:3d} F1@0.1s {total.f1:.3f}"
        f"  bias start {bias[0]:+.4f} end {bias[1]:+.4f} s"
    )
    table["all"] = round(total.f1, 4)
    if options.record:
        _record(registry.model(model.version), options.seeds, options.seconds, table)


def _record(
    record: registry.ModelRecord, seeds: Sequence[int], seconds: float, table: Mapping[str, float]
) -> None:
    facts = {
        **record.facts,
        "scores": {"measure": "F1 at 0.1 s", "seeds": list(seeds), "seconds": seconds, "styles": dict(table)},
    }
    text = json.dumps(facts, indent=2, ensure_ascii=False) + "\n"
    (record.folder / "model.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
