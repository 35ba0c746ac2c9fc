"""Which frames show the picture behind a caption: those beside it that show none, if the picture stays."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from gpu_ops.contract import FrameRange
from gpu_ops.ocr.engine import Image

# Frames of these indices lie in the chunks that are decoded for median frames anyway.
_EVERY = 4
# Levels between two pictures of one scene, in the median of all pixels: what noise and compression do.
_STILL = 8


def frames_beside(caption: FrameRange, gaps: Sequence[FrameRange]) -> list[int]:
    """At most two frames, ascending, that show no caption: one shortly before it, one shortly after.

    `gaps` are stretches without captions. Their first and last frames may still show a trace of one.
    """
    before = [gap for gap in gaps if gap.end_frame == caption.start_frame]
    after = [gap for gap in gaps if gap.start_frame == caption.end_frame]
    return [_inside(gap)[-1] for gap in before] + [_inside(gap)[0] for gap in after]


def _inside(gap: FrameRange) -> Sequence[int]:
    """Its frames but the first and last, if there are others, and of them those that cost little, if any."""
    inner = range(gap.start_frame + 1, gap.end_frame - 1) or range(gap.start_frame, gap.end_frame)
    return [index for index in inner if index % _EVERY == 0] or inner


def behind(caption: Image, beside: Sequence[Image]) -> Image | None:
    """Of frames without the caption, the one that shows the same scene as the caption's median frame.

    All are uint8 (H, W, 3). None where each of them shows another picture.
    """
    stirs = [float(np.median(cv2.absdiff(caption, frame))) for frame in beside]
    return beside[int(np.argmin(stirs))] if min(stirs, default=256.0) <= _STILL else None
