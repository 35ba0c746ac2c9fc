"""This machine: what is installed, what lies in CAPTIONACC_HOME, and Dagster's instance."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from captionacc_dagster.catalog import open_catalog
from captionacc_dagster.catalog.protocol import CatalogError
from captionacc_dagster.doctor.finding import Finding
from captionacc_dagster.settings import Settings, SettingsError, open_store

# What computing on this machine imports.
COMPUTE_MODULES = ("av", "cv2", "numpy", "onnxruntime", "PIL", "rapidocr")
INSTALL = "pip install 'captionacc-dagster[local]'"
OTHER_HOME = "Set CAPTIONACC_HOME to a folder you may write to."
LITTLE_SPACE_BYTES = 5 << 30
NO_SPACE_BYTES = 500 << 20
HEARTBEAT_TOLERANCE_S = 90.0


def python(settings: Settings) -> Iterator[Finding]:
    yield Finding("Python", "ok", f"{sys.version.split()[0]} at {sys.executable}")


def profile(settings: Settings) -> Iterator[Finding]:
    try:
        settings.require_complete()
    except SettingsError as error:
        yield Finding("profile", "missing", settings.profile, str(error))
        return
    where = f"everything below {settings.home}" if settings.profile == "local" else settings.store_place
    yield Finding("profile", "ok", f"{settings.profile}, {where}")


def compute(settings: Settings) -> Iterator[Finding]:
    absent = [name for name in COMPUTE_MODULES if find_spec(name) is None]
    if absent:
        yield Finding("local compute", "missing", f"not installed: {', '.join(absent)}", INSTALL)
    else:
        yield Finding("local compute", "ok", f"{', '.join(COMPUTE_MODULES)} are installed")


def cv2(settings: Settings) -> Iterator[Finding]:
    builds = sorted(set(metadata.packages_distributions().get("cv2", [])))
    if not builds:
        yield Finding("OpenCV", "missing", "no cv2", INSTALL)
    elif len(builds) > 1:
        yield Finding(
            "OpenCV",
            "missing",
            f"several packages overwrite each other's cv2: {', '.join(builds)}",
            f"pip uninstall -y {' '.join(builds)} && {INSTALL}",
        )
    elif "headless" not in builds[0]:
        yield Finding("OpenCV", "note", builds[0], "It needs libGL; opencv-python-headless does not.")
    else:
        yield Finding("OpenCV", "ok", builds[0])


def pair_model(settings: Settings) -> Iterator[Finding]:
    spec = find_spec("gpu_ops.extents")
    folders = spec.submodule_search_locations if spec else None
    weights = {file.parent.name for folder in folders or () for file in Path(folder).rglob("*.onnx")}
    if weights:
        yield Finding("pair model", "ok", ", ".join(sorted(weights)))
    else:
        yield Finding("pair model", "missing", "no weights in gpu_ops/extents", "Install the package again.")


def folder(settings: Settings) -> Iterator[Finding]:
    path = settings.store_path
    if not path.exists():
        yield _not_made_yet("object store", path, OTHER_HOME)
        return
    try:
        with tempfile.TemporaryFile(dir=path):
            open_store(settings)
    except (OSError, SettingsError) as error:
        yield Finding("object store", "missing", f"{path}: {error}", OTHER_HOME)
    else:
        yield Finding("object store", "ok", f"{path} is writable")


def catalog(settings: Settings) -> Iterator[Finding]:
    if not settings.catalog_path.exists():
        yield _not_made_yet("catalog", settings.catalog_path, OTHER_HOME)
        return
    try:
        facts = open_catalog(settings).describe()
    except (CatalogError, SettingsError) as error:
        yield Finding("catalog", "missing", str(error))
    else:
        detail = f"{facts['where']}, schema {facts['schema_version']}, videos: {facts['videos']}"
        yield Finding("catalog", "ok", detail)


def space(settings: Settings) -> Iterator[Finding]:
    free = shutil.disk_usage(_nearest_folder(settings.home)).free
    detail = f"{free / (1 << 30):.1f} GiB free for {settings.home}"
    remedy = "Free some space, or set CAPTIONACC_HOME to another disk."
    if free < NO_SPACE_BYTES:
        yield Finding("disk space", "missing", detail, remedy)
    elif free < LITTLE_SPACE_BYTES:
        yield Finding("disk space", "note", detail, remedy)
    else:
        yield Finding("disk space", "ok", detail)


def dagster(settings: Settings) -> Iterator[Finding]:
    home = settings.dagster_home
    if not home.exists():
        yield _not_made_yet("Dagster", home, "Set DAGSTER_HOME to a folder you may write to.")
        return
    # Dagster takes over a second to import, and only this look needs it.
    from captionacc_dagster.instance import open_instance  # noqa: PLC0415

    try:
        with open_instance(settings) as instance:
            beats = instance.get_daemon_heartbeats()
    except SettingsError as error:
        yield Finding("Dagster", "missing", str(error))
        return
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
