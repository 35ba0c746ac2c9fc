"""The floor that no change may fall below: what is found, when, what it says, and what it costs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.product import measured, srt_captions
from bench.scoring import Score, compare
from gpu_ops.footage.sample import render_sample
from gpu_ops.stages import VARIABLE
from tests.e2e.conftest import Captionacc
from tests.e2e.films import render_hard_film

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MEAN_ERROR_S = 0.02
# Cropping, encoding and the pair model against decoding the film and nothing else: measured 2.1 times as
# much on a quiet machine, and up to 3.0 beside other work, which slows the two down by different amounts.
TIMES_DECODING = 3.5
DECODE = "import av,sys\nwith av.open(sys.argv[1]) as c:\n for f in c.decode(video=0): pass"


def test_every_caption_of_the_demo_film_is_found_on_time_and_read_exactly_at_little_cost(
    captionacc: Captionacc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = tmp_path / "sample.mp4"
    truth = render_sample(film)["captions"]
    monkeypatch.setenv(VARIABLE, str(tmp_path / "stage-times"))
    done = captionacc("process", film, timeout=500)
    assert done.returncode == 0, done.stderr

    found = json.loads(film.with_suffix(".json").read_text())
    assert [caption["text"] for caption in found] == [caption["text"] for caption in truth]
    in_json = compare(truth, found).score
    assert in_json.expected == in_json.found == in_json.on_time == 10
    assert mean_error(in_json) <= MEAN_ERROR_S
    assert in_json == in_subtitles(film, truth)

    (times,) = (tmp_path / "stage-times").glob("crop_and_infer*.json")
    cost_s = sum(json.loads(times.read_text())["stages"].values())
    decoding_s = min(measured([sys.executable, "-c", DECODE, film]).cpu_s for _ in range(2))
    assert cost_s <= TIMES_DECODING * decoding_s


def test_of_the_hard_film_nothing_is_missed_or_invented_and_what_is_read_is_right(
    captionacc: Captionacc, tmp_path: Path
) -> None:
    film = tmp_path / "hard.mp4"
    truth = render_hard_film(film)["captions"]
    done = captionacc("process", film, timeout=500)
    assert done.returncode == 0, done.stderr

    score = in_subtitles(film, truth)
    assert (score.expected, score.found, score.on_time) == (7, 7, 7)
    assert mean_error(score) <= MEAN_ERROR_S
    assert score.character_error_rate is not None
    assert score.character_error_rate <= 0.01


def in_subtitles(film: Path, truth: Sequence[Any]) -> Score:
    """The film's .srt file against the truth."""
    return compare(truth, srt_captions(film.with_suffix(".srt").read_text())).score


def mean_error(score: Score) -> float:
    assert score.mean_error_s is not None
    return score.mean_error_s
