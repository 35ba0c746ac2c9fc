"""What the doctor has to say about one thing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from captionacc_dagster.settings import Settings

State = Literal["ok", "note", "missing"]


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `missing` keeps CaptionAcc from working, a `note` does not."""

    what: str
    state: State
    detail: str
    remedy: str = ""


Look = Callable[[Settings], Iterator[Finding]]
