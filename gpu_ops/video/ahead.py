"""Letting a source of frames run ahead of whoever uses them, in a thread of its own.

Decoders, models and encoders release Python's lock while they work, so that two of them fill two cores.
"""

from __future__ import annotations

from collections.abc import Generator
from queue import Queue
from threading import Event, Thread
from typing import TypeVar

Item = TypeVar("Item")


class _End:
    """Comes after the last item, with what ended the source early."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def ahead(source: Generator[Item], depth: int) -> Generator[Item]:
    """The items of `source`, made by another thread at most `depth` items before they are asked for.

    What the source raises is raised here, after the items made before it. Closing this generator closes the
    source too, in the thread that ran it, and waits for that.
    """
    made: Queue[Item | _End] = Queue(depth)
    unwanted = Event()
    thread = Thread(target=_make, args=(source, made, unwanted), name="ahead", daemon=True)
    thread.start()
    item: Item | _End | None = None
    try:
        while not isinstance(item := made.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        unwanted.set()
        # The thread may be waiting for room; it ends after what it is making now.
        while not isinstance(item, _End):
            item = made.get()
        thread.join()


def _make(source: Generator[Item], made: Queue[Item | _End], unwanted: Event) -> None:
    end = _End()
    try:
        for item in source:
            made.put(item)
            if unwanted.is_set():
                break
    except BaseException as error:  # handed to the thread that takes the items
        end = _End(error)
    finally:
        source.close()
        made.put(end)
