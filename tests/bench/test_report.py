"""The report shows a picture of every error, and the stages account for all of the cost."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from bench.product import srt_captions, stage_seconds
from bench.report import error_section, page
from bench.scoring import compare
from tests.e2e.films import render_film


def test_every_kind_of_error_is_shown_with_its_strip_and_with_what_was_expected_and_found(
    tmp_path: Path,
) -> None:
    film = tmp_path / "film.mp4"
    truth = render_film(film)
    missed, late, misread, right = truth["captions"]
    found = [
        {**late, "start_s": late["start_s"] + 0.3},
        {**misread, "text": "Then we can leaf at noon."},
        {**right},
        {"start_s": 8.4, "end_s": 8.9, "text": "A ghost"},
    ]
    section = error_section("film", film, truth, found, compare(truth["captions"], found))
    assert re.findall(r"<div class=e><b>([\w ]+)</b>", section) == [
        "missed",
        "wrong times",
        "misread",
        "nothing there",
    ]
    for words in (missed["text"], "leaf at noon", "A ghost", "<b>found</b>nothing", "<b>expected</b>nothing"):
        assert words in section
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', section)
    assert len(pictures) >= 4
    for picture in pictures:
        strip = cv2.imdecode(np.frombuffer(base64.b64decode(picture), np.uint8), cv2.IMREAD_GRAYSCALE)
        assert strip is not None
        assert strip.shape[1] > 3 * strip.shape[0]
        assert strip.max() > 200  # the letters are in it
    (tmp_path / "report.html").write_text(page("Benchmark", "conditions", "tables", [section]))


def test_the_stages_add_up_to_all_of_the_cost(tmp_path: Path) -> None:
    for call, stages, process in (
        ("crop", {"decode": 3.0, "encode": 1.0}, 5.0),
        ("read", {"read": 2.0}, 2.5),
    ):
        report = {"call": call, "stages": stages, "process": process}
        (tmp_path / f"{call}-1.json").write_text(json.dumps(report))
    seconds = stage_seconds(tmp_path, 10.0)
    assert list(seconds)[:3] == ["decode", "read", "encode"]
    assert list(seconds.values())[3:] == [pytest.approx(1.5), pytest.approx(2.5)]
    assert sum(seconds.values()) == pytest.approx(10.0)


def test_subtitles_are_scored_by_the_times_written_in_them() -> None:
    srt = "1\n00:00:01,040 --> 00:00:02,960\nOne\ntwo\n\n2\n01:00:03,000 --> 01:00:04,500\nThree\n\n"
    assert srt_captions(srt) == [
        {"start_s": 1.04, "end_s": 2.96, "text": "One\ntwo"},
        {"start_s": 3603.0, "end_s": 3604.5, "text": "Three"},
    ]
