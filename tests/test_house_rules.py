"""The rules of the house: which package may import what, and that the control plane never needs pixels."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "cv2", "av", "onnxruntime", "numpy", "rapidocr", "PIL")
BLOCKER = f"""
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HEAVY!r}:
            raise ImportError(name + " is not part of the control plane")
sys.meta_path.insert(0, Blocker())
"""


def imports(path: Path) -> Iterator[str]:
    """Top-level names that a module imports anywhere in its code."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("path", sorted((ROOT / "captionacc_dagster").rglob("*.py")), ids=str)
def test_a_control_plane_module_imports_no_pixel_library(path: Path) -> None:
    assert not set(imports(path)) & set(HEAVY)


@pytest.mark.parametrize("path", sorted((ROOT / "gpu_ops").rglob("*.py")), ids=str)
def test_a_data_plane_module_imports_neither_dagster_nor_supabase_nor_the_control_plane(path: Path) -> None:
    assert not set(imports(path)) & {"dagster", "supabase", "captionacc_dagster"}


def test_the_control_plane_loads_and_ticks_without_pixel_libraries(tmp_path: Path) -> None:
    script = f"""{BLOCKER}
import dagster as dg
from captionacc_dagster.definitions import defs
import captionacc_dagster.cli, captionacc_dagster.process
from captionacc_dagster.catalog import open_catalog
from captionacc_dagster.settings import load_settings, open_store
repository = defs.get_repository_def()
catalog = open_catalog(load_settings())
with dg.DagsterInstance.ephemeral() as instance:
    for sensor in repository.sensor_defs:
        if sensor.name in ("new_videos", "layout_approvals", "caption_ocr_requests", "lost_runs"):
            resources = {{"catalog": catalog, "store": open_store(load_settings())}}
            wanted = {{name: resources[name] for name in sensor.required_resource_keys}}
            with dg.build_sensor_context(instance=instance, repository_def=repository) as context:
                sensor(context, **wanted)
            print("ticked", sensor.name)
"""
    result = subprocess.run(
        [sys.executable, "-c", script],
        env={"PATH": "", "HOME": str(tmp_path), "CAPTIONACC_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    ticked = {line.split()[1] for line in result.stdout.splitlines() if line.startswith("ticked")}
    assert {"new_videos", "layout_approvals", "caption_ocr_requests", "lost_runs"} <= ticked


def test_exactly_one_distribution_provides_cv2_and_it_needs_no_display() -> None:
    providers = {
        distribution.metadata["Name"]
        for distribution in metadata.distributions()
        if any(str(file).startswith("cv2/__init__") for file in distribution.files or [])
    }
    assert providers == {"opencv-python-headless"}
