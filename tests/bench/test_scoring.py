"""The benchmark's scores are the usual ones, and agree with an independent scorer where there is one."""

from __future__ import annotations

import importlib.util
import math
import os
import random
from pathlib import Path
from typing import Any

import pytest

from bench.scoring import compare, edit_distance, normal

INDEPENDENT = Path(os.environ.get("CAPTIONACC_SCORER", "no scorer named"))


def caption(start: float, end: float, text: str) -> dict[str, Any]:
    first, last = math.ceil(start * 10 - 1e-6), math.ceil(end * 10 - 1e-6) - 1
    return {"start_s": start, "end_s": end, "text": text, "first_frame_10hz": first, "last_frame_10hz": last}


def test_the_truth_itself_scores_perfectly() -> None:
    truth = [caption(1.0, 2.0, "One"), caption(2.0, 3.5, "Two")]
    score = compare(truth, truth).score
    assert (score.extents_f1, score.character_error_rate, score.exact_rate) == (1.0, 0.0, 1.0)


def test_a_caption_found_too_late_counts_as_missed_and_as_found_wrongly() -> None:
    score = compare([caption(1.0, 3.0, "One")], [caption(1.15, 3.0, "One")]).score
    assert score.extents_f1 == 0
    assert score.overlapping == 1
    assert score.mean_error_s == pytest.approx(0.075)


def test_two_captions_merged_into_one_match_at_most_one() -> None:
    truth = [caption(1.0, 2.0, "One"), caption(2.0, 3.0, "Two")]
    assert compare(truth, [caption(1.0, 3.0, "One")]).score.overlapping == 1


def test_nothing_to_find_and_nothing_found_is_perfect() -> None:
    assert compare([], []).score.extents_f1 == 1
    assert compare([], [caption(1, 2, "Ghost")]).score.extents_f1 == 0


def test_text_is_compared_without_spaces_and_widths() -> None:
    assert normal("Ａ b\nc！") == "Abc!"


@pytest.mark.parametrize(("a", "b", "edits"), [("", "abc", 3), ("kitten", "sitting", 3), ("三天", "五天", 1)])
def test_edits_are_counted_by_character(a: str, b: str, edits: int) -> None:
    assert edit_distance(a, b) == edit_distance(b, a) == edits


def test_scores_add_up_to_the_micro_average() -> None:
    right, wrong = [caption(0, 1, "ab")], [caption(0, 1, "xy")]
    total = compare(right, right).score + compare(right, wrong).score
    assert total.character_error_rate == 0.5
    assert total.expected == 2


@pytest.mark.skipif(not INDEPENDENT.exists(), reason="CAPTIONACC_SCORER names no scorer")
def test_scores_agree_with_the_independent_scorer() -> None:
    spec = importlib.util.spec_from_file_location("independent_scorer", INDEPENDENT)
    assert spec
    assert spec.loader
    scorer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(scorer)
    for seed in range(300):
        rng = random.Random(seed)
        truth, found = [], []
        time = 0.0
        for _ in range(rng.randrange(0, 12)):
            time += rng.choice([0, 0, 0.3, 1.7])
            end = time + rng.uniform(0.2, 3)
            text = "".join(rng.choice("abc 三五，!") for _ in range(rng.randrange(0, 9)))
            truth.append(caption(round(time, 4), round(end, 4), text))
            if rng.random() < 0.85:
                shift = [rng.choice([0, 0, 0.04, 0.1, 0.12, 0.6]) * rng.choice([-1, 1]) for _ in range(2)]
                read = text.replace("a", rng.choice("ab"))
                found.append(
                    caption(round(time + shift[0], 4), round(max(end + shift[1], time + 0.7), 4), read)
                )
            time = end
        ours = compare(truth, found).score
        theirs = scorer.score({"captions": truth}, [dict(item) for item in found])
        assert [
            ours.on_time,
            ours.on_the_sample,
            ours.within_a_sample,
            ours.overlapping,
            ours.edits,
            ours.characters,
            ours.exact,
        ] == [theirs[k] for k in ("tp_0.1s", "tp_0f", "tp_1f", "overlap", "edits", "chars", "exact")]
        assert ours.boundary_error_s == pytest.approx(theirs["err_sum"])
        assert ours.worst_error_s == pytest.approx(theirs["err_max"])
