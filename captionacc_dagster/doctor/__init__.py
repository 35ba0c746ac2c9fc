"""What an installation needs, whether it is there, and what to do where it is not.

Changes nothing, but for one small object in the bucket, which is deleted at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from captionacc_dagster.doctor import machine, services
from captionacc_dagster.doctor.finding import Finding, Look
from captionacc_dagster.settings import Settings

__all__ = ["Finding", "examine", "is_ready"]

# A service that needs longer would not do for work either.
LIMIT_S = 12.0


def examine(settings: Settings) -> list[Finding]:
    """Look at everything at the same time; what has not answered after LIMIT_S seconds is missing."""
    deadline = time.monotonic() + LIMIT_S
    looking = [_Looking(name, look, settings) for name, look in _looks(settings).items()]
    return [finding for each in looking for finding in each.findings(deadline)]


def is_ready(findings: Sequence[Finding]) -> bool:
    """Whether nothing that is needed is missing."""
    return all(finding.state != "missing" for finding in findings)


def _looks(settings: Settings) -> dict[str, Look]:
    looks: dict[str, Look] = {"Python": machine.python, "profile": machine.profile}
    if settings.profile == "cloud":
        looks |= {"compute": services.compute, "object store": services.bucket, "catalog": services.catalog}
    else:
        looks |= {
            "local compute": machine.compute,
            "OpenCV": machine.cv2,
            "pair model": machine.pair_model,
            "object store": machine.folder,
            "catalog": machine.catalog,
        }
    if settings.ocr_engine_in_force == "google_vision":
        looks["Google Vision"] = services.vision
    return looks | {"disk space": machine.space, "Dagster": machine.dagster}


class _Looking:
    """One look, in a thread that nobody waits for when it takes too long."""

    def __init__(self, name: str, look: Look, settings: Settings) -> None:
        self._name = name
        self._found: list[Finding] = []
        self._thread = threading.Thread(
            target=self._run, args=(look, settings), name=f"doctor-{name}", daemon=True
        )
        self._thread.start()

    def findings(self, deadline: float) -> list[Finding]:
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if not self._thread.is_alive():
            return self._found
        remedy = "Look at the network, and at the service's own status page; then try again."
        return [Finding(self._name, "missing", f"no answer within {LIMIT_S:.0f} seconds", remedy)]

    def _run(self, look: Look, settings: Settings) -> None:
        try:
            self._found = list(look(settings))
        except Exception as error:
            # Not its message: nobody has looked whether it quotes a secret.
            detail = f"unexpected {type(error).__name__}"
            self._found = [Finding(self._name, "missing", detail, "Report this as a bug.")]
