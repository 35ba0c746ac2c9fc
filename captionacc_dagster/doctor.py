"""What an installation needs, whether it is there, and what to do where it is not. Changes nothing."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from captionacc_dagster.catalog import open_catalog
from captionacc_dagster.catalog.protocol import CatalogError
from captionacc_dagster.settings import Settings, SettingsError, open_store

State = Literal["ok", "note", "missing"]

# What computing on this machine imports.
COMPUTE_MODULES = ("av", "cv2", "numpy", "onnxruntime", "PIL", "rapidocr")
INSTALL = "pip install 'captionacc-dagster[local]'"
OTHER_HOME = "Set CAPTIONACC_HOME to a folder you may write to."
LITTLE_SPACE_BYTES = 5 << 30
NO_SPACE_BYTES = 500 << 20
HEARTBEAT_TOLERANCE_S = 90.0


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `missing` keeps CaptionAcc from working, a `note` does not."""

    what: str
    state: State
    detail: str
    remedy: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Look at everything once. Takes about two seconds where there is a Dagster instance."""
    return [
        _python(),
        _profile(settings),
        _compute(),
        _cv2(),
        _pair_model(),
        _store(settings),
        _catalog(settings),
        _space(settings),
        *_dagster(settings),
    ]


def is_ready(findings: list[Finding]) -> bool:
    """Whether nothing that is needed is missing."""
    return all(finding.state != "missing" for finding in findings)


def _python() -> Finding:
    return Finding("Python", "ok", f"{sys.version.split()[0]} at {sys.executable}")


def _profile(settings: Settings) -> Finding:
    try:
        settings.refuse_cloud()
    except SettingsError as error:
        return Finding("profile", "missing", "cloud", str(error))
    return Finding("profile", "ok", f"local, everything below {settings.home}")


def _compute() -> Finding:
    absent = [name for name in COMPUTE_MODULES if find_spec(name) is None]
    if absent:
        return Finding("local compute", "missing", f"not installed: {', '.join(absent)}", INSTALL)
    return Finding("local compute", "ok", f"{', '.join(COMPUTE_MODULES)} are installed")


def _cv2() -> Finding:
    builds = sorted(set(metadata.packages_distributions().get("cv2", [])))
    if len(builds) > 1:
        return Finding(
            "OpenCV",
            "missing",
            f"several packages overwrite each other's cv2: {', '.join(builds)}",
            f"pip uninstall -y {' '.join(builds)} && {INSTALL}",
        )
    if builds and "headless" not in builds[0]:
        return Finding("OpenCV", "note", builds[0], "It needs libGL; opencv-python-headless does not.")
    return Finding("OpenCV", "ok", builds[0]) if builds else Finding("OpenCV", "missing", "no cv2", INSTALL)


def _pair_model() -> Finding:
    spec = find_spec("gpu_ops.extents")
    folders = spec.submodule_search_locations if spec else None
    weights = {file.parent.name for folder in folders or () for file in Path(folder).rglob("*.onnx")}
    if not weights:
        return Finding("pair model", "missing", "no weights in gpu_ops/extents", "Install the package again.")
    return Finding("pair model", "ok", ", ".join(sorted(weights)))


def _store(settings: Settings) -> Finding:
    if settings.profile == "cloud":
        return Finding("object store", "note", f"{settings.store_url}, not looked at")
    folder = settings.store_path
    if not folder.exists():
        return _not_made_yet("object store", folder, OTHER_HOME)
    try:
        with tempfile.TemporaryFile(dir=folder):
            open_store(settings)
    except (OSError, SettingsError) as error:
        return Finding("object store", "missing", f"{folder}: {error}", OTHER_HOME)
    return Finding("object store", "ok", f"{folder} is writable")


def _catalog(settings: Settings) -> Finding:
    if not settings.catalog_path.exists():
        return _not_made_yet("catalog", settings.catalog_path, OTHER_HOME)
    try:
        facts = open_catalog(settings).describe()
    except (CatalogError, SettingsError) as error:
        return Finding("catalog", "missing", str(error), "See the message.")
    detail = f"{facts['where']}, schema {facts['schema_version']}, videos: {facts['videos']}"
    return Finding("catalog", "ok", detail)


def _space(settings: Settings) -> Finding:
    free = shutil.disk_usage(_nearest_folder(settings.home)).free
    detail = f"{free / (1 << 30):.1f} GiB free for {settings.home}"
    remedy = "Free some space, or set CAPTIONACC_HOME to another disk."
    if free < NO_SPACE_BYTES:
        return Finding("disk space", "missing", detail, remedy)
    if free < LITTLE_SPACE_BYTES:
        return Finding("disk space", "note", detail, remedy)
    return Finding("disk space", "ok", detail)


def _dagster(settings: Settings) -> Iterator[Finding]:
    home = settings.dagster_home
    if not home.exists():
        yield _not_made_yet("Dagster", home, "Set DAGSTER_HOME to a folder you may write to.")
        return
    # Dagster takes over a second to import, and only this check needs it.
    from captionacc_dagster.instance import open_instance  # noqa: PLC0415

    try:
        with open_instance(settings) as instance:
            beats = instance.get_daemon_heartbeats()
    except Exception as error:
        yield Finding("Dagster", "missing", f"{home}: {error}", "Move that folder away; it is made anew.")
        return
    yield Finding("Dagster", "ok", f"instance at {home}")
    alive = [name for name, beat in beats.items() if time.time() - beat.timestamp < HEARTBEAT_TOLERANCE_S]
    if "SENSOR" in alive:
        yield Finding("Dagster daemon", "ok", f"running: {', '.join(sorted(alive)).lower()}")
    else:
        remedy = "`make dev` runs it. `captionacc process` works without, `ingest` and `approve` wait for it."
        yield Finding("Dagster daemon", "note", "not running", remedy)


def _not_made_yet(what: str, path: Path, remedy: str) -> Finding:
    nearest = next(place for place in (path, *path.parents) if place.exists())
    if nearest.is_dir() and os.access(nearest, os.W_OK):
        return Finding(what, "ok", f"{path} is made at the first use")
    return Finding(what, "missing", f"{path} cannot be made", remedy)


def _nearest_folder(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.is_dir())
