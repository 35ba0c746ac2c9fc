"""The ONNX models that the rapidocr wheel carries, opened the way a small machine wants them.

We run the models ourselves instead of through rapidocr's pipeline: it enlarges strips before detection, hides
the per-character probabilities, and has no way to say how many threads to use without a configuration file.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

import onnxruntime as ort

DETECTION = "PP-OCRv6_det_small.onnx"
RECOGNITION = "PP-OCRv6_rec_small.onnx"


def open_model(name: str, threads: int, *, keeps_memory: bool = False) -> ort.InferenceSession:
    """A session on the CPU with `threads` threads that sleep while idle.

    One that `keeps_memory` takes a sixth less time for a whole frame, and keeps what the largest one needed.
    Raises FileNotFoundError with a remedy.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = keeps_memory
    return ort.InferenceSession(str(_folder() / name), options, providers=["CPUExecutionProvider"])


def version() -> str:
    """The wheel that the models come from."""
    return importlib.metadata.version("rapidocr")


def _folder() -> Path:
    # find_spec reads no code of the package, so nothing of its logging or configuration happens.
    spec = importlib.util.find_spec("rapidocr")
    folder = Path(spec.origin).parent / "models" if spec and spec.origin else None
    if folder is None or not (folder / RECOGNITION).exists():
        raise FileNotFoundError("the OCR models are missing: install captionacc-dagster[local]")
    return folder
