"""Renders films into real video files, in this process, and writes down what they show."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, cast

import av
import cv2
import numpy as np

from gpu_ops.footage.film import Caption, Film, Image
from gpu_ops.footage.lettering import Strip, set_text
from gpu_ops.footage.rotation import write_rotation
from gpu_ops.footage.truth import ground_truth, write_truth

# Quick settings: footage is rendered far more often than it is kept.
_QUICK: Mapping[str, Mapping[str, str]] = {
    "libx264": {"preset": "veryfast", "crf": "21"},
    "libx265": {"preset": "ultrafast", "crf": "24", "x265-params": "log-level=error"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "7", "crf": "28", "b": "0", "row-mt": "1"},
}
_CLOCK = 90_000


def render(
    film: Film,
    path: Path,
    codec: str = "libx264",
    *,
    options: Mapping[str, str] | None = None,
    pixel_format: Literal["yuv420p", "yuv420p10le"] = "yuv420p",
    rotation: Literal[0, 90, 180, 270] = 0,
    start_pts_s: float = 0.0,
    threads: int = 1,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Encode `film` to `path` (container by suffix), write `<stem>.gt.json` beside it and return that ground
    truth.

    `options` add to, or override, the encoder's quick settings. With `rotation` the picture is stored turned
    and the file tells players to turn it by that many degrees clockwise (MP4 and MOV only). `start_pts_s` is
    the first frame's presentation time. `progress` is called with the fraction done. The same film and
    settings give the same file. Raises ValueError for odd sizes, OSError for a font or photograph that cannot
    be read, av.FFmpegError where the encoder refuses.
    """
    if film.width % 2 or film.height % 2:
        raise ValueError(
            f"a film of {film.width}x{film.height} has no 4:2:0 pictures: use an even width and height"
        )
    ticks, end_tick = _frame_ticks(film)
    times = [float(tick / _CLOCK) for tick in ticks]
    first_tick = round(start_pts_s * _CLOCK)
    stored = (film.height, film.width) if rotation in (90, 270) else (film.width, film.height)

    with av.open(str(path), "w") as container:
        stream = cast(
            av.VideoStream, container.add_stream(codec, rate=Fraction(film.fps).limit_denominator(1001))
        )
        stream.width, stream.height = stored
        stream.pix_fmt = pixel_format
        stream.codec_context.time_base = Fraction(1, _CLOCK)
        stream.codec_context.thread_count = threads
        stream.options = {**_QUICK.get(codec, {}), **(options or {})}
        for number, (tick, image) in enumerate(zip(ticks, pictures(film, times), strict=True)):
            frame = _as_frame(_turned(image, rotation), pixel_format)
            frame.pts, frame.time_base = first_tick + tick, Fraction(1, _CLOCK)
            container.mux(stream.encode(frame))
            if progress:
                progress((number + 1) / len(ticks))
        container.mux(stream.encode(None))
    if rotation:
        write_rotation(path, rotation)

    boxes = [set_text(c.text, c.style, film.width, film.height).box for c in film.captions]
    pts = presentation_times(path)
    end_s = pts[-1] + (end_tick - ticks[-1]) / _CLOCK
    truth = ground_truth(path.stem, film.captions, boxes, times, pts, end_s, (film.width, film.height))
    write_truth(path, truth)
    return truth


def pictures(film: Film, times: Sequence[float]) -> Iterator[Image]:
    """The film's pictures at `times` (seconds after the first frame), HxWx3 BGR, unencoded."""
    paint = film.background.painter(film.width, film.height, film.duration, film.seed)
    stamps = [d.stamp(film.width, film.height, film.seed + n) for n, d in enumerate(film.distractors)]
    overlays = [_overlay(caption, film) for caption in film.captions]
    for time in times:
        image = paint(time)
        if film.interlaced:
            image[1::2] = paint(time + 0.5 / film.fps)[1::2]
        for stamp in stamps:
            stamp(image, time)
        for overlay in overlays:
            overlay(image, time)
        yield image


def presentation_times(path: Path) -> list[float]:
    """When each frame of a video file is shown, in seconds by the file's own clock, in order."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        base = stream.time_base or Fraction(1, _CLOCK)
        return sorted(float(p.pts * base) for p in container.demux(stream) if p.pts is not None)


def _frame_ticks(film: Film) -> tuple[list[int], int]:
    """When frames begin, and when the last ends, in ticks of 1/90000 s."""
    step = Fraction(_CLOCK) / Fraction(film.fps).limit_denominator(1001)
    lengths: Iterator[int] = itertools.repeat(1)
    if film.variable_rate:
        rng = np.random.default_rng(film.seed + 1)
        lengths = (int(n) for n in iter(lambda: rng.choice([1, 1, 1, 2, 3, 4]), None))
    ticks: list[int] = []
    position = 0
    for length in lengths:
        ticks.append(round(position * step))
        position += length
        if position * step >= film.duration * _CLOCK - 1:
            break
    return ticks, round(position * step)


def _overlay(caption: Caption, film: Film) -> Callable[[Image, float], None]:
    @functools.lru_cache(maxsize=1)
    def strip(text: str, size: float) -> Strip:
        style = replace(caption.style, size=caption.style.size * size)
        return set_text(text, style, film.width, film.height)

    sung = (
        set_text(caption.text, caption.style, film.width, film.height, caption.style.sung_colour)
        if caption.style.sung_colour
        else None
    )

    def draw(image: Image, time: float) -> None:
        opacity = caption.opacity(time)
        if opacity <= 0:
            return
        strip(*caption.shown(time)).lay_over(image, opacity)
        if sung:
            progress = (time - caption.start_s) / (caption.end_s - caption.start_s)
            sung.lay_over(image, opacity, columns=max(1, round(progress * sung.alpha.shape[1])))

    return draw


def _turned(image: Image, rotation: int) -> Image:
    """The picture as stored in a file that is shown turned clockwise by `rotation` degrees."""
    turns = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}
    return np.asarray(cv2.rotate(image, turns[rotation]), np.uint8) if rotation else image


def _as_frame(image: Image, pixel_format: str) -> av.VideoFrame:
    planes = cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420)
    frame = av.VideoFrame.from_ndarray(np.asarray(planes, np.uint8), format="yuv420p")
    return frame if pixel_format == "yuv420p" else frame.reformat(format=pixel_format)
