"""What code made something: recorded beside weights and training data. Standard library only."""

from __future__ import annotations

import hashlib
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_GPU_OPS = Path(__file__).parent.parent


def code_version() -> str:
    """The package's version, the commit where there is a checkout, and a hash of the code itself."""
    try:
        package = version("captionacc-dagster")
    except PackageNotFoundError:
        package = "not installed"
    return f"{package}{_commit()}, sources {sources_digest(_GPU_OPS / 'extents')}"


def _commit() -> str:
    command = ["git", "-C", str(_GPU_OPS), "describe", "--always", "--dirty"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f", commit {said.strip()}"


def sources_digest(folder: Path) -> str:
    """First twelve hex digits of the SHA-256 over the Python files below `folder` and their names."""
    sha = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        sha.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return sha.hexdigest()[:12]
