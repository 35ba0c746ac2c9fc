"""What each compute function computes on at Modal, and the variables that say otherwise."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Machine:
    """`gpu` is a name of Modal's or "none"; `containers` is how many calls go on at the same time.

    Whoever deploys sets other values by the variables CAPTIONACC_MODAL_<NAME>_<FIELD>.
    """

    name: str
    gpu: str
    timeout_s: int
    containers: int
    cpus: int = 4
    memory_mb: int = 4096

    def variable(self, field: str) -> str:
        """The environment variable that sets the field."""
        return f"CAPTIONACC_MODAL_{self.name}_{field.upper()}"

    def as_set(self) -> Machine:
        """The machine with what the environment sets. Raises ValueError for what is no number above 0."""
        return Machine(
            name=self.name,
            gpu=os.environ.get(self.variable("gpu")) or self.gpu,
            timeout_s=self._number("timeout_s", self.timeout_s),
            containers=self._number("containers", self.containers),
            cpus=self._number("cpus", self.cpus),
            memory_mb=self._number("memory_mb", self.memory_mb),
        )

    def _number(self, field: str, default: int) -> int:
        text = os.environ.get(self.variable(field)) or str(default)
        if not text.isdecimal() or int(text) < 1:
            raise ValueError(f"{self.variable(field)} is {text!r}: expected a whole number above 0")
        return int(text)


MACHINES: Mapping[str, Machine] = {
    "extract_frames_and_ocr": Machine(name="LAYOUT", gpu="T4", timeout_s=30 * 60, containers=5),
    "crop_and_infer_caption_frame_extents": Machine(
        name="EXTENTS", gpu="A10G", timeout_s=60 * 60, containers=2
    ),
    "generate_caption_ocr": Machine(name="CAPTIONS", gpu="T4", timeout_s=5 * 60, containers=10),
    "verify_cropped_frames": Machine(name="VERIFICATION", gpu="none", timeout_s=10 * 60, containers=5),
    "export_training_data": Machine(name="TRAINING_DATA", gpu="none", timeout_s=60 * 60, containers=2),
}
