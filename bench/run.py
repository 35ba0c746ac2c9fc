"""`make bench`: renders the clips, runs the product on each, and prints how well and how fast it did.

The clips' fonts, photographs and sentences are held out: no engine parameter is ever chosen by looking at
them.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.baseline_ssim import captions_by_ssim
from bench.clips import QUICK, Clip, clips
from bench.media import OUT, MissingMedia
from bench.product import process_video
from bench.report import error_section, page
from bench.scoring import Comparison, Score, compare
from bench.speed import Speed, measure_speed

_REGION_HOLDS = 0.9  # of each caption's area


@dataclass(frozen=True)
class Result:
    """One clip's outcome. `regions` is the share of captions inside the region found, None if it was
    given."""

    clip: Clip
    video: Path
    truth: Mapping[str, Any]
    found: Sequence[Mapping[str, Any]]
    comparison: Comparison
    regions: float | None = None
    cpu_s: float | None = None
    peak_bytes: int | None = None
    model_version: str = ""
    failure: str = ""


def main() -> int:
    """Exit status 1 if the product failed on a clip, 2 if the benchmark cannot run."""
    options = _arguments()
    console = Console(width=150, soft_wrap=True) if not sys.stdout.isatty() else Console()
    try:
        chosen = clips(
            options.duration or (30.0 if options.quick else 60.0),
            options.clips.split(",") if options.clips else (QUICK if options.quick else None),
        )
    except (MissingMedia, ValueError) as error:
        console.print(f"[red]{error}[/red]")
        return 2
    results = [] if options.speed_only else [_product_result(clip, options, console) for clip in chosen]
    baseline = [_baseline_result(clip, console) for clip in chosen] if options.baseline else []
    speed = measure_speed(OUT / "clips") if not options.no_speed else None
    tables: list[Table] = []
    if results:
        tables += _accuracy("CaptionAcc", results)
    if baseline:
        tables += _accuracy("SSIM baseline, region given", baseline)
    if speed:
        tables.append(_speed_table(speed))
    models = {result.model_version for result in results if result.model_version}
    if speed:
        models.add(speed.job.model_version)
    conditions = _conditions(sorted(models))
    console.print(conditions)
    for table in tables:
        console.print(table)
    _write(options.out, conditions, tables, results, speed)
    if options.scorer and results:
        _second_opinion(options.scorer, results, console)
    console.print(f"Pictures of every error: {options.out / 'report.html'}")
    return 1 if any(result.failure for result in results) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="seven clips of 30 s instead of all of 60 s")
    parser.add_argument("--clips", help="only these clips, comma-separated")
    parser.add_argument("--duration", type=float, help="seconds of each clip")
    parser.add_argument("--baseline", action="store_true", help="also run the SSIM baseline (slow)")
    parser.add_argument("--given-region", action="store_true", help="tell the product where the captions are")
    parser.add_argument("--auto-language", action="store_true", help="do not tell the product the language")
    parser.add_argument("--no-speed", action="store_true", help="leave the ten-minute speed test out")
    parser.add_argument("--speed-only", action="store_true", help="only the ten-minute speed test")
    scorer = os.environ.get("CAPTIONACC_SCORER")
    parser.add_argument(
        "--scorer",
        type=Path,
        default=Path(scorer) if scorer else None,
        help="a script that scores GT.json PRED.json pairs too (default: $CAPTIONACC_SCORER)",
    )
    parser.add_argument("--out", type=Path, default=OUT, help="where reports are written")
    return parser.parse_args()


def _product_result(clip: Clip, options: argparse.Namespace, console: Console) -> Result:
    video, truth = clip.rendered(OUT / "clips")
    console.print(f"{clip.name}: processing {truth['duration_s']:g} s ...", highlight=False)
    language = "auto" if options.auto_language else clip.language
    outcome = process_video(video, language, truth["region"] if options.given_region else None)
    failure = outcome.cost.output.strip()[-2000:] if outcome.failed else ""
    if failure:
        console.print(f"[red]{clip.name} failed (exit status {outcome.cost.exit_code})[/red]\n{failure}")
    return Result(
        clip,
        video,
        truth,
        outcome.captions,
        compare(truth["captions"], outcome.captions),
        None if options.given_region else _share_inside(truth, outcome.region),
        outcome.cost.cpu_s,
        outcome.cost.peak_bytes,
        outcome.model_version,
        failure,
    )


def _baseline_result(clip: Clip, console: Console) -> Result:
    video, truth = clip.rendered(OUT / "clips")
    console.print(f"{clip.name}: SSIM baseline ...", highlight=False)
    found = captions_by_ssim(video, truth["region"], clip.language) if truth["region"] else []
    return Result(clip, video, truth, found, compare(truth["captions"], found))


def _share_inside(truth: Mapping[str, Any], region: Sequence[float] | None) -> float:
    """The share of captions of which the region holds nearly all; finding none where there are none is
    right."""
    if not truth["captions"]:
        return float(region is None)
    if region is None:
        return 0.0
    return sum(_inside(c["box"], region) >= _REGION_HOLDS for c in truth["captions"]) / len(truth["captions"])


def _inside(box: Sequence[float], region: Sequence[float]) -> float:
    width = min(box[2], region[2]) - max(box[0], region[0])
    height = min(box[3], region[3]) - max(box[1], region[1])
    return max(0.0, width) * max(0.0, height) / ((box[2] - box[0]) * (box[3] - box[1]))


def _accuracy(title: str, results: Sequence[Result]) -> list[Table]:
    table = Table(title=f"{title}: accuracy")
    for heading in (
        "clip", "true", "found", "F1 @0.1 s", "F1 @1 sample", "mean error s", "worst s", "CER %", "exact %",
        "in region", "CPU s/s", "peak MB",
    ):  # fmt: skip
        table.add_column(heading, justify="left" if heading == "clip" else "right")
    for result in results:
        _add_row(
            table, result.clip.name + (" FAILED" if result.failure else ""), result.comparison.score, result
        )
    table.add_section()
    for language in ("en", "zh", "en+zh"):
        scores = [r.comparison.score for r in results if r.clip.language == language]
        if scores:
            _add_row(table, f"all {language}", sum(scores, Score()))
    _add_row(table, "all", sum((r.comparison.score for r in results), Score()))
    return [table]


def _add_row(table: Table, name: str, score: Score, result: Result | None = None) -> None:
    def cell(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    seconds = result.truth["duration_s"] if result else 1.0
    error_rate, exact = score.character_error_rate, score.exact_rate
    table.add_row(
        name,
        str(score.expected),
        str(score.found),
        f"{score.extents_f1:.3f}",
        f"{score.f1(score.within_a_sample):.3f}" if score.expected + score.found else "",
        cell(score.mean_error_s, ".3f"),
        cell(score.worst_error_s, ".2f"),
        cell(None if error_rate is None else error_rate * 100, ".2f"),
        cell(None if exact is None else exact * 100, ".1f"),
        cell(result.regions if result else None, ".0%"),
        cell(result.cpu_s / seconds if result and result.cpu_s else None, ".2f"),
        cell(result.peak_bytes / 1e6 if result and result.peak_bytes else None, ".0f"),
    )


def _speed_table(speed: Speed) -> Table:
    table = Table(title=f"Speed: {speed.video_s / 60:g} minutes of 1920x1080 at 30 fps, H.264")
    for heading in ("", "CPU s", "CPU s per video s", "wall s", "peak MB"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, cost in (
        (
            f"the whole job ({len(speed.job.captions)} captions)" + (" FAILED" if speed.job.failed else ""),
            speed.job.cost,
        ),
        (speed.decoder, speed.decoding),
    ):
        table.add_row(
            name,
            f"{cost.cpu_s:.1f}",
            f"{cost.cpu_s / speed.video_s:.3f}",
            f"{cost.wall_s:.1f}",
            f"{cost.peak_bytes / 1e6:.0f}",
        )
    return table


def _conditions(models: Sequence[str]) -> str:
    def said(command: Sequence[str]) -> str:
        try:
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return "unknown"

    processor = said(["sh", "-c", "grep -m1 'model name' /proc/cpuinfo | cut -d: -f2"]).strip()
    packages = ", ".join(f"{name} {version(name)}" for name in ("av", "onnxruntime", "rapidocr", "numpy"))
    decoder = said(["ffmpeg", "-version"]).splitlines()[0] if shutil.which("ffmpeg") else "no ffmpeg command"
    return "\n".join(
        [
            f"date      {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC",
            f"commit    {said(['git', 'describe', '--always', '--dirty'])}",
            f"machine   {processor or 'unknown CPU'}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
            f"versions  Python {platform.python_version()}, {packages}; {decoder}",
            f"model     {', '.join(models) or 'unknown'}",
        ]
    )


def _write(
    out: Path, conditions: str, tables: Sequence[Table], results: Sequence[Result], speed: Speed | None
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    plain = Console(width=150, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    for table in tables:
        plain.print(table)
    sections = [error_section(r.clip.name, r.video, r.truth, r.found, r.comparison) for r in results]
    report = page("CaptionAcc benchmark", conditions, plain.export_text(), sections)
    (out / "report.html").write_text(report, encoding="utf-8")
    record: dict[str, Any] = {
        "conditions": conditions.splitlines(),
        "clips": {
            r.clip.name: {
                "video": str(r.video),
                "captions": list(r.found),
                "score": vars(r.comparison.score),
                "share_in_region": r.regions,
                "cpu_s": r.cpu_s,
                "peak_bytes": r.peak_bytes,
                "failure": r.failure,
            }
            for r in results
        },
    }
    if speed:
        record["speed"] = {
            "video_s": speed.video_s,
            "job": {k: v for k, v in vars(speed.job.cost).items() if k != "output"},
            speed.decoder: {k: v for k, v in vars(speed.decoding).items() if k != "output"},
        }
    (out / "results.json").write_text(json.dumps(record, ensure_ascii=False, indent=1), encoding="utf-8")


def _second_opinion(scorer: Path, results: Sequence[Result], console: Console) -> None:
    """Have an external script score the same answers."""
    answers = OUT / "answers"
    answers.mkdir(parents=True, exist_ok=True)
    pairs: list[str] = []
    for result in results:
        answer = answers / f"{result.video.stem}.json"
        answer.write_text(json.dumps(list(result.found), ensure_ascii=False), encoding="utf-8")
        pairs += [str(result.video.with_name(f"{result.video.stem}.gt.json")), str(answer)]
    done = subprocess.run([sys.executable, scorer, *pairs], capture_output=True, text=True, check=False)
    console.print(done.stdout + done.stderr, highlight=False)


if __name__ == "__main__":
    sys.exit(main())
