"""How many computations one machine carries out at the same time, over all of its runs and commands.

Twenty films dropped at once are five runs at once; on two cores that many OCR engines would only be in each
other's way. A slot is a locked file: the operating system frees it when its holder ends, however it ends.
"""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

LOOK_AGAIN_SECONDS = 0.2


@contextmanager
def compute_slot(
    folder: Path, count: int, stop: threading.Event, waiting: Callable[[], None]
) -> Generator[None]:
    """Hold one of `count` slots until the block ends. `waiting` is called once if none is free at first.

    Goes on without a slot when `stop` is set: what follows is about to be stopped anyway.
    """
    folder.mkdir(parents=True, exist_ok=True)
    held = _take(folder, count)
    if held is None:
        waiting()
    while held is None and not stop.wait(LOOK_AGAIN_SECONDS):
        held = _take(folder, count)
    try:
        yield
    finally:
        if held is not None:
            held.close()


def _take(folder: Path, count: int) -> IO[bytes] | None:
    for number in range(count):
        file = (folder / f"slot-{number}").open("wb")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            file.close()
    return None
