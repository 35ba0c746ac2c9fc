"""From whatever a decoder gives out to 8-bit pictures, so that text keeps its contrast.

High dynamic range (PQ, HLG) is brought to ordinary 8-bit video with reference white near the top of the
scale, where subtitles sit; without that they come out mid-grey.
"""

from __future__ import annotations

from functools import cache
from typing import cast

import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, ColorTrc, Interpolation
from numpy.typing import NDArray

_UNSPECIFIED_MATRIX = 2
HDR_REFERENCE_WHITE_NITS = 203.0  # ITU-R BT.2408: where graphics and subtitles lie
HD_MIN_HEIGHT_PX = 720

# ITU-R BT.2087: linear BT.2020 to BT.709 primaries.
_BT2020_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], dtype=np.float32
)


def to_bgr(frame: VideoFrame, width: int, height: int) -> NDArray[np.uint8]:
    """The whole frame as height x width x 3 BGR (0-255), scaled to that size, tone-mapped when it is HDR."""
    if frame.color_trc not in (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67):
        return _reformat(frame, width, height, "bgr24")
    rgb = _reformat(frame, width, height, "rgb48le")
    linear = np.take(_linear_light(frame.color_trc, 16), rgb) @ _BT2020_TO_BT709.T
    return np.ascontiguousarray((_display_code(linear) * 255 + 0.5).astype(np.uint8)[..., ::-1])


def luma_table(transfer: int, full_range: bool) -> NDArray[np.uint8] | None:
    """A 256-entry table that brings 8-bit luma to limited range (16-235); None if it is in it already.

    For HDR it is the tone curve of to_bgr applied to luma alone: colours keep their chroma, text its
    contrast.
    """
    hdr = transfer in (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)
    if not hdr and not full_range:
        return None
    code = np.arange(256) / 255 if full_range else np.clip((np.arange(256) - 16) / 219, 0, 1)
    if hdr:
        code = _display_code(_linear_light(transfer, 16)[(code * 65535).astype(np.int64)])
    return (16 + 219 * code + 0.5).astype(np.uint8)


def chroma_table() -> NDArray[np.uint8]:
    """A 256-entry table from full-range to limited-range chroma."""
    return np.round(128 + (np.arange(256) - 128) * (112 / 127.5)).clip(16, 240).astype(np.uint8)


def matrix_of(frame: VideoFrame) -> int:
    """The Y'CbCr matrix (a swscale constant) of the frame; untagged HD is taken for BT.709, as players do."""
    if frame.colorspace == _UNSPECIFIED_MATRIX:
        return Colorspace.ITU709 if frame.height >= HD_MIN_HEIGHT_PX else Colorspace.ITU601
    return frame.colorspace


def is_full_range(frame: VideoFrame) -> bool:
    """Whether luma runs from 0 to 255 (at 8 bits)."""
    return frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")


def _reformat(frame: VideoFrame, width: int, height: int, pixel_format: str) -> NDArray[np.uint8]:
    source_matrix = None if frame.format.is_rgb else matrix_of(frame)
    converted = frame.reformat(
        width=width,
        height=height,
        format=pixel_format,
        src_colorspace=source_matrix,
        interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND,
        threads=1,
    )
    return cast(NDArray[np.uint8], converted.to_ndarray())  # or uint16, for rgb48le


@cache
def _linear_light(transfer: int, bits: int) -> NDArray[np.float32]:
    """Light, in multiples of reference white, of each code value of PQ (SMPTE ST 2084) or HLG (BT.2100)."""
    code = np.linspace(0, 1, 1 << bits)
    if transfer == ColorTrc.SMPTE2084:
        root = code ** (1 / 78.84375)
        nits = 10_000 * (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (
            1 / 0.1593017578125
        )
    else:
        scene = np.where(
            code <= 0.5, code**2 / 3, (np.exp((code - 0.55991073) / 0.17883277) + 0.28466892) / 12
        )
        nits = 1000 * scene**1.2
    return (nits / HDR_REFERENCE_WHITE_NITS).astype(np.float32)


def _display_code(linear: NDArray[np.float32]) -> NDArray[np.float32]:
    """Display code (0-1, gamma 2.2) of linear light; reference white gives 0.92, ten times that 1.0.

    Reinhard's extended tone curve (Reinhard et al. 2002), scaled so that reference white stays bright.
    """
    peak = 10.0
    light = np.maximum(linear, 0) * 4
    mapped = light * (1 + light / (4 * peak) ** 2) / (1 + light)
    return np.minimum(mapped, 1) ** np.float32(1 / 2.2)


def apply_table(plane: NDArray[np.uint8], table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The plane with each value looked up in the 256-entry table."""
    return np.asarray(cv2.LUT(plane, table), dtype=np.uint8)
