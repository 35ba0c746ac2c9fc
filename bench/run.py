"""`make bench`: renders the clips, runs the product on each, and prints how well and how fast it did.

Beside it, in the same run: plain decoding, and the method of the best open tool, which is told the region.
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
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.clips import QUICK, Clip, clips, region_of
from bench.media import OUT, MissingMedia
from bench.product import Cost, baseline_captions, process_video
from bench.report import error_section, page
from bench.scoring import compare
from bench.speed import DECODER, Speed, decoding_cost, measure_speed
from bench.tables import BASELINE, Result, accuracy_table, clip_speed_table, stage_table
from gpu_ops.regions import CropRegion

_REGION_HOLDS = 0.9  # of each caption's area


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
    baseline = [_baseline_result(clip, console) for clip in chosen if options.baseline and results]
    speed = None if options.no_speed else measure_speed(OUT / "clips", options.baseline)
    tables: list[Table] = []
    if results:
        tables.append(accuracy_table("CaptionAcc", results))
    if baseline:
        tables.append(accuracy_table(f"{BASELINE}, region given", baseline))
    if results:
        tables.append(clip_speed_table(results, baseline))
    if speed:
        tables.append(stage_table(speed))
    models = {result.model_version for result in results if result.model_version}
    if speed:
        models.add(speed.job.model_version)
    conditions = _conditions(sorted(models))
    console.print(conditions)
    for table in tables:
        console.print(table)
    _write(options.out, conditions, tables, results, baseline, speed)
    if options.scorer and results:
        _second_opinion(options.scorer, results, console)
    console.print(f"Pictures of every error: {options.out / 'report.html'}")
    return 1 if any(result.failure for result in results) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="seven clips of 30 s instead of all of 60 s")
    parser.add_argument("--clips", help="only these clips, comma-separated")
    parser.add_argument("--duration", type=float, help="seconds of each clip")
    parser.add_argument(
        "--no-baseline", dest="baseline", action="store_false", help=f"without {BASELINE} (slow)"
    )
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
    outcome = process_video(video, language, region_of(truth) if options.given_region else None)
    failure = outcome.cost.output.strip()[-2000:] if outcome.failed else ""
    if failure:
        console.print(f"[red]{clip.name} failed (exit status {outcome.cost.exit_code})[/red]\n{failure}")
    return Result(
        clip,
        video,
        truth,
        outcome.captions,
        compare(truth["captions"], outcome.captions),
        outcome.cost,
        None if options.given_region else _share_inside(truth, outcome.region),
        decoding_cost(video).cpu_s,
        outcome.model_version,
        failure,
    )


def _baseline_result(clip: Clip, console: Console) -> Result:
    """A film without captions has no region to be told: there the baseline looks at the lower third, as
    VideOCR does where nobody says more."""
    video, truth = clip.rendered(OUT / "clips")
    console.print(f"{clip.name}: {BASELINE} ...", highlight=False)
    region = region_of(truth) or CropRegion(0.0, 2 / 3, 1.0, 1.0)
    found, cost = baseline_captions(video, region, clip.language)
    return Result(clip, video, truth, found, compare(truth["captions"], found), cost)


def _share_inside(truth: Mapping[str, Any], region: CropRegion | None) -> float:
    """The share of captions of which the region holds nearly all; finding none where there are none is
    right."""
    if not truth["captions"]:
        return float(region is None)
    if region is None:
        return 0.0
    shares = [max(_inside(caption["box"], part) for part in region.parts) for caption in truth["captions"]]
    return sum(share >= _REGION_HOLDS for share in shares) / len(shares)


def _inside(box: Sequence[float], region: CropRegion) -> float:
    width = min(box[2], region.right) - max(box[0], region.left)
    height = min(box[3], region.bottom) - max(box[1], region.top)
    return max(0.0, width) * max(0.0, height) / ((box[2] - box[0]) * (box[3] - box[1]))


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
    out: Path,
    conditions: str,
    tables: Sequence[Table],
    results: Sequence[Result],
    baseline: Sequence[Result],
    speed: Speed | None,
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
        "clips": {r.clip.name: _recorded(r) for r in results},
        "baseline": {r.clip.name: _recorded(r) for r in baseline},
    }
    if speed:
        record["speed"] = {
            "video_s": speed.video_s,
            "job": _facts(speed.job.cost),
            "stages": dict(speed.job.stages),
            DECODER: _facts(speed.decoding),
            "baseline_s": speed.excerpt_s,
            "baseline": _facts(speed.baseline) if speed.baseline else None,
        }
    (out / "results.json").write_text(json.dumps(record, ensure_ascii=False, indent=1), encoding="utf-8")


def _recorded(result: Result) -> dict[str, Any]:
    return {
        "video": str(result.video),
        "captions": list(result.found),
        "score": vars(result.comparison.score),
        "share_in_region": result.regions,
        **_facts(result.cost),
        "decoding_s": result.decoding_s,
        "failure": result.failure,
    }


def _facts(cost: Cost) -> dict[str, Any]:
    return {name: value for name, value in vars(cost).items() if name != "output"}


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
