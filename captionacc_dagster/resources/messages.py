"""What a worker process says through Dagster Pipes, heard one whole message at a time."""

from __future__ import annotations

import json
import sys
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from dagster._core.pipes.context import PipesMessageHandler  # what a reader is given is not public otherwise
from dagster_pipes import PipesDefaultMessageWriter, PipesParams

LOOK_AGAIN_S = 0.1


class WholeMessageReader(dg.PipesMessageReader):
    """Reads a temporary file, a line a message, while the worker writes it.

    A line without its end is held back: Dagster's own reader of files takes it for a message, which breaks on
    one that is longer than a write buffer, or whose writer was killed in the middle.
    """

    @contextmanager
    def read_messages(self, handler: PipesMessageHandler) -> Generator[PipesParams]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "messages"
            path.touch()
            over = threading.Event()
            reader = threading.Thread(target=_pass_on, args=(path, handler, over), daemon=True)
            reader.start()
            try:
                yield {PipesDefaultMessageWriter.FILE_PATH_KEY: str(path)}
            finally:
                over.set()
                reader.join()

    def no_messages_debug_text(self) -> str:
        return "Messages are read from a temporary file."


def _pass_on(path: Path, handler: PipesMessageHandler, over: threading.Event) -> None:
    try:
        for line in _whole_lines(path, over):
            handler.handle_message(json.loads(line))
    except Exception:
        handler.report_pipes_framework_exception("reader of messages", sys.exc_info())
        raise


def _whole_lines(path: Path, over: threading.Event) -> Generator[bytes]:
    unfinished = b""
    with path.open("rb") as messages:
        while True:
            last_look = over.is_set()
            *lines, unfinished = (unfinished + messages.read()).split(b"\n")
            yield from lines
            if last_look:
                return
            over.wait(LOOK_AGAIN_S)
