"""How long the whole job takes on ten minutes of 1080p, beside merely decoding the same file."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from bench.clips import Clip, clips, region_of
from bench.product import Cost, Outcome, baseline_captions, measured, process_video

# 75 s eight times over: full frames, ten seconds apart, meet fifteen different moments of the film, not six.
_FILM_S = 75
_TURNS = 8
_LOOP = "import av,sys\nwith av.open(sys.argv[1]) as c:\n for f in c.decode(video=0): pass"


DECODER = "ffmpeg -f null" if shutil.which("ffmpeg") else "PyAV decoding loop (there is no ffmpeg here)"


@dataclass(frozen=True)
class Speed:
    """The whole job and plain decoding on the same file, in the same run; the SSIM baseline on its first
    `excerpt_s` seconds, or None."""

    video_s: float
    job: Outcome
    decoding: Cost
    excerpt_s: float
    baseline: Cost | None


def decoding_cost(video: Path) -> Cost:
    """What merely decoding the video takes, with DECODER."""
    if shutil.which("ffmpeg"):
        return measured(["ffmpeg", "-v", "error", "-i", video, "-map", "0:v:0", "-f", "null", "-"])
    return measured([sys.executable, "-c", _LOOP, video])


def measure_speed(folder: Path, with_baseline: bool) -> Speed:
    """Measure on a film of ten minutes, 1080p30 H.264 (x264 medium, crf 23), made once and kept in
    `folder`. The baseline takes too long for all of it."""
    short, video, truth = long_video(folder)
    decoding = decoding_cost(video)
    job = process_video(video, "en")
    if not job.captions:
        raise RuntimeError("No captions were found in the speed film: what it cost is not the whole job.")
    region = region_of(truth)
    assert region is not None
    baseline = baseline_captions(short, region, "en")[1] if with_baseline else None
    return Speed(_FILM_S * _TURNS, job, decoding, _FILM_S, baseline)


def long_video(folder: Path) -> tuple[Path, Path, Mapping[str, Any]]:
    """A short film encoded as a long one would be, and a long one of its packets repeated: the same work to
    decode. Answers both and the short one's truth."""
    (english,) = clips(_FILM_S, only=["english"])
    part: Clip = replace(
        english,
        name="speed",
        film=replace(english.film, width=1920, height=1080, fps=30),
        options={"preset": "medium", "crf": "23", "g": "250", "x264-params": "open-gop=0"},
    )
    short, truth = part.rendered(folder)
    path = short.with_name(f"{short.stem}-x{_TURNS}.mp4")
    if not path.exists():
        unfinished = path.with_suffix(".part.mp4")
        _repeat(short, unfinished, _TURNS)
        unfinished.rename(path)
    return short, path, truth


def _repeat(source: Path, target: Path, times: int) -> None:
    with av.open(str(target), "w") as copy:
        stream = None
        for turn in range(times):
            with av.open(str(source)) as original:
                video = original.streams.video[0]
                stream = stream or copy.add_stream_from_template(video)
                base = video.time_base or Fraction(1, 1)
                shift = round(turn * _FILM_S / base)
                for packet in original.demux(video):
                    if packet.pts is None or packet.dts is None:
                        continue
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = stream
                    copy.mux(packet)
