"""What a call on Modal prints while it works, passed on to the run that waits for it.

It comes from the call's own log on Modal, which is there for whoever waits, also for a run that joins later;
nothing has to be set up for it or cleared away.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
from collections import defaultdict
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import modal

from captionacc_dagster.resources.compute import Reports

# The last lines arrive a moment after the outcome.
LAST_LINES_SECONDS = 2.0
PAUSE_SECONDS = 5.0

logger = logging.getLogger(__name__)


class CallLog:
    """Reads the log in a thread of its own, from `with` until the block ends."""

    def __init__(self, call: modal.FunctionCall[Any], reports: Reports) -> None:
        self._call = call
        self._reports = reports
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._closed = threading.Event()
        # A daemon, since nothing but the end of the call ends the stream.
        self._reader = threading.Thread(target=self._read, name=f"log-{call.object_id}", daemon=True)

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closed.set()
        if kind is None or issubclass(kind, Exception):
            self._reader.join(LAST_LINES_SECONDS)
            self.pass_on()

    def pass_on(self) -> None:
        """Report every line that has come since the last time."""
        while not self._lines.empty():
            line = self._lines.get()
            message = _message(line)
            if message is not None:
                self._reports.pass_on(message)
            else:
                self._reports.log(line)

    def _read(self) -> None:
        seen: datetime | None = None
        while True:
            unfinished: dict[str, str] = defaultdict(str)
            seen_before = seen
            try:
                for entry in self._call.logs.stream():
                    # A stream that begins anew begins at the beginning.
                    if seen_before is not None and entry.timestamp <= seen_before:
                        continue
                    seen = entry.timestamp
                    *lines, unfinished[entry.source] = (unfinished[entry.source] + entry.message).split("\n")
                    for line in filter(None, lines):
                        self._lines.put(line)
                return
            except Exception:
                logger.debug("the log of %s broke off", self._call.object_id, exc_info=True)
            if self._closed.wait(PAUSE_SECONDS):
                return


def _message(line: str) -> dict[str, Any] | None:
    """A message of `gpu_ops.orders.carry_out`, if the line is one."""
    try:
        data = json.loads(line)
    except ValueError:
        return None
    return data if isinstance(data, dict) and ("progress" in data or "log" in data) else None
