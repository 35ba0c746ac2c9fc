"""The marks codecs leave on strips, by really encoding and decoding them."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Frames = list[NDArray[np.uint8]]


def through_codec(rng: random.Random, frames: Sequence[NDArray[np.uint8]], fps: int = 10) -> Frames:
    """The luma frames (even height and width) after H.264, VP9, JPEG, or untouched, at a random quality."""
    kind = rng.choices(["h264", "jpeg", "vp9", "none"], [0.68, 0.17, 0.03, 0.12])[0]
    if kind == "h264":
        options = {
            "crf": str(rng.choice([18, 23, 23, 26, 28, 31, 34, 37])),
            "preset": rng.choice(["ultrafast", "superfast", "veryfast"]),
            "g": str(rng.choice([5, 25, 250])),
        }
        return video_round_trip(frames, "libx264", options, fps)
    if kind == "vp9":
        return video_round_trip(
            frames,
            "libvpx-vp9",
            {"crf": str(rng.randint(25, 50)), "b": "0", "cpu-used": "8", "deadline": "realtime"},
            fps,
        )
    if kind == "jpeg":
        quality = rng.randint(25, 90)
        coded = (cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1] for frame in frames)
        return [np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8) for data in coded]
    return list(frames)


def video_round_trip(
    frames: Sequence[NDArray[np.uint8]], codec: str, options: dict[str, str], fps: int
) -> Frames:
    """Encode luma frames (even height and width) with `codec` into memory and decode them again."""
    height, width = frames[0].shape
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as out:
        stream = out.add_stream(codec, rate=fps, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.thread_count = 1
        chroma = np.full((height // 2, width), 128, np.uint8)
        for plane in frames:
            picture = av.VideoFrame.from_ndarray(np.concatenate([plane, chroma]), format="yuv420p")
            out.mux(stream.encode(picture))
        out.mux(stream.encode())
    file.seek(0)
    with av.open(file, "r") as source:
        source.streams.video[0].thread_count = 1
        return [_luma(frame) for frame in source.decode(video=0)]


def _luma(frame: av.VideoFrame) -> NDArray[np.uint8]:
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width].copy()
