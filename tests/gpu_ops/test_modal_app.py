"""What is deployed on Modal: by the real `modal deploy`, against a server that keeps what it was told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gpu_ops.functions import FUNCTIONS
from tests.servers.modal_deploying import Deployments
from tests.servers.modal_server import ModalServer

ROOT = Path(__file__).parent.parent.parent
FRAMES = {"av", "numpy", "obstore", "opencv-python-headless", "pillow"}


def deploy(environment: dict[str, str] | None = None) -> Deployments:
    server = ModalServer()
    server.start()
    try:
        done = subprocess.run(
            [Path(sys.executable).parent / "modal", "deploy", "-m", "gpu_ops.modal_app"],
            cwd=ROOT,
            env={**os.environ, **server.environment, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        server.stop()
    assert done.returncode == 0, done.stdout + done.stderr
    return server.deployments


@pytest.fixture(scope="module")
def deployed() -> Deployments:
    return deploy()


def test_every_compute_function_is_deployed_with_its_machine(deployed: Deployments) -> None:
    (app,) = deployed.published
    assert app.name == "captionacc-processing"
    assert {
        name: (
            function.resources.gpu_config.gpu_type,
            function.timeout_secs // 60,
            function.autoscaler_settings.max_containers,
        )
        for name, function in deployed.functions.items()
    } == {
        "extract_frames_and_ocr": ("T4", 30, 5),
        "crop_and_infer_caption_frame_extents": ("A10G", 60, 2),
        "generate_caption_ocr": ("T4", 5, 10),
        "verify_cropped_frames": ("", 10, 5),
        "export_training_data": ("", 60, 2),
    }
    assert set(deployed.functions) == set(FUNCTIONS)


def test_only_what_reads_text_gets_the_key_of_the_service_that_reads(deployed: Deployments) -> None:
    named = {
        name: {secret for secret in function.secret_ids if deployed.secrets[secret].deployment_name}
        for name, function in deployed.functions.items()
    }
    store, google = "st-captionacc-wasabi", "st-captionacc-google"
    assert named == {
        "extract_frames_and_ocr": {store, google},
        "crop_and_infer_caption_frame_extents": {store},
        "generate_caption_ocr": {store, google},
        "verify_cropped_frames": {store},
        "export_training_data": {store},
    }
    assert list(deployed.secrets[google].required_keys) == ["GOOGLE_APPLICATION_CREDENTIALS_JSON"]


def test_the_models_are_in_the_containers_and_nothing_that_only_serves_training(
    deployed: Deployments,
) -> None:
    files = deployed_files(deployed)
    assert set((ROOT / "gpu_ops/extents/models").rglob("*.onnx")) <= files
    assert ROOT / "gpu_ops/modal_app.py" in files
    assert not [file for file in files if {"footage", "synthesis"} & set(file.parts)]


@pytest.mark.parametrize(
    ("function", "packages"),
    [
        ("extract_frames_and_ocr", FRAMES | {"google-cloud-vision"}),
        ("crop_and_infer_caption_frame_extents", FRAMES | {"onnx", "onnxruntime-gpu[cuda,cudnn]"}),
        ("generate_caption_ocr", FRAMES | {"google-cloud-vision"}),
        ("verify_cropped_frames", FRAMES),
        ("export_training_data", FRAMES),
    ],
)
def test_an_image_has_the_pinned_packages_of_its_function_only(
    deployed: Deployments, function: str, packages: set[str]
) -> None:
    (install,) = (line for line in image_lines(deployed, function) if "pip install --python" in line)
    installed = [part.strip("'") for part in install.split() if any(sign in part for sign in "=>")]
    assert {package.split("=")[0].split(">")[0] for package in installed} == packages


def test_the_functions_need_no_more_than_is_deployed(deployed: Deployments, tmp_path: Path) -> None:
    """Called as in a container, without what only some images have, each gets as far as its request."""
    for file in deployed_files(deployed):
        copy = tmp_path / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    absent = ("onnxruntime", "rapidocr", "google.cloud.vision", "dagster", "dagster_pipes", "torch")
    order = {"request": {"added_later": 1}, "store_url": tmp_path.as_uri(), "ocr_engine": "google_vision"}
    script = f"""
import sys
sys.path[0:0] = [{str(tmp_path)!r}]
sys.modules.update(dict.fromkeys({absent!r}))
from gpu_ops import modal_app
assert modal_app.__file__.startswith({str(tmp_path)!r})
for name in {list(FUNCTIONS)!r}:
    print(getattr(modal_app, name).local({{**{order!r}, "function": name}})["failure"]["message"])
"""
    called = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"PATH": "", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert called.stdout.count("another version") == len(FUNCTIONS), called.stdout + called.stderr


def test_machines_and_the_ocr_engine_are_the_deployers_choice() -> None:
    chosen = deploy(
        {
            "CAPTIONACC_MODAL_EXTENTS_GPU": "L4",
            "CAPTIONACC_MODAL_EXTENTS_TIMEOUT_S": "7200",
            "CAPTIONACC_MODAL_CAPTIONS_GPU": "none",
            "CAPTIONACC_MODAL_CAPTIONS_CONTAINERS": "3",
            "CAPTIONACC_OCR_ENGINE": "rapid",
            "CAPTIONACC_MODAL_APP_NAME": "captionacc-trial",
        }
    )
    extents = chosen.functions["crop_and_infer_caption_frame_extents"]
    captions = chosen.functions["generate_caption_ocr"]
    assert (extents.resources.gpu_config.gpu_type, extents.timeout_secs) == ("L4", 7200)
    assert (captions.resources.gpu_config.gpu_type, captions.autoscaler_settings.max_containers) == ("", 3)
    assert "st-captionacc-google" not in chosen.secrets
    assert any("rapidocr==" in line for line in image_lines(chosen, "generate_caption_ocr"))
    assert chosen.published[0].name == "captionacc-trial"


def image_lines(deployments: Deployments, function: str) -> list[str]:
    """The build commands of the function's image, its bases' included."""
    lines: list[str] = []
    images: list[Any] = [deployments.images[deployments.functions[function].image_id]]
    while images:
        image = images.pop()
        lines += image.dockerfile_commands
        images += [deployments.images[base.image_id] for base in image.base_images]
    return lines


def deployed_files(deployments: Deployments) -> set[Path]:
    """The files of ours that are in the containers."""
    (files,) = (
        [file.filename for file in mount.files] for mount in deployments.mounts.values() if mount.files
    )
    return {ROOT / Path(file).relative_to("/root") for file in files}
