"""A Dockerfile carried out without Docker, so that its recipe is proven wherever the tests run.

A stage of it is a folder, and what it says of /opt, /src and /data happens inside that folder. The machine's
Python stands for the base image; nothing else of the machine is on the path, and nothing of its environment
but how pip finds packages.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

OWN_FOLDERS = re.compile(r"(?<![\w.])/(?=(?:opt|src|data)\b)")
SYSTEM = ("/usr/local/bin", "/usr/bin", "/bin")


@dataclass
class Image:
    """What a Dockerfile leads to: the last stage's folder, and how a container of it is started."""

    root: Path
    environment: dict[str, str]
    folder: Path
    user: int | None = None
    command: Sequence[str] = ()
    health: Sequence[str] = ()
    stages: dict[str, Path] = field(default_factory=dict)

    def start(self, environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
        """A container: the image's command as its user, in its environment and these variables."""
        with log.open("w") as output:
            return subprocess.Popen(
                self._inside(self.command),
                env={**self.environment, **environment},
                cwd=self.folder,
                **self._as_user(),
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def run(self, command: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Another command in the same image."""
        return subprocess.run(
            self._inside(command),
            env={**self.environment, **environment},
            cwd=self.folder,
            **self._as_user(),
            capture_output=True,
            text=True,
            check=False,
        )

    def path(self, text: str) -> str:
        """The text with the image's own absolute paths led into its folder."""
        return OWN_FOLDERS.sub(f"{self.root}/", text)

    def carry_out(self, instruction: str, text: str, context: Path) -> None:
        """One instruction of a stage."""
        match instruction:
            case "RUN":
                subprocess.run(
                    ["sh", "-c", self.path(text)],
                    env=self.environment,
                    cwd=self.folder,
                    **self._as_user(),
                    check=True,
                )
            case "COPY":
                self._copy(text.split(), context)
            case "ENV":
                name, _, value = text.partition("=")
                self.environment[name] = self.path(Template(value).substitute(self.environment))
            case "WORKDIR":
                self.folder = Path(self.path(text))
                self.folder.mkdir(parents=True, exist_ok=True)
            case "USER":
                # Only root may become somebody else; whoever else runs the tests is no root either.
                self.user = int(text.partition(":")[0]) if os.geteuid() == 0 else None
            case "HEALTHCHECK":
                self.health = json.loads(text.partition("CMD ")[2])
            case "CMD":
                self.command = json.loads(text)
            case "EXPOSE":
                pass
            case _:
                raise AssertionError(f"the Dockerfile uses {instruction}, which this test cannot carry out")

    def _copy(self, arguments: list[str], context: Path) -> None:
        *sources, target = arguments
        if sources[0].startswith("--from="):
            stage = self.stages[sources.pop(0).removeprefix("--from=")]
            places = [stage / source.lstrip("/") for source in sources]
        else:
            ignored = (context / ".dockerignore").read_text().splitlines()
            assert not [source for source in sources if f"!{source}" not in ignored]
            places = [context / source for source in sources]
        for place in places:
            into = self.folder / self.path(target)
            if place.is_dir():
                unwanted = shutil.ignore_patterns("__pycache__")
                shutil.copytree(place, into, symlinks=True, dirs_exist_ok=True, ignore=unwanted)
            else:
                shutil.copy(place, into)

    def _inside(self, command: Sequence[str]) -> list[str]:
        found = shutil.which(command[0], path=self.environment["PATH"])
        assert found, f"{command[0]} is not in the image"
        return [found, *command[1:]]

    def _as_user(self) -> dict[str, object]:
        return {} if self.user is None else {"user": self.user, "group": self.user, "extra_groups": []}


def build(dockerfile: Path, folder: Path) -> Image:
    """Carry out every instruction, the later stages seeing of the earlier ones only what they copy."""
    folder.chmod(0o755)
    root, base = folder / "root", folder / "base"
    base.mkdir()
    (base / "python").symlink_to(_python_for_everybody())
    stages: dict[str, Path] = {}
    image, name = None, ""
    for instruction, text in _instructions(dockerfile):
        if instruction == "FROM":
            if image is not None:
                stages[name] = root.rename(folder / f"stage-{len(stages)}")
            root.mkdir()
            name = text.partition(" AS ")[2]
            image = Image(root, _environment(base), root, stages=stages)
        else:
            assert image is not None, "a Dockerfile begins with FROM"
            image.carry_out(instruction, text, dockerfile.parent)
    assert image is not None
    return image


def _instructions(dockerfile: Path) -> list[tuple[str, str]]:
    lines = [line for line in dockerfile.read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in joined if line.strip()]


def _environment(base: Path) -> dict[str, str]:
    finding_packages = {
        name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "HTTPS_"))
    }
    return {"PATH": ":".join((str(base), *SYSTEM)), **finding_packages}


def _python_for_everybody() -> str:
    """An interpreter that the image's user may run as well: root's own may lie where only root can go."""
    candidates = [
        f"{sys.base_prefix}/bin/python3",
        *(found for folder in SYSTEM if (found := shutil.which("python3", path=folder))),
    ]
    check = "import ensurepip, sys; sys.exit(sys.version_info < (3, 11))"
    anybody = {"user": 10001, "group": 10001, "extra_groups": []} if os.geteuid() == 0 else {}
    for candidate in candidates:
        try:
            if subprocess.run([candidate, "-c", check], **anybody, check=False).returncode == 0:
                return candidate
        except PermissionError:
            continue
    raise AssertionError(f"none of {candidates} is a Python 3.11 with venv that every user may run")
