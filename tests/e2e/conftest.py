"""A home folder of its own for each test, and the `captionacc` command as a user runs it."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from captionacc_dagster.catalog import open_catalog
from captionacc_dagster.catalog.protocol import Catalog
from captionacc_dagster.instance import open_instance
from captionacc_dagster.settings import Settings, open_store
from gpu_ops.store import ObjectStore
from tests.e2e.films import render_film
from tests.once import made_once

Captionacc = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("CAPTIONACC_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return Settings(home=tmp_path / "home")


@pytest.fixture
def catalog(settings: Settings) -> Catalog:
    return open_catalog(settings)


@pytest.fixture
def store(settings: Settings) -> ObjectStore:
    return open_store(settings)


@pytest.fixture
def instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    with open_instance(settings) as opened:
        yield opened


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One rendered film for all tests; its ground truth stands in films.SCRIPT."""
    return made_once(tmp_path_factory, "films", lambda folder: render_film(folder / "film.mp4")) / "film.mp4"


@pytest.fixture(scope="session")
def processed_home(film: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the film was processed, outputs in the folder `out` beside it; not to be changed."""

    def process(folder: Path) -> None:
        done = run_captionacc(folder / "home", "process", film, "--out", folder / "out", "--json")
        assert done.returncode == 0, done.stderr

    return made_once(tmp_path_factory, "processed", process) / "home"


@pytest.fixture
def processed(settings: Settings, processed_home: Path) -> Path:
    """The test's own copy of that home, answers its outputs; to be asked for before the catalog."""
    shutil.copytree(processed_home, settings.home)
    shutil.copytree(processed_home.parent / "out", settings.home.parent / "out")
    return settings.home.parent / "out"


@pytest.fixture
def captionacc(settings: Settings) -> Captionacc:
    """Run the command in a process of its own."""
    return functools.partial(run_captionacc, settings.home)


def run_captionacc(home: Path, *arguments: object, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).parent / "captionacc", *map(str, arguments)],
        env={**os.environ, "CAPTIONACC_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
