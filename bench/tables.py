"""What a run of the benchmark found, as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from bench.clips import Clip
from bench.product import Cost
from bench.scoring import Comparison, Score
from bench.speed import DECODER, Speed

BASELINE = "VideOCR's method"


@dataclass(frozen=True)
class Result:
    """One clip's outcome. `regions` is the share of captions inside the region found, None if it was
    given. `decoding_s`: processor seconds of merely decoding the clip."""

    clip: Clip
    video: Path
    truth: Mapping[str, Any]
    found: Sequence[Mapping[str, Any]]
    comparison: Comparison
    cost: Cost
    regions: float | None = None
    decoding_s: float | None = None
    model_version: str = ""
    failure: str = ""

    @property
    def cpu_per_s(self) -> float:
        """Processor seconds per second of video."""
        return self.cost.cpu_s / self.truth["duration_s"]


def accuracy_table(title: str, results: Sequence[Result]) -> Table:
    """A row a clip, then one for each language and one for all."""
    table = _table(
        f"{title}: accuracy",
        "clip", "true", "found", "F1 @0.1 s", "F1 @1 sample", "mean error s", "worst s", "CER %", "exact %",
        "in region", "peak MB",
    )  # fmt: skip
    for result in results:
        name = result.clip.name + (" FAILED" if result.failure else "")
        table.add_row(
            name,
            *_cells(result.comparison.score),
            _cell(result.regions, ".0%"),
            f"{result.cost.peak_bytes / 1e6:.0f}",
        )
    table.add_section()
    for language in ("en", "zh", "en+zh"):
        scores = [r.comparison.score for r in results if r.clip.language == language]
        if scores:
            table.add_row(f"all {language}", *_cells(sum(scores, Score())))
    table.add_row("all", *_cells(sum((r.comparison.score for r in results), Score())))
    return table


def _cells(score: Score) -> list[str]:
    error_rate, exact = score.character_error_rate, score.exact_rate
    return [
        str(score.expected),
        str(score.found),
        f"{score.extents_f1:.3f}",
        f"{score.f1(score.within_a_sample):.3f}" if score.expected + score.found else "",
        _cell(score.mean_error_s, ".3f"),
        _cell(score.worst_error_s, ".2f"),
        _cell(None if error_rate is None else error_rate * 100, ".2f"),
        _cell(None if exact is None else exact * 100, ".1f"),
    ]


def clip_speed_table(results: Sequence[Result], baseline: Sequence[Result]) -> Table:
    """What each clip cost, start-up included, beside the baselines; over 1 "times", CaptionAcc was faster."""
    table = _table(
        "CPU seconds per second of video, by clip", "clip", "CaptionAcc", BASELINE, "times", DECODER
    )
    by_name = {result.clip.name: result for result in baseline}
    for result in results:
        other = by_name.get(result.clip.name)
        decoding = None if result.decoding_s is None else result.decoding_s / result.truth["duration_s"]
        table.add_row(
            result.clip.name,
            f"{result.cpu_per_s:.2f}",
            _cell(other.cpu_per_s if other else None, ".2f"),
            _cell(other.cpu_per_s / result.cpu_per_s if other else None, ".2f"),
            _cell(decoding, ".3f"),
        )
    return table


def stage_table(speed: Speed) -> Table:
    """Where the processor time of the ten-minute film went, beside both baselines in the same run."""
    table = _table(
        f"Speed: {speed.video_s / 60:g} minutes of 1920x1080 at 30 fps, H.264",
        "", "CPU s", "CPU s per video s", "wall s", "peak MB",
    )  # fmt: skip
    for name, seconds in speed.job.stages.items():
        table.add_row(f"  {name}", f"{seconds:.1f}", f"{seconds / speed.video_s:.4f}")
    table.add_section()
    failed = " FAILED" if speed.job.failed else ""
    rows = [
        (f"the whole job ({len(speed.job.captions)} captions){failed}", speed.job.cost, speed.video_s),
        (DECODER, speed.decoding, speed.video_s),
    ]
    if speed.baseline is not None:
        rows.append((f"{BASELINE} (its first {speed.excerpt_s:g} s)", speed.baseline, speed.excerpt_s))
    for name, cost, seconds in rows:
        table.add_row(
            name,
            f"{cost.cpu_s:.1f}",
            f"{cost.cpu_s / seconds:.3f}",
            f"{cost.wall_s:.1f}",
            f"{cost.peak_bytes / 1e6:.0f}",
        )
    return table


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left")
    return table


def _cell(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
