"""The compute functions on Modal: `make deploy-compute` deploys them. Importing this needs no credentials.

What each computes on is read from the environment of whoever deploys it (`gpu_ops.machines`); so is which
engine reads text, and with it what has to be installed. A call takes an order of `gpu_ops.orders` and answers
what that answers, so failures cross as data; what it says on the way is a line of its log each.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import modal

from gpu_ops.machines import MACHINES
from gpu_ops.store import ACCESS_VARIABLES

APP_NAME = os.environ.get("CAPTIONACC_MODAL_APP_NAME") or "captionacc-processing"
STORE_SECRET = os.environ.get("CAPTIONACC_MODAL_STORE_SECRET") or "captionacc-wasabi"
GOOGLE_SECRET = os.environ.get("CAPTIONACC_MODAL_GOOGLE_SECRET") or "captionacc-google"
OCR_ENGINE = os.environ.get("CAPTIONACC_OCR_ENGINE") or "google_vision"
THREADS_VARIABLE = "CAPTIONACC_THREADS"


def _pinned(*extras: str) -> list[str]:
    """The store's client and the packages of these extras, as pyproject.toml pins them."""
    if not modal.is_local():
        return []  # in a container everything is installed
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    store = [package for package in project["dependencies"] if package.startswith("obstore")]
    return [*store, *(package for extra in extras for package in project["optional-dependencies"][extra])]


def _image(*extras: str) -> modal.Image:
    return (
        modal.Image.debian_slim("3.11")
        .uv_pip_install(_pinned("frames", *extras))
        # Without `video` Modal's driver libraries lack NVIDIA's decoder.
        .env({"NVIDIA_DRIVER_CAPABILITIES": "compute,utility,video"})
        .add_local_python_source("gpu_ops", ignore=_is_not_needed)
    )


def _is_not_needed(path: Path) -> bool:
    """Whether a file of gpu_ops serves training and demonstration only."""
    return bool({"__pycache__", "footage", "synthesis"} & set(path.parts)) or path.suffix in (".md", ".pyc")


READING_EXTRA = "vision" if OCR_ENGINE == "google_vision" else "rapid"
STORE = modal.Secret.from_name(STORE_SECRET, required_keys=list(ACCESS_VARIABLES.values()))
READING_SECRETS = (
    [STORE, modal.Secret.from_name(GOOGLE_SECRET, required_keys=["GOOGLE_APPLICATION_CREDENTIALS_JSON"])]
    if OCR_ENGINE == "google_vision"
    else [STORE]
)

app = modal.App(APP_NAME, include_source=False)


def _deployed(function: str, image: modal.Image, secrets: Sequence[modal.Secret]) -> Any:
    machine = MACHINES[function].as_set()
    return app.function(
        name=function,
        image=image,
        gpu=None if machine.gpu == "none" else machine.gpu,
        timeout=machine.timeout_s,
        max_containers=machine.containers,
        cpu=machine.cpus,
        memory=machine.memory_mb,
        env={THREADS_VARIABLE: str(machine.cpus)},
        secrets=secrets,
    )


@_deployed("extract_frames_and_ocr", _image(READING_EXTRA), READING_SECRETS)
def extract_frames_and_ocr(order: dict[str, Any]) -> dict[str, Any]:
    return _carry_out(order)


@_deployed("crop_and_infer_caption_frame_extents", _image("cuda"), [STORE])
def crop_and_infer_caption_frame_extents(order: dict[str, Any]) -> dict[str, Any]:
    return _carry_out(order)


@_deployed("generate_caption_ocr", _image(READING_EXTRA), READING_SECRETS)
def generate_caption_ocr(order: dict[str, Any]) -> dict[str, Any]:
    return _carry_out(order)


@_deployed("verify_cropped_frames", _image(), [STORE])
def verify_cropped_frames(order: dict[str, Any]) -> dict[str, Any]:
    return _carry_out(order)


@_deployed("export_training_data", _image(), [STORE])
def export_training_data(order: dict[str, Any]) -> dict[str, Any]:
    return _carry_out(order)


def _carry_out(order: dict[str, Any]) -> dict[str, Any]:
    # Whoever deploys needs none of the libraries that compute.
    from gpu_ops.orders import carry_out  # noqa: PLC0415

    def say(message: dict[str, Any]) -> None:
        print(json.dumps(message), flush=True)

    return carry_out({**order, "threads": int(os.environ.get(THREADS_VARIABLE, "1"))}, say)
