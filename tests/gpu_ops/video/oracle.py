"""What a plain sequential decode of a whole file shows when: the truth the fast paths are held against."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray


class Oracle:
    """All frames of a small file, with their times in seconds after the first."""

    def __init__(self, path: Path) -> None:
        with av.open(f"file:{path}") as container:
            stream = next(s for s in container.streams.video)
            self.frames: list[av.VideoFrame] = []
            demuxed = container.demux(stream)
            while (packet := next(demuxed, None)) is not None:
                try:
                    self.frames += packet.decode()
                except av.FFmpegError:
                    continue
            base = stream.time_base
            rate = stream.average_rate
        assert self.frames
        assert base is not None
        first = self.frames[0].pts
        self.times = [
            float((f.pts - first) * base) if f.pts is not None else number / float(rate or 1)
            for number, f in enumerate(self.frames)
        ]

    def shown(self, t: float) -> av.VideoFrame:
        """The last frame whose time is <= t."""
        return self.frames[max(0, int(np.searchsorted(self.times, t + 1e-4, side="right")) - 1)]


def luma(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """The frame's luma plane as decoded (8-bit formats only)."""
    plane = frame.planes[0]
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width]
