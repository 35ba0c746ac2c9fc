"""Runs the product as a user does, through its command, and measures what that costs."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from gpu_ops.stages import VARIABLE

_SAMPLING_S = 0.1


@dataclass(frozen=True)
class Cost:
    """What a command and everything it started took. Memory is resident, summed over its processes."""

    cpu_s: float
    wall_s: float
    peak_bytes: int
    exit_code: int
    output: str


@dataclass(frozen=True)
class Outcome:
    """What the product answered for one video. `region` in fractions of the frame, None if it found no
    captions. `stages`: the processor seconds of `cost` by stage; they add up to all of it."""

    captions: Sequence[Mapping[str, Any]]
    region: tuple[float, float, float, float] | None
    model_version: str
    cost: Cost
    stages: Mapping[str, float]

    @property
    def failed(self) -> bool:
        return self.cost.exit_code != 0


def measured(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> Cost:
    """Run a command to its end. CPU time is the kernel's account of it and all descendants it waited for."""
    with tempfile.TemporaryFile() as output:
        before, started = os.times(), time.monotonic()
        process = subprocess.Popen(
            [str(part) for part in command],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
        peak = _PeakMemory(process.pid)
        exit_code = process.wait()
        after, ended = os.times(), time.monotonic()
        output.seek(0)
        said = output.read().decode("utf-8", "replace")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Cost(cpu, ended - started, peak.stop(), exit_code, said)


def process_video(video: Path, language: str, region: Sequence[float] | None = None) -> Outcome:
    """`captionacc process` on `video`, in a home folder of its own; `region` only if the product is to be
    told it."""
    home = Path(tempfile.mkdtemp(prefix="bench-home-"))
    try:
        command: list[str | Path] = [_command(), "process", video, "--out", home / "out", "--format", "srt"]
        if language in ("en", "zh"):
            command += ["--lang", language]
        if region:
            command += ["--region", ",".join(f"{edge:.4f}" for edge in region)]
        cost = measured(command, {"CAPTIONACC_HOME": str(home / "home"), VARIABLE: str(home / "stage-times")})
        written = home / "out" / f"{video.stem}.srt"
        captions = srt_captions(written.read_text(encoding="utf-8")) if written.exists() else []
        stages = stage_seconds(home / "stage-times", cost.cpu_s)
        return Outcome(captions, _region(home), _model_version(home), cost, stages)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def baseline_captions(
    video: Path, region: Sequence[float], language: str
) -> tuple[Sequence[Mapping[str, Any]], Cost]:
    """What the SSIM baseline, told the region, finds in a process of its own, and what that costs."""
    with tempfile.TemporaryDirectory() as scratch:
        answer = Path(scratch) / "captions.json"
        place = ",".join(f"{edge:.4f}" for edge in region)
        command = [sys.executable, "-m", "bench.baseline_ssim", video, place, language, answer]
        cost = measured(command, {"PYTHONPATH": str(Path(__file__).parent.parent)})
        if cost.exit_code:
            raise RuntimeError(f"The baseline failed on {video.name}: {cost.output.strip()[-500:]}")
        return json.loads(answer.read_text(encoding="utf-8")), cost


def srt_captions(srt: str) -> list[dict[str, Any]]:
    """The captions of a SubRip file: start_s, end_s, text."""
    blocks = re.findall(r"([\d:,]+) --> ([\d:,]+)\n(.*?)\n\n", srt, re.DOTALL)
    return [{"start_s": _seconds(start), "end_s": _seconds(end), "text": text} for start, end, text in blocks]


def _seconds(clock: str) -> float:
    hours, minutes, seconds = clock.replace(",", ".").split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def stage_seconds(folder: Path, total_s: float) -> dict[str, float]:
    """Processor seconds by stage, and what is left of `total_s` for starting up and for Dagster."""
    seconds: Counter[str] = Counter()
    in_stages = in_workers = 0.0
    for path in folder.glob("*.json"):
        report = json.loads(path.read_text(encoding="utf-8"))
        seconds.update(report["stages"])
        in_stages += sum(report["stages"].values())
        in_workers += report["process"]
    ordered = dict(seconds.most_common())
    return {
        **ordered,
        "starting to compute, and the rest of it": in_workers - in_stages,
        "orchestration (Dagster, catalog, command)": total_s - in_workers,
    }


def _command() -> Path:
    return Path(sys.executable).with_name("captionacc")


def _region(home: Path) -> tuple[float, float, float, float] | None:
    """The crop region in layout.db, unless that is still the whole frame that it begins with."""
    row = _row(home, "layout.db.gz", "SELECT crop_left, crop_top, crop_right, crop_bottom FROM layout_config")
    if row is None or tuple(row) == (0, 0, 1, 1):
        return None
    left, top, right, bottom = row
    return left, top, right, bottom


def _model_version(home: Path) -> str:
    row = _row(home, "caption_frame_extents.db.gz", "SELECT model_version FROM run_metadata")
    return str(row[0]) if row else ""


def _row(home: Path, database: str, query: str) -> tuple[Any, ...] | None:
    for packed in home.rglob(database):
        with tempfile.NamedTemporaryFile(suffix=".db") as plain:
            plain.write(gzip.decompress(packed.read_bytes()))
            plain.flush()
            with sqlite3.connect(plain.name) as connection:
                return connection.execute(query).fetchone()
    return None


class _PeakMemory:
    """Watches the memory of a process tree from a thread of its own."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._peak = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        self._done.set()
        self._thread.join()
        return self._peak

    def _watch(self) -> None:
        while not self._done.wait(_SAMPLING_S):
            self._peak = max(self._peak, self._now())

    def _now(self) -> int:
        total = 0
        try:
            tree = [self._root, *self._root.children(recursive=True)]
        except psutil.Error:
            return 0
        for process in tree:
            try:
                total += process.memory_info().rss
            except psutil.Error:
                continue
        return total
