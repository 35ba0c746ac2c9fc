"""How near the crop-and-infer stage comes to what the GPU's own decoder could deliver, where there is CUDA.

    make bench-gpu                                                      # ten minutes of 1080p, drawn first
    python -m bench.gpu --film film.mp4 --region 0.1,0.78,0.9,0.97      # a film of yours

The decoder's limit is the same film decoded on the GPU (NVDEC) with no picture ever leaving it. The stage is
the product's, without writing chunks; beside it stands its first half, decoding and cropping, alone.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import av
import onnxruntime
from av.codec.hwaccel import HWAccel

from bench.media import OUT, MissingMedia
from bench.speed import long_video
from gpu_ops import gpu
from gpu_ops.extents.model import GPU_BATCH, PairModel
from gpu_ops.extents.predict import ExtentPredictor
from gpu_ops.functions import CROPPED_FRAMES_AHEAD
from gpu_ops.regions import CropRegion
from gpu_ops.stages import staged
from gpu_ops.video.ahead import ahead
from gpu_ops.video.crop import CroppedFrame, cropped_frames


def main() -> int:
    """Exit status 2 where nothing can be measured."""
    options = _arguments()
    missing = _missing()
    if missing:
        print(f"Nothing was measured: {missing}")
        return 2
    film, region = options.film, options.region
    if film is None:
        try:
            _, film, truth = long_video(OUT / "clips")
        except MissingMedia as error:
            print(error)
            return 2
        region = CropRegion(*truth["region"])
    _measure(film, region)
    return 0


def _measure(film: Path, region: CropRegion) -> None:
    frames, limit_s = _decoded_on_gpu(film)
    cores = len(os.sched_getaffinity(0))
    print(f"{_gpu()}, {cores} cores of a CPU; {film.name}, {frames} frames, region {region}")
    print(f"NVDEC alone           {frames / limit_s:6.0f} frames a second")
    model = PairModel.load()
    for frame in cropped_frames(film, region):  # the first use of CUDA takes seconds
        _captions(model, [frame])
        break
    began = time.monotonic()
    for _ in cropped_frames(film, region, native=True):
        pass
    crop_s = time.monotonic() - began
    cropped = staged("decode and crop", cropped_frames(film, region, native=True))
    captions = _captions(model, ahead(cropped, CROPPED_FRAMES_AHEAD))
    both_s = time.monotonic() - began - crop_s
    for what, seconds in (("decode and crop", crop_s), ("decode, crop and infer", both_s)):
        print(f"{what:22s}{frames / seconds:6.0f} frames a second, {limit_s / seconds:.0%} of that limit")
    print(f"{captions} captions, computed on {gpu.computed_on(model.on_gpu)}")


def _decoded_on_gpu(film: Path) -> tuple[int, float]:
    """How many frames NVDEC decodes when they stay on the GPU, and in how many seconds."""
    began = time.monotonic()
    with av.open(str(film), hwaccel=HWAccel("cuda", is_hw_owned=True)) as container:
        frames = sum(1 for _ in container.decode(video=0))
    return frames, time.monotonic() - began


def _captions(model: PairModel, frames: Iterable[CroppedFrame]) -> int:
    """How many captions the pair model finds in the frames."""
    predictor = ExtentPredictor(model, GPU_BATCH)
    for frame in frames:
        predictor.add(frame)
    return sum(extent.state == "predicted" for extent in predictor.finish().extents)


def _missing() -> str:
    if not _gpu():
        return "there is no CUDA on this machine (nvidia-smi finds no GPU)."
    if gpu.CUDA not in onnxruntime.get_available_providers():
        return "this onnxruntime has no CUDA: install onnxruntime-gpu in its place."
    if gpu.video_decoder() is None:
        return "NVDEC does not decode here, or other pictures than the CPU."
    return ""


def _gpu() -> str:
    """The GPU's name, empty where there is none."""
    if not shutil.which("nvidia-smi"):
        return ""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--film", type=Path, help="instead of the drawn one; with --region")
    parser.add_argument("--region", type=CropRegion.parse, metavar="LEFT,TOP,RIGHT,BOTTOM")
    options = parser.parse_args()
    if (options.film is None) != (options.region is None):
        parser.error("--film and --region go together")
    return options


if __name__ == "__main__":
    sys.exit(main())
