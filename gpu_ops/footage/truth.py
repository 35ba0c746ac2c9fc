"""Ground truth of a rendered film, as JSON: which text stood on screen from when to when, by the file's own
clock."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpu_ops.contract import GRID_HZ
from gpu_ops.footage.film import Caption

# Below this opacity nobody who pauses the film would see a caption, so a fade begins and ends there.
VISIBLE_OPACITY = 0.1

Box = tuple[int, int, int, int]


def shows(caption: Caption, time: float) -> bool:
    """Whether the frame at `time` seconds shows the caption to a viewer who pauses there."""
    return caption.opacity(time) >= VISIBLE_OPACITY


def ground_truth(
    name: str,
    captions: Sequence[Caption],
    boxes: Sequence[Box],
    frame_times: Sequence[float],
    pts: Sequence[float],
    end_s: float,
    size: tuple[int, int],
) -> dict[str, Any]:
    """What is on screen when.

    `frame_times` are the times the film was drawn for, `pts` the same frames' presentation times in the file
    (s), `end_s` when the last of them leaves the screen (same clock as `pts`), `boxes` the captions' ink in
    pixels of a frame of `size` (width, height). The answer's times are seconds after the first frame:
    `start_s` of the first frame that shows the caption, `end_s` of the first that does not.
    `first_frame_10hz` and `last_frame_10hz` are the first and last grid index at which it is on screen.
    Captions that no frame shows are left out.
    """
    leaves = [*pts[1:], end_s]
    listed: list[dict[str, Any]] = []
    width, height = size
    for caption, (left, top, right, bottom) in zip(captions, boxes, strict=True):
        frames = [number for number, time in enumerate(frame_times) if shows(caption, time)]
        if not frames:
            continue
        start, end = pts[frames[0]] - pts[0], leaves[frames[-1]] - pts[0]
        listed.append(
            {
                "start_s": round(start, 6),
                "end_s": round(end, 6),
                "text": caption.text,
                "first_frame_10hz": math.ceil(start * GRID_HZ - 1e-6),
                "last_frame_10hz": math.ceil(end * GRID_HZ - 1e-6) - 1,
                "box": [
                    round(left / width, 4),
                    round(top / height, 4),
                    round(right / width, 4),
                    round(bottom / height, 4),
                ],
            }
        )
    listed.sort(key=lambda item: (item["start_s"], item["end_s"]))
    return {
        "name": name,
        "video_start_pts_s": round(pts[0], 6),
        "duration_s": round(end_s - pts[0], 6),
        "width": width,
        "height": height,
        "frame_count": len(pts),
        "region": _union([item["box"] for item in listed]),
        "captions": listed,
    }


def _union(boxes: Sequence[Sequence[float]]) -> list[float] | None:
    """The smallest rectangle around all captions: left, top, right, bottom in fractions, origin at the top
    left."""
    if not boxes:
        return None
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return [max(0.0, min(lefts)), max(0.0, min(tops)), min(1.0, max(rights)), min(1.0, max(bottoms))]


def truth_path(video: Path) -> Path:
    """Where the ground truth of `video` lies: beside it, `<stem>.gt.json`."""
    return video.with_name(f"{video.stem}.gt.json")


def write_truth(video: Path, truth: dict[str, Any]) -> Path:
    """Write `truth` beside `video`; returns where."""
    path = truth_path(video)
    path.write_text(json.dumps(truth, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return path


def read_truth(video: Path) -> dict[str, Any]:
    """The ground truth written beside `video`. Raises FileNotFoundError."""
    return json.loads(truth_path(video).read_text(encoding="utf-8"))
