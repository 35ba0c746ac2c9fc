"""When each frame of a video is on screen, learnt from the packets alone, without decoding.

Containers' own statements (duration, frame rate, frame count) are not trusted: they lie in cut, edited and
variable-frame-rate files.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gpu_ops.contract import GRID_HZ, BadVideo
from gpu_ops.video.container import open_video, packets

# A frame this much late still counts for a grid position: containers round times to their clock.
GRID_TOLERANCE_S = 1e-4
FALLBACK_FRAME_S = Fraction(1, 25)


@dataclass(frozen=True, eq=False)
class Timeline:
    """Presentation times of the displayed frames, in ticks of `time_base` seconds.

    `pts`: ascending, `pts[0]` is t = 0. `end`: when the last frame's time is over. `keys`: those of `pts` at
    which decoding can start. `has_pts`: False where the file gives no presentation times; then the k-th
    decoded frame is shown at `pts[k]`, and seeking is not possible. `video_bytes`: size of the stream's
    packets.
    """

    time_base: Fraction
    pts: NDArray[np.int64]
    end: int
    keys: NDArray[np.int64]
    has_pts: bool
    video_bytes: int

    @property
    def duration(self) -> float:
        """Seconds from the first displayed frame to the end of the last one."""
        return float((self.end - int(self.pts[0])) * self.time_base)

    @property
    def grid_frame_count(self) -> int:
        """Number of positions i on the 10 Hz grid with i / 10 < duration."""
        ticks = (self.end - int(self.pts[0])) * self.time_base - Fraction(GRID_TOLERANCE_S)
        return max(1, -int(-ticks * GRID_HZ // 1))

    def seconds(self, pts: int) -> float:
        """Seconds after the first displayed frame."""
        return float((pts - int(self.pts[0])) * self.time_base)

    def after(self, pts: int) -> int:
        """PTS of the frame after the one at `pts`, the end after the last one."""
        place = int(np.searchsorted(self.pts, pts, side="right"))
        return int(self.pts[place]) if place < len(self.pts) else self.end

    def shown_at(self, times: NDArray[np.float64]) -> NDArray[np.int64]:
        """PTS of the frame on screen at each time (seconds): the last with PTS <= t, else the first."""
        ticks = np.floor((times + GRID_TOLERANCE_S) / float(self.time_base)).astype(np.int64) + self.pts[0]
        return self.pts[np.maximum(np.searchsorted(self.pts, ticks, side="right") - 1, 0)]

    def starting_at(self, first_pts: int) -> Timeline:
        """The same without what lies before `first_pts`, such as a first group whose key frame is missing."""
        keys, pts = self.keys[self.keys >= first_pts], self.pts[self.pts >= first_pts]
        return Timeline(self.time_base, pts, self.end, keys, self.has_pts, self.video_bytes)


def read_timeline(path: Path) -> Timeline:
    """Read every packet header of the file. Raises BadVideo when there is no packet."""
    pts, dts, keys = array("q"), array("q"), array("q")
    last_duration, size, has_pts = 0, 0, True
    with open_video(path) as (container, stream):
        time_base = stream.time_base or Fraction(1, 90000)
        frame_rate = stream.average_rate
        for packet in packets(container, stream):
            if packet.size == 0 or packet.is_discard:
                continue
            size += packet.size
            has_pts = has_pts and packet.pts is not None
            if packet.pts is not None:
                if not pts or packet.pts >= max(pts[-1], pts[0]):
                    last_duration = packet.duration or 0
                pts.append(packet.pts)
                if packet.is_keyframe:
                    keys.append(packet.pts)
            dts.append(packet.dts if packet.dts is not None else len(dts))
    if not dts:
        raise BadVideo("The file holds no video frames. Was the upload interrupted? Upload it again.")
    times = np.unique(np.frombuffer(pts if has_pts else dts, dtype=np.int64))
    if last_duration <= 0:
        typical = int(np.median(np.diff(times))) if len(times) > 1 else 0
        last_duration = typical or round((1 / frame_rate if frame_rate else FALLBACK_FRAME_S) / time_base)
    return Timeline(
        time_base=time_base,
        pts=times,
        end=int(times[-1]) + max(1, last_duration),
        keys=np.unique(np.frombuffer(keys, dtype=np.int64)) if keys else times[:1],
        has_pts=has_pts,
        video_bytes=size,
    )
