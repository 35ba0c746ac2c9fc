"""Each odd or broken file is made once for all tests of a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.broken_videos import ODD, UNUSABLE

MakeVideo = Callable[[str], Path]


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> MakeVideo:
    """A function from a name in broken_videos to the file."""
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            made[name] = {**ODD, **UNUSABLE}[name](tmp_path_factory.mktemp(name))
        return made[name]

    return make
