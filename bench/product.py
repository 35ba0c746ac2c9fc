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
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from gpu_ops.layout.database import read_crop_region
from gpu_ops.regions import CropRegion
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
    """What the product answered for one video. `region` is None if it found no captions. `stages`: the
    processor seconds of `cost` by stage; they add up to all of it."""

    captions: Sequence[Mapping[str, Any]]
    region: CropRegion | None
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


def process_video(video: Path, language: str, region: CropRegion | None = None) -> Outcome:
    """`captionacc process` on `video`, in a home folder of its own; `region` only if the product is to be
    told it."""
    home = Path(tempfile.mkdtemp(prefix="bench-home-"))
    try:
        command: list[str | Path] = [_command(), "process", video, "--out", home / "out", "--format", "srt"]
        if language in ("en", "zh"):
            command += ["--lang", language]
        if region:
            command += ["--region", str(region)]
        cost = measured(command, {"CAPTIONACC_HOME": str(home / "home"), VARIABLE: str(home / "stage-times")})
        written = home / "out" / f"{video.stem}.srt"
        captions = srt_captions(written.read_text(encoding="utf-8")) if written.exists() else []
        stages = stage_seconds(home / "stage-times", cost.cpu_s)
        return Outcome(captions, _region(home), _model_version(home), cost, stages)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def baseline_captions(
    video: Path, region: CropRegion, language: str
) -> tuple[Sequence[Mapping[str, Any]], Cost]:
    """What the SSIM baseline, told the region, finds, and what that costs. It reads two places one after the
    other."""
    answers = [_baseline_captions(video, part, language) for part in region.parts]
    captions = sorted((each for found, _ in answers for each in found), key=lambda each: each["start_s"])
    costs = [cost for _, cost in answers]
    return captions, replace(
        costs[0],
        cpu_s=sum(cost.cpu_s for cost in costs),
        wall_s=sum(cost.wall_s for cost in costs),
        peak_bytes=max(cost.peak_bytes for cost in costs),
    )


def _baseline_captions(
    video: Path, region: CropRegion, language: str
) -> tuple[Sequence[Mapping[str, Any]], Cost]:
    with tempfile.TemporaryDirectory() as scratch:
        answer = Path(scratch) / "captions.json"
        command = [sys.executable, "-m", "bench.baseline_ssim", video, str(region), language, answer]
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


def _region(home: Path) -> CropRegion | None:
    with _database(home, "layout.db.gz") as path:
        return read_crop_region(path) if path else None


def _model_version(home: Path) -> str:
    with _database(home, "caption_frame_extents.db.gz") as path:
        if path is None:
            return ""
        with sqlite3.connect(path) as connection:
            return str(connection.execute("SELECT model_version FROM run_metadata").fetchone()[0])


@contextmanager
def _database(home: Path, name: str) -> Generator[Path | None]:
    """An unpacked copy of the only database of that name, None where there is none."""
    packed = next(home.rglob(name), None)
    with tempfile.NamedTemporaryFile(suffix=".db") as plain:
        if packed is not None:
            plain.write(gzip.decompress(packed.read_bytes()))
            plain.flush()
        yield Path(plain.name) if packed else None


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
