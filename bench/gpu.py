"""`make bench-gpu`: how near the crop-and-infer stage comes to what the GPU's own decoder could deliver.

Runs where there is CUDA, and says so where there is none. The decoder's limit is FFmpeg decoding the same
film on the GPU (NVDEC) and throwing the frames away.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import av
import onnxruntime

from bench.media import OUT, MissingMedia
from bench.product import measured
from bench.speed import long_video
from gpu_ops.contract import CropRegion
from gpu_ops.extents.model import PairModel
from gpu_ops.extents.predict import ExtentPredictor
from gpu_ops.video.crop import cropped_frames


def main() -> int:
    """Exit status 2 where nothing can be measured."""
    missing = _missing()
    if missing:
        print(f"Nothing was measured: {missing}")
        return 2
    try:
        _, video, truth = long_video(OUT / "clips")
    except MissingMedia as error:
        print(error)
        return 2
    with av.open(str(video)) as container:
        frames = sum(1 for packet in container.demux(video=0) if packet.size)
    command = ["ffmpeg", "-v", "error", "-hwaccel", "cuda", "-hwaccel_output_format", "cuda", "-i", video]
    limit = frames / measured([*command, "-map", "0:v:0", "-f", "null", "-"]).wall_s
    ours = frames / _crop_and_infer_s(video, CropRegion(*truth["region"]))
    print(f"{_gpu()}, {frames} frames of 1080p: NVDEC alone {limit:.0f} a second")
    print(f"crop and infer {ours:.0f} a second: {ours / limit:.0%} of the decoder's limit")
    return 0


def _crop_and_infer_s(video: Path, region: CropRegion) -> float:
    """Wall seconds of decoding, cropping and the pair model, as in the product, without writing chunks."""
    predictor = ExtentPredictor(PairModel.load())
    began = time.monotonic()
    for frame in cropped_frames(video, region, native=True):
        predictor.add(frame)
    predictor.finish()
    return time.monotonic() - began


def _missing() -> str:
    if not _gpu():
        return "there is no CUDA on this machine (nvidia-smi finds no GPU)."
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return "this onnxruntime has no CUDA: install onnxruntime-gpu in its place."
    if not shutil.which("ffmpeg"):
        return "there is no ffmpeg command to measure the decoder's limit with."
    return ""


def _gpu() -> str:
    """The GPU's name, empty where there is none."""
    if not shutil.which("nvidia-smi"):
        return ""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
