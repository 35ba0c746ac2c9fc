"""Subtitle files that players accept: escaping, line breaks, times."""

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from gpu_ops.captions.rows import CaptionRow
from gpu_ops.captions.subtitles import cues, json_of, srt_of, to_json, to_srt, to_vtt


def row(start: int, end: int, ocr: str, **more: object) -> CaptionRow:
    return CaptionRow(start_frame_index=start, end_frame_index=end, caption_ocr=ocr, **more)  # type: ignore[arg-type]


def test_srt_has_numbers_times_and_line_breaks():
    assert to_srt(cues([row(10, 29, "first\nsecond"), row(36050, 36059, "字幕")])) == (
        "1\n00:00:01,000 --> 00:00:03,000\nfirst\nsecond\n\n2\n01:00:05,000 --> 01:00:06,000\n字幕\n\n"
    )


def test_vtt_has_its_header_and_escapes():
    text = to_vtt(cues([row(0, 9, "a < b & c --> d")]))
    assert text == "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\na &lt; b &amp; c --&gt; d\n\n"


def test_blank_lines_and_control_characters_cannot_break_a_cue():
    srt = to_srt(cues([row(0, 9, "\r\n one \n\n\x00two --> three\n")]))
    assert srt == "1\n00:00:00,000 --> 00:00:01,000\none\ntwo → three\n\n"


def test_json_holds_refined_times_grid_frames_and_confidence():
    entries = json.loads(to_json(cues([row(10, 29, "hé", start_s=1.04, end_s=2.96, ocr_confidence=0.91)])))
    assert entries == [
        {
            "start_s": 1.04,
            "end_s": 2.96,
            "start_frame_index": 10,
            "end_frame_index": 29,
            "text": "hé",
            "confidence": 0.91,
        }
    ]


def test_where_refined_times_are_unknown_those_of_the_grid_stand_in():
    assert "00:00:01,040 --> 00:00:03,000" in to_srt(cues([row(10, 29, "x", start_s=1.04)]))


def test_the_annotator_s_text_comes_before_ours_even_when_it_is_empty():
    rows = [row(0, 9, "ocr", text="mine"), row(10, 19, "ocr", text="", state="confirmed")]
    assert [(cue.text, cue.confidence) for cue in cues(rows)] == [("mine", 1.0)]


def test_gaps_issues_and_unread_captions_are_no_subtitles():
    rows = [
        row(0, 9, "x", state="gap"),
        row(10, 19, "x", state="issue"),
        CaptionRow(start_frame_index=20, end_frame_index=29),
    ]
    assert cues(rows) == []


def test_captions_in_a_script_that_cannot_be_read_keep_their_times_in_json():
    unread = CaptionRow(
        start_frame_index=20, end_frame_index=29, ocr_status="error", ocr_error="unknown script"
    )
    emptied = CaptionRow(start_frame_index=40, end_frame_index=49, ocr_status="error", text="")
    entries = json.loads(json_of([unread, emptied]))
    assert [(entry["start_s"], entry["end_s"], entry["text"]) for entry in entries] == [(2.0, 3.0, "")]
    assert srt_of([unread, emptied]) == ""


def test_an_exact_end_never_reaches_into_the_next_cue():
    rows = [row(0, 9, "a", end_s=1.05), row(10, 19, "b", start_s=1.0)]
    first, second = cues(rows)
    assert first.end_s <= second.start_s


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 50), st.text(max_size=30)), max_size=8))
def test_whatever_the_texts_srt_stays_parseable_and_in_order(entries: list[tuple[int, int, str]]):
    rows = [row(start, start + length, text) for start, length, text in entries]
    srt = to_srt(cues(rows))
    times = re.findall(r"^(\d\d:\d\d:\d\d,\d{3}) --> (\d\d:\d\d:\d\d,\d{3})$", srt, re.MULTILINE)
    assert len(times) == len(cues(rows)) == len([block for block in srt.split("\n\n") if block])
    assert [start for start, _ in times] == sorted(start for start, _ in times)
    assert all(start < end for start, end in times)
