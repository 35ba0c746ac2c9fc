"""What a machine's NVIDIA GPU does here, where there is one: the pair model in half precision, and decoding.

Without one, or where it fails, the CPU does the same; a result says which of them it was (`computed_on`).
"""

from __future__ import annotations

import functools
import io
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import av
import numpy as np
from av.codec.hwaccel import HWAccel
from av.error import FFmpegError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
# Strips come in one size a video: trying every algorithm for it costs more than it gives.
CUDA_OPTIONS = {"cudnn_conv_algo_search": "HEURISTIC"}

logger = logging.getLogger(__name__)


def open_session(path: Path, threads: int) -> InferenceSession:
    """The ONNX model on the GPU in half precision if it works there, else on `threads` threads of the CPU."""
    # Machines that never ask a model have no onnxruntime.
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if CUDA in onnxruntime.get_available_providers():
        onnxruntime.preload_dlls()
        providers: list[Any] = [(CUDA, CUDA_OPTIONS), CPU]
        session = onnxruntime.InferenceSession(in_half_precision(path), options, providers=providers)
        # Where CUDA cannot be used, the session is there, but on the CPU.
        if is_on_gpu(session):
            return session
    return onnxruntime.InferenceSession(path, options, providers=[CPU])


def is_on_gpu(session: InferenceSession) -> bool:
    return CUDA in session.get_providers()


def in_half_precision(path: Path) -> bytes:
    """The ONNX model computing in float16; what goes in and comes out has the types it had."""
    import onnx  # noqa: PLC0415
    from onnxruntime.transformers.float16 import convert_float_to_float16  # noqa: PLC0415

    model = cast(Any, convert_float_to_float16)(onnx.load(path), keep_io_types=True)
    return model.SerializeToString()


@functools.cache
def video_decoder() -> HWAccel | None:
    """NVIDIA's decoder, to open videos with, if it decodes a small clip exactly as the CPU does."""
    decoder = HWAccel("cuda", allow_software_fallback=True)
    try:
        decoder.create(av.Codec("h264", "r"))
        clip = _small_clip()
        if _decoded(clip, decoder) == _decoded(clip, None):
            return decoder
        logger.warning("the GPU decodes other pictures than the CPU: it is not used for decoding")
    except (FFmpegError, NotImplementedError):
        logger.debug("no NVIDIA decoder", exc_info=True)
    return None


def computed_on(session_on_gpu: bool) -> str:
    """As results say it."""
    model = "CUDA in half precision" if session_on_gpu else "CPU"
    return f"{model}, decoded by {'NVDEC' if video_decoder() else 'CPU'}"


def _small_clip() -> bytes:
    """Half a second of moving H.264 with frames in another order than they are shown in."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=24, options={"bf": "2"})
        stream.width, stream.height, stream.pix_fmt = 320, 192, "yuv420p"
        noise = np.random.default_rng(1).integers(0, 255, (192, 320, 3), np.uint8)
        for number in range(12):
            frame = av.VideoFrame.from_ndarray(np.roll(noise, 4 * number, axis=1), "bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def _decoded(clip: bytes, decoder: HWAccel | None) -> list[tuple[object, ...]]:
    """Each picture with what has to be known to show it."""
    with av.open(io.BytesIO(clip), "r", hwaccel=decoder) as container:
        return [
            (
                *(frame.pts, frame.color_range, frame.colorspace, frame.color_trc),
                frame.to_ndarray(format="yuv420p").tobytes(),
            )
            for frame in container.decode(video=0)
        ]
