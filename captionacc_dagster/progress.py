"""Telling a person at a terminal, or a log file, how far the work is: stage, share done and time left."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeRemainingColumn

PLAIN_INTERVAL_S = 5.0


def printable(text: str) -> str:
    """`text` fit for one line of a terminal: no control or undecodable characters, which could drive it."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


class ProgressListener(Protocol):
    """Told of the work as it goes on, possibly from another thread than the one that shows it."""

    def stage(self, video: str, stage: str) -> None:
        """Work on `stage` of the video (its display name) begins."""
        ...

    def progress(self, step: str, done: float, total: float) -> None:
        """`done` of `total` units (any unit) of a step of the stage are finished."""
        ...

    def note(self, message: str) -> None:
        """One sentence for the user."""
        ...


class Display(ProgressListener, Protocol):
    """A listener that is shown from `with` until the block ends."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class TerminalProgress:
    """One bar for the step at hand, with the time left; what is done stays above it as a line."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream)
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._title = ""
        self._step = ""

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def stage(self, video: str, stage: str) -> None:
        self._title = f"{printable(video)}: {stage}"
        self._begin("")

    def progress(self, step: str, done: float, total: float) -> None:
        if self._task is None or step != self._step:
            self._begin(step)
        if self._task is not None:
            self._bars.update(self._task, completed=done, total=total if total > 0 else None)

    def note(self, message: str) -> None:
        self._console.print(escape(printable(message)), highlight=False)

    def _begin(self, step: str) -> None:
        if self._task is not None:
            self._bars.remove_task(self._task)
        self._step = step
        self._task = self._bars.add_task(f"{self._title}, {step}" if step else self._title, total=None)


class PlainProgress:
    """A line for each stage, and at most one every few seconds in between: for log files and pipes."""

    def __init__(
        self,
        stream: TextIO,
        *,
        interval_s: float = PLAIN_INTERVAL_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._interval_s = interval_s
        self._clock = clock
        self._title = ""
        self._step = ""
        self._said_at = 0.0
        self._step_began_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass

    def stage(self, video: str, stage: str) -> None:
        self._title, self._step = f"{video}: {stage}", ""
        self._say(self._title)

    def progress(self, step: str, done: float, total: float) -> None:
        now = self._clock()
        if step != self._step:
            self._step, self._step_began_at = step, now
        if total <= 0 or now - self._said_at < self._interval_s:
            return
        share = min(done / total, 1)
        left = f", {(now - self._step_began_at) * (1 - share) / share:.0f} s left" if share > 0 else ""
        self._say(f"{self._title}, {step} {share:.0%}{left}")

    def note(self, message: str) -> None:
        self._say(message)

    def _say(self, message: str) -> None:
        self._said_at = self._clock()
        print(printable(message), file=self._stream, flush=True)


def choose_progress(stream: TextIO) -> Display:
    """A bar where `stream` is a terminal, plain lines elsewhere."""
    return TerminalProgress(stream) if stream.isatty() else PlainProgress(stream)
