"""What is made once in a test run, although pytest-xdist runs several processes."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder that `make` filled for whoever asked first; the others wait for it. Not to be changed."""
    base = factory.getbasetemp()
    # Each xdist worker has a folder of its own below that of the run.
    run = base.parent if base.name.startswith("popen-") else base
    folder, finished = run / name, run / f"{name}.finished"
    with (run / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            finished.touch()
    return folder
