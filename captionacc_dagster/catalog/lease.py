"""Holding a stage's lease while the work goes on.

The lease is renewed from a thread at a fraction of its lifetime, so that a run that hangs for a moment keeps
it and one that dies loses it. A holder known to be dead is not waited for.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from captionacc_dagster.catalog.protocol import (
    LEASE_TTL,
    Catalog,
    CatalogError,
    ComputeCall,
    LeaseLost,
    Stage,
    Video,
    WorkHeld,
)

RENEWALS_PER_LIFETIME = 4

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class HeldWork:
    """A stage of a video that this run holds. `lost` is set as soon as it no longer does."""

    catalog: Catalog
    video: Video
    stage: Stage
    run_id: str
    lost: threading.Event

    def record_call(self, call: ComputeCall) -> None:
        """Put the call on record as this run's. Raises LeaseLost."""
        self.catalog.record_call(self.video.id, self.stage, self.run_id, call)

    def find_call(self, order: str) -> ComputeCall | None:
        """What is on record of that order, by this run or one that it goes on for."""
        return self.catalog.find_call(self.video.id, self.stage, order)

    def forget_call(self, order: str) -> bool:
        """Take the order off the record; False where it is another run's by now."""
        return self.catalog.forget_call(self.video.id, self.stage, self.run_id, order)


@contextmanager
def held_work(
    catalog: Catalog,
    video_id: str,
    stage: Stage,
    run_id: str,
    *,
    is_dead: Callable[[str], bool],
    unless_answered: bool = False,
) -> Generator[HeldWork]:
    """Claim the stage and keep its lease until the block ends; a lease left at the end is released.

    `is_dead(run_id)` says whether the run of another holder is known to have ended; its lease is taken over.
    Raises VideoNotFound, WorkHeld, AlreadyAnswered.
    """
    video = _claim(catalog, video_id, stage, run_id, is_dead, unless_answered)
    lost, done = threading.Event(), threading.Event()

    def keep() -> None:
        while not done.wait(LEASE_TTL.total_seconds() / RENEWALS_PER_LIFETIME):
            try:
                catalog.renew(video_id, stage, run_id)
            except LeaseLost:
                lost.set()
                return
            except Exception:
                # The catalog may answer again before the lease expires; finishing checks the lease once more.
                logger.warning("could not renew the lease on %s of %s", stage, video_id, exc_info=True)

    keeper = threading.Thread(target=keep, name=f"lease-{stage}", daemon=True)
    keeper.start()
    try:
        yield HeldWork(catalog, video, stage, run_id, lost)
    finally:
        done.set()
        keeper.join()
        catalog.release(video_id, stage, run_id)


def _claim(
    catalog: Catalog,
    video_id: str,
    stage: Stage,
    run_id: str,
    is_dead: Callable[[str], bool],
    unless_answered: bool,
) -> Video:
    try:
        return catalog.claim(video_id, stage, run_id, unless_answered=unless_answered)
    except WorkHeld as held:
        if held.holder_run_id is None or not is_dead(held.holder_run_id):
            raise
        catalog.release(video_id, stage, held.holder_run_id)
    try:
        return catalog.claim(video_id, stage, run_id, unless_answered=unless_answered)
    except CatalogError as error:
        error.add_note("A dead run's lease was released just before.")
        raise
