"""Running ahead changes who waits for whom, and nothing else."""

import threading
from collections.abc import Generator

import pytest

from gpu_ops.video.ahead import ahead


def counted(count: int, log: list[str], fail_at: int | None = None) -> Generator[int]:
    try:
        for number in range(count):
            if number == fail_at:
                raise ValueError("the source broke")
            log.append(f"made {number}")
            yield number
    finally:
        log.append(f"closed by {threading.current_thread().name}")


def test_every_item_comes_in_order() -> None:
    assert list(ahead(counted(100, []), 3)) == list(range(100))


def test_an_empty_source_just_ends() -> None:
    assert list(ahead(counted(0, []), 1)) == []


def test_what_the_source_raises_comes_after_the_items_made_before_it() -> None:
    items = ahead(counted(10, [], fail_at=4), 2)
    assert [next(items) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="the source broke"):
        next(items)


def test_a_source_nobody_wants_any_more_is_closed_in_its_own_thread() -> None:
    log: list[str] = []
    items = ahead(counted(1000, log), 2)
    assert next(items) == 0
    items.close()
    assert log[-1] == "closed by ahead"
    assert len(log) < 10
    assert "ahead" not in {thread.name for thread in threading.enumerate()}


def test_no_more_than_the_depth_is_made_in_advance() -> None:
    log: list[str] = []
    items = ahead(counted(1000, log), 2)
    taken = [next(items) for _ in range(5)]
    # Two wait in the queue, and one is held by the thread that waits for room.
    assert len([line for line in log if line.startswith("made")]) <= len(taken) + 3
    items.close()
