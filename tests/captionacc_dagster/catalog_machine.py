"""A catalog under any order of calls from several runs and an annotator, against what must always hold."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from captionacc_dagster.catalog.protocol import Catalog, LeaseLost, Stage, Video, WorkHeld
from tests.captionacc_dagster.catalog_contract import (
    REGION,
    add,
    finish,
    status_of,
    waiting,
    with_extents,
)

stages = st.sampled_from(list(Stage))
runs = st.sampled_from(["run-1", "run-2", "run-3"])


def catalog_machine(
    empty_catalog: Callable[[], Catalog],
    annotator_opens: Callable[[Catalog, Video, str], None],
    annotator_closes: Callable[[Catalog, Video, str], None],
) -> type[RuleBasedStateMachine]:
    """The state machine for one implementation; leases never expire in it (time stands still)."""

    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.catalog = empty_catalog()
            self.video = with_extents(self.catalog)
            self.bystander = add(self.catalog)
            self.holder: dict[Stage, str | None] = dict.fromkeys(Stage)
            self.claimed: dict[Stage, Video] = {}
            self.versions_seen = 1

        @rule(stage=stages, run=runs)
        def claim(self, stage: Stage, run: str) -> None:
            if self.holder[stage] in (None, run):
                self.claimed[stage] = self.catalog.claim(self.video.id, stage, run)
                self.holder[stage] = run
                assert status_of(stage, self.claimed[stage]) == "processing"
                return
            with pytest.raises(WorkHeld) as refused:
                self.catalog.claim(self.video.id, stage, run)
            annotator = self.holder[stage] == "annotator"
            assert refused.value.holder_run_id == (None if annotator else self.holder[stage])

        @rule(stage=stages, run=runs)
        def finish(self, stage: Stage, run: str) -> None:
            if self.holder[stage] == run:
                finish(self.catalog, self.claimed[stage], stage, run)
                self.holder[stage] = None
                assert status_of(stage, self.catalog.video(self.video.id)) != "error"
                return
            before = self.catalog.video(self.video.id)
            with suppress(LeaseLost):
                finish(self.catalog, before, stage, run)
            assert self.catalog.video(self.video.id) == before

        @rule(stage=stages, run=runs)
        def fail(self, stage: Stage, run: str) -> None:
            before = self.catalog.video(self.video.id)
            failed = self.catalog.fail(self.video.id, stage, run, "It broke.")
            if self.holder[stage] == run:
                assert failed
                self.holder[stage] = None
                assert status_of(stage, self.catalog.video(self.video.id)) == "error"
            elif self.holder[stage] is not None:
                assert self.catalog.video(self.video.id) == before

        @rule(stage=stages, run=runs)
        def release(self, stage: Stage, run: str) -> None:
            assert self.catalog.release(self.video.id, stage, run) == (self.holder[stage] == run)
            if self.holder[stage] == run:
                self.holder[stage] = None

        @rule(stage=stages, run=runs)
        def renew(self, stage: Stage, run: str) -> None:
            try:
                self.catalog.renew(self.video.id, stage, run)
            except LeaseLost:
                assert self.holder[stage] != run
            else:
                assert self.holder[stage] == run

        @rule(run=runs)
        def reserve(self, run: str) -> None:
            with suppress(LeaseLost):
                version = self.catalog.reserve_cropped_frames(self.video.id, run, REGION).version
                assert self.holder[Stage.EXTENTS] == run
                assert version > self.versions_seen
                self.versions_seen = version

        @rule(stage=stages)
        def annotator_opens(self, stage: Stage) -> None:
            annotator_opens(self.catalog, self.video, stage.database)
            self.holder[stage] = "annotator"

        @rule(stage=stages)
        def annotator_closes(self, stage: Stage) -> None:
            if self.holder[stage] == "annotator":
                annotator_closes(self.catalog, self.video, stage.database)
                self.holder[stage] = None

        @rule(ask=st.sampled_from(["approve_layout", "request_captions", "retry"]))
        def ask(self, ask: str) -> None:
            getattr(self.catalog, ask)(self.video.id)

        @invariant()
        def one_active_version_and_it_is_the_current_one(self) -> None:
            versions = self.catalog.cropped_frames_versions(self.video.id)
            self.versions_seen = max(each.version for each in versions)
            assert [each.version for each in versions] == list(range(1, self.versions_seen + 1))
            current = self.catalog.video(self.video.id).current_cropped_frames_version
            assert [each.version for each in versions if each.status == "active"] == [current]
            assert sum(each.status == "processing" for each in versions) <= 1

        @invariant()
        def nothing_held_waits_and_an_error_has_a_message(self) -> None:
            for stage in Stage:
                if self.holder[stage] is not None:
                    assert self.video.id not in waiting(self.catalog, stage)
            video = self.catalog.video(self.video.id)
            assert video.status in ("pending", "processing", "active", "error")
            if video.error_message is not None:
                assert "error" in (video.status, video.caption_status)

        @invariant()
        def other_videos_are_untouched(self) -> None:
            assert self.catalog.video(self.bystander.id) == self.bystander

    Machine.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
    return Machine
