"""Messages of a worker that is slow to write them, or killed while it does."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, cast

import pytest

from captionacc_dagster.resources.messages import LOOK_AGAIN_S, WholeMessageReader

MESSAGES = [{"method": "log", "params": {"message": "ü" * length}} for length in (1, 9_000, 100_000)]


class Handler:
    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.reported: list[str] = []

    def report_pipes_framework_exception(self, origin: str, exc_info: Any) -> None:
        self.reported.append(exc_info[0].__name__)

    def handle_message(self, message: Any) -> None:
        self.heard.append(message)


def test_a_message_is_heard_once_it_is_whole() -> None:
    handler = Handler()
    with WholeMessageReader().read_messages(cast(Any, handler)) as params:
        messages = Path(str(params["path"]))
        for message in MESSAGES:
            line = json.dumps(message, ensure_ascii=False).encode() + b"\n"
            middle = line.index("ü".encode()) + 1  # in the middle of a character
            with messages.open("ab", buffering=0) as file:
                file.write(line[:middle])
                time.sleep(3 * LOOK_AGAIN_S)
                file.write(line[middle:])
    assert handler.heard == MESSAGES


def test_what_a_killed_worker_did_not_finish_is_left_out() -> None:
    handler = Handler()
    with WholeMessageReader().read_messages(cast(Any, handler)) as params:
        whole = json.dumps(MESSAGES[0])
        Path(str(params["path"])).write_text(f'{whole}\n{{"method": "lo')
    assert handler.heard == MESSAGES[:1]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_line_that_is_no_message_is_reported_to_the_run() -> None:
    handler = Handler()
    with WholeMessageReader().read_messages(cast(Any, handler)) as params:
        Path(str(params["path"])).write_text("no message\n")
    assert handler.reported == ["JSONDecodeError"]
