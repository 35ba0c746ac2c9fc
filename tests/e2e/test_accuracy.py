"""The demo film is found without an error: the floor that no change may fall below."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bench.scoring import compare
from gpu_ops.footage.sample import render_sample
from tests.e2e.conftest import Captionacc

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_every_caption_of_the_demo_film_is_found_on_time_and_read_exactly(
    captionacc: Captionacc, tmp_path: Path
) -> None:
    film = tmp_path / "sample.mp4"
    truth = render_sample(film)["captions"]
    done = captionacc("process", film, timeout=500)
    assert done.returncode == 0, done.stderr

    on_grid = compare(truth, json.loads(film.with_suffix(".json").read_text())).score
    assert on_grid.expected == on_grid.found == on_grid.on_time == on_grid.exact == 10
    in_subtitles = compare(truth, cues_of(film.with_suffix(".srt").read_text())).score
    assert in_subtitles.mean_error_s is not None
    assert in_subtitles.mean_error_s <= 0.02


def cues_of(srt: str) -> list[dict[str, Any]]:
    """Times and text of a SubRip file."""
    blocks = re.findall(r"(\d+):(\d+):(\d+),(\d+) --> (\d+):(\d+):(\d+),(\d+)\n(.*?)\n\n", srt, re.DOTALL)
    return [
        {"start_s": seconds(*block[:4]), "end_s": seconds(*block[4:8]), "text": block[8]} for block in blocks
    ]


def seconds(hours: str, minutes: str, whole: str, milliseconds: str) -> float:
    return int(hours) * 3600 + int(minutes) * 60 + int(whole) + int(milliseconds) / 1000
