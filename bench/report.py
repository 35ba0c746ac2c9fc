"""An HTML page with a picture of every error, so that a person sees what went wrong without a player."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from bench.scoring import Comparison
from gpu_ops.footage.film import Image

_STYLE = """body{font:15px system-ui,sans-serif;margin:2em;max-width:75em}
img{max-width:100%;display:block;margin:.3em 0}.e{margin:1.2em 0;border-left:4px solid #c60;padding-left:1em}
b{display:inline-block;min-width:6em}"""


def error_section(
    name: str,
    video: Path,
    truth: Mapping[str, Any],
    found: Sequence[Mapping[str, Any]],
    comparison: Comparison,
) -> str:
    """One clip's errors: captions missed, found wrongly or late, and text misread, each with its strip."""
    expected: Sequence[Mapping[str, Any]] = truth["captions"]
    in_time, found_in_time = ({pair[side] for pair in comparison.on_time} for side in (0, 1))
    like = dict(comparison.overlapping)
    errors: list[str] = []
    for number, caption in enumerate(expected):
        partner = found[like[number]] if number in like else None
        misread = any(number == e for e, _ in comparison.wrong_text)
        if number in in_time and not misread:
            continue
        kind = "missed" if partner is None else "misread" if number in in_time else "wrong times"
        moment = _disputed(caption, partner) if partner and kind == "wrong times" else _middle(caption)
        errors.append(_entry(kind, video, truth, moment, caption, partner))
    matched = set(like.values()) | found_in_time
    for number, caption in enumerate(found):
        if number not in matched:
            errors.append(_entry("nothing there", video, truth, _middle(caption), None, caption))
    return f"<h2>{html.escape(name)}</h2>" + ("".join(errors) or "<p>No errors.</p>")


def page(heading: str, conditions: str, summary: str, sections: Sequence[str]) -> str:
    """The whole page; `summary` is plain text."""
    return (
        f"<!doctype html><meta charset=utf-8><title>{html.escape(heading)}</title><style>{_STYLE}</style>"
        f"<h1>{html.escape(heading)}</h1><pre>{html.escape(conditions)}</pre><pre>{html.escape(summary)}</pre>"
        + "".join(sections)
    )


def _entry(
    kind: str,
    video: Path,
    truth: Mapping[str, Any],
    moment: float,
    expected: Mapping[str, Any] | None,
    found: Mapping[str, Any] | None,
) -> str:
    picture = _strip(video, truth, moment)
    return (
        f"<div class=e><b>{kind}</b>{picture}"
        f"<div><b>expected</b>{_said(expected)}</div><div><b>found</b>{_said(found)}</div></div>"
    )


def _middle(caption: Mapping[str, Any]) -> float:
    return (caption["start_s"] + caption["end_s"]) / 2


def _disputed(expected: Mapping[str, Any], found: Mapping[str, Any]) -> float:
    """In the middle of the time about which both disagree most."""
    end = max(("start_s", "end_s"), key=lambda end: abs(expected[end] - found[end]))
    return (expected[end] + found[end]) / 2


def _said(caption: Mapping[str, Any] | None) -> str:
    if caption is None:
        return "nothing"
    text = html.escape((caption.get("text") or "").replace("\n", " / "))
    return f"{caption['start_s']:.3f} to {caption['end_s']:.3f} s: {text}"


def _strip(video: Path, truth: Mapping[str, Any], time: float) -> str:
    """The captions' part of the frame at `time`, with some room around it, as an <img>."""
    image = _frame(video, truth["video_start_pts_s"] + time)
    if image is None:
        return ""
    height = image.shape[0]
    _, top, _, bottom = truth["region"] or (0.0, 0.0, 1.0, 1.0)
    rows = slice(max(0, int((top - 0.03) * height)), min(height, int((bottom + 0.03) * height)))
    strip = image[rows]
    strip = cv2.resize(
        strip, None, fx=700 / strip.shape[1], fy=700 / strip.shape[1], interpolation=cv2.INTER_AREA
    )
    _, jpeg = cv2.imencode(".jpg", strip, [cv2.IMWRITE_JPEG_QUALITY, 70])
    return f'<img src="data:image/jpeg;base64,{base64.b64encode(jpeg.tobytes()).decode()}">'


def _frame(video: Path, pts_s: float) -> Image | None:
    """The frame on screen at `pts_s` by the file's clock, as displayed (BGR); None beyond the end."""
    shown = None
    with av.open(str(video)) as container:
        container.seek(int(max(0.0, pts_s - 0.001) * av.time_base))
        for frame in container.decode(video=0):
            if shown is not None and frame.time > pts_s:
                break
            shown = frame
    if shown is None:
        return None
    upright = np.rot90(shown.to_ndarray(format="bgr24"), round(shown.rotation / 90))
    return np.ascontiguousarray(upright, np.uint8)
