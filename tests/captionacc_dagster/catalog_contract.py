"""What every catalog must do: the tests of an implementation inherit `CatalogContract`."""

from __future__ import annotations

import dataclasses
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest

from captionacc_dagster.catalog.protocol import (
    AlreadyAnswered,
    Catalog,
    CatalogError,
    ComputeCall,
    LeaseLost,
    Stage,
    Video,
    VideoNotFound,
    WorkHeld,
    requested_at,
)
from gpu_ops.contract import CropInferResult, ExtractResult, VideoKeys
from gpu_ops.regions import CropPixels, CropRegion

TENANT = "00000000-0000-0000-0000-0000000000aa"
OTHER_TENANT = "00000000-0000-0000-0000-0000000000bb"
REGION = CropRegion(0.1, 0.8, 0.9, 0.95)
OTHER_REGION = CropRegion(0.1, 0.05, 0.9, 0.95, gap_top=0.15, gap_bottom=0.8)
CALL = ComputeCall(order="crop", request_digest="d" * 64, call_id="fc-1")
SHORT = timedelta(milliseconds=20)
AT_ONCE = timedelta(0)
T = TypeVar("T")


def add(
    catalog: Catalog, *, status: str = "pending", tenant_id: str = TENANT, sha: str | None = None
) -> Video:
    """A new video of the tenant."""
    video_id = str(uuid.uuid4())
    return catalog.add_video(
        video_id=video_id,
        tenant_id=tenant_id,
        display_path="film.mp4",
        storage_key=VideoKeys(tenant_id, video_id).video,
        size_bytes=1000,
        content_sha256=sha,
        status=status,
    )


def extracted(video: Video) -> ExtractResult:
    keys = VideoKeys(video.tenant_id, video.id)
    return ExtractResult(
        frame_count=7,
        duration=61.5,
        frame_width=1920,
        frame_height=1080,
        video_codec="h264",
        bitrate=4_000_000,
        ocr_box_count=12,
        failed_ocr_count=0,
        processing_duration_seconds=3.0,
        full_frames_key=keys.full_frames,
        ocr_db_key=keys.raw_ocr_db,
        layout_db_key=keys.layout_db,
        region=REGION,
        caption_box_count=9,
        ocr_engine="test",
        full_frames_bytes=1,
        data_versions={},
    )


def cropped(video: Video, version: int) -> CropInferResult:
    keys = VideoKeys(video.tenant_id, video.id)
    return CropInferResult(
        version=version,
        frame_count=615,
        label_counts={"same": 600, "different": 14},
        processing_duration_seconds=3.0,
        caption_frame_extents_db_key=keys.caption_frame_extents_db,
        cropped_frames_prefix=keys.cropped_frames(version),
        chunk_count=60,
        total_size_bytes=12345,
        caption_count=14,
        model_version="m",
        crop_pixels=CropPixels(left=0, top=0, right=10, bottom=10),
        data_versions={},
    )


def with_layout(catalog: Catalog, *, approved: bool = True) -> Video:
    """A video whose layout is done (and approved)."""
    video = add(catalog)
    catalog.claim(video.id, Stage.LAYOUT, "first")
    catalog.finish_layout(video.id, "first", extracted(video))
    return catalog.approve_layout(video.id) if approved else catalog.video(video.id)


def crop(catalog: Catalog, video: Video, run_id: str) -> int:
    """Carry out the extents stage; the new version."""
    claimed = catalog.claim(video.id, Stage.EXTENTS, run_id)
    version = catalog.reserve_cropped_frames(video.id, run_id, REGION).version
    catalog.finish_extents(video.id, run_id, cropped(video, version), approved_at=claimed.layout_approved_at)
    return version


def with_extents(catalog: Catalog) -> Video:
    """A video that waits for its captions."""
    video = with_layout(catalog)
    crop(catalog, video, "second")
    return catalog.video(video.id)


def prepared_for(stage: Stage, catalog: Catalog) -> Video:
    """A video that waits for `stage`."""
    return {Stage.LAYOUT: add, Stage.EXTENTS: with_layout, Stage.CAPTIONS: with_extents}[stage](catalog)


def finish(catalog: Catalog, video: Video, stage: Stage, run_id: str) -> None:
    """Finish the claimed stage as the pipeline does."""
    if stage is Stage.LAYOUT:
        catalog.finish_layout(video.id, run_id, extracted(video))
    elif stage is Stage.EXTENTS:
        version = catalog.reserve_cropped_frames(video.id, run_id, REGION).version
        catalog.finish_extents(
            video.id, run_id, cropped(video, version), approved_at=video.layout_approved_at
        )
    else:
        key = VideoKeys(video.tenant_id, video.id).captions_db
        catalog.finish_captions(video.id, run_id, key, requested_at=video.captions_requested_at)


def status_of(stage: Stage, video: Video) -> str | None:
    return video.status if stage is Stage.LAYOUT else video.caption_status


def waiting(catalog: Catalog, stage: Stage) -> list[str]:
    found = {
        Stage.LAYOUT: catalog.waiting_for_layout,
        Stage.EXTENTS: catalog.waiting_for_extents,
        Stage.CAPTIONS: catalog.waiting_for_captions,
    }[stage](1000)
    return [video.id for video in found]


class CatalogContract(ABC):
    """Tests of protocol.Catalog.

    An implementation adds a fixture `catalog` (an empty one) and the annotator's side of the locks.
    """

    more_than_a_page = 1101

    @abstractmethod
    def reopened(self, catalog: Catalog) -> Catalog:
        """The same catalog through a connection of its own, as another process has it."""

    @abstractmethod
    def annotator_opens(self, catalog: Catalog, video: Video, database: str) -> None:
        """What the product does when an annotator opens a database: take the client lock, whoever has it."""

    @abstractmethod
    def annotator_closes(self, catalog: Catalog, video: Video, database: str) -> None:
        """What the product does when an annotator closes a database."""

    @abstractmethod
    def user_with_access(self, catalog: Catalog, tenant_id: str, access_tier: str) -> None:
        """Add a user of the tenant with that access tier."""

    # --- videos

    def test_a_new_video_is_pending_and_reads_back_as_it_was_added(self, catalog: Catalog) -> None:
        before = datetime.now(UTC)
        video = add(catalog, sha="a" * 64)
        assert video == catalog.video(video.id)
        assert (video.status, video.caption_status, video.error_message) == ("pending", None, None)
        assert (video.display_path, video.size_bytes, video.content_sha256) == ("film.mp4", 1000, "a" * 64)
        assert timedelta(seconds=-5) < video.created_at - before < timedelta(seconds=5)
        assert video.layout_requested_at == video.created_at

    def test_adding_a_video_again_answers_the_row_there_is(self, catalog: Catalog) -> None:
        video = add(catalog)
        catalog.claim(video.id, Stage.LAYOUT, "run")
        again = catalog.add_video(
            video_id=video.id, tenant_id=TENANT, display_path="other", storage_key="k", size_bytes=1
        )
        assert again == catalog.video(video.id)
        assert (again.display_path, again.status) == ("film.mp4", "processing")

    def test_a_video_id_of_another_tenant_is_refused(self, catalog: Catalog) -> None:
        video = add(catalog)
        with pytest.raises(CatalogError, match="another tenant"):
            catalog.add_video(
                video_id=video.id, tenant_id=OTHER_TENANT, display_path="x", storage_key="k", size_bytes=1
            )

    def test_an_unknown_video_is_not_found(self, catalog: Catalog) -> None:
        nobody = str(uuid.uuid4())
        for call in (
            lambda: catalog.video(nobody),
            lambda: catalog.claim(nobody, Stage.LAYOUT, "run"),
            lambda: catalog.approve_layout(nobody),
            lambda: catalog.request_captions(nobody),
            lambda: catalog.retry(nobody),
            lambda: catalog.delete_video(nobody),
        ):
            with pytest.raises(VideoNotFound):
                call()

    def test_a_status_that_does_not_exist_is_refused(self, catalog: Catalog) -> None:
        with pytest.raises(CatalogError):
            add(catalog, status="done")

    def test_any_display_path_is_kept_as_it_is(self, catalog: Catalog) -> None:
        for name in ("../../etc/passwd", "a'b\"c", "two\nlines", "'); DROP TABLE videos; --", "映画 🎬"):
            video_id = str(uuid.uuid4())
            catalog.add_video(
                video_id=video_id, tenant_id=TENANT, display_path=name, storage_key="k", size_bytes=1
            )
            assert catalog.video(video_id).display_path == name

    def test_content_is_found_within_its_tenant_only(self, catalog: Catalog) -> None:
        video = add(catalog, sha="b" * 64)
        assert catalog.find_by_content(TENANT, "b" * 64) == video
        assert catalog.find_by_content(OTHER_TENANT, "b" * 64) is None
        assert catalog.find_by_content(TENANT, "c" * 64) is None

    def test_videos_come_oldest_first_across_pages(self, catalog: Catalog) -> None:
        mine = [add(catalog).id for _ in range(self.more_than_a_page)]
        other = add(catalog, tenant_id=OTHER_TENANT).id
        assert [video.id for video in catalog.videos()] == [*mine, other]
        assert [video.id for video in catalog.videos(tenant_id=OTHER_TENANT)] == [other]
        assert len(list(catalog.videos(tenant_id=TENANT))) == self.more_than_a_page

    def test_videos_can_be_changed_while_they_are_read(self, catalog: Catalog) -> None:
        for _ in range(3):
            add(catalog)
        for video in catalog.videos():
            catalog.delete_video(video.id)
        assert list(catalog.videos()) == []

    def test_languages_can_be_corrected(self, catalog: Catalog) -> None:
        video = add(catalog)
        assert catalog.set_languages(video.id, "en,zh").languages == "en,zh"
        with pytest.raises(VideoNotFound):
            catalog.set_languages(str(uuid.uuid4()), "en")

    def test_a_deleted_video_is_gone_for_everyone(self, catalog: Catalog) -> None:
        video = with_layout(catalog)
        catalog.claim(video.id, Stage.EXTENTS, "run")
        catalog.delete_video(video.id)
        catalog.delete_video(video.id)
        assert list(catalog.videos()) == []
        assert [waiting(catalog, stage) for stage in Stage] == [[], [], []]
        with pytest.raises(VideoNotFound):
            catalog.video(video.id)
        with pytest.raises(LeaseLost):
            catalog.renew(video.id, Stage.EXTENTS, "run")
        with pytest.raises(LeaseLost):
            catalog.finish_extents(video.id, "run", cropped(video, 1), approved_at=None)
        assert not catalog.fail(video.id, Stage.EXTENTS, "run", "x")

    def test_a_deleted_video_that_is_added_again_begins_anew_with_higher_versions(
        self, catalog: Catalog
    ) -> None:
        video = with_extents(catalog)
        catalog.delete_video(video.id)
        again = catalog.add_video(
            video_id=video.id, tenant_id=TENANT, display_path="new.mp4", storage_key="k", size_bytes=5
        )
        assert (again.status, again.caption_status, again.display_path) == ("pending", None, "new.mp4")
        assert again.current_cropped_frames_version is None
        assert again.layout_approved_at is None
        assert again.layout_requested_at > video.layout_requested_at
        assert crop(catalog, again, "later") == 2

    def test_a_tenants_tier_follows_its_users_access(self, catalog: Catalog) -> None:
        assert catalog.tier(TENANT) == "free"
        add(catalog)
        for access, tier in (
            ("demo", "free"),
            ("trial", "free"),
            ("active", "premium"),
            ("enterprise", "enterprise"),
        ):
            self.user_with_access(catalog, TENANT, access)
            assert catalog.tier(TENANT) == tier
        assert catalog.tier(OTHER_TENANT) == "free"

    # --- what is waiting

    def test_only_complete_uploads_wait_for_their_layout_oldest_first(self, catalog: Catalog) -> None:
        first, second = add(catalog), add(catalog)
        add(catalog, status="uploading")
        assert waiting(catalog, Stage.LAYOUT) == [first.id, second.id]
        assert [video.id for video in catalog.waiting_for_layout(1)] == [first.id]

    @pytest.mark.parametrize("stage", list(Stage))
    def test_what_a_run_works_on_does_not_wait(self, catalog: Catalog, stage: Stage) -> None:
        video = prepared_for(stage, catalog)
        assert waiting(catalog, stage) == [video.id]
        catalog.claim(video.id, stage, "run")
        assert waiting(catalog, stage) == []
        finish(catalog, video, stage, "run")
        assert waiting(catalog, stage) == []

    @pytest.mark.parametrize("stage", list(Stage))
    def test_what_an_annotator_has_open_does_not_wait_until_it_is_closed(
        self, catalog: Catalog, stage: Stage
    ) -> None:
        video = prepared_for(stage, catalog)
        self.annotator_opens(catalog, video, stage.database)
        assert waiting(catalog, stage) == []
        self.annotator_closes(catalog, video, stage.database)
        assert waiting(catalog, stage) == [video.id]

    def test_only_an_approved_layout_waits_for_extents(self, catalog: Catalog) -> None:
        video = with_layout(catalog, approved=False)
        assert waiting(catalog, Stage.EXTENTS) == []
        catalog.approve_layout(video.id)
        assert waiting(catalog, Stage.EXTENTS) == [video.id]

    def test_an_approval_of_an_unfinished_layout_waits_for_the_layout(self, catalog: Catalog) -> None:
        video = add(catalog)
        catalog.approve_layout(video.id)
        assert waiting(catalog, Stage.EXTENTS) == []
        catalog.claim(video.id, Stage.LAYOUT, "run")
        catalog.finish_layout(video.id, "run", extracted(video))
        assert waiting(catalog, Stage.EXTENTS) == [video.id]

    def test_captions_wait_only_where_there_are_cropped_frames(self, catalog: Catalog) -> None:
        video = with_layout(catalog)
        catalog.request_captions(video.id)
        assert waiting(catalog, Stage.CAPTIONS) == []
        crop(catalog, video, "run")
        assert waiting(catalog, Stage.CAPTIONS) == [video.id]

    def test_each_approval_and_request_is_newer_than_the_one_before(self, catalog: Catalog) -> None:
        video = with_layout(catalog)
        approvals = [video.layout_approved_at]
        requests: list[datetime | None] = []
        for _ in range(20):
            approvals.append(catalog.approve_layout(video.id).layout_approved_at)
            requests.append(catalog.request_captions(video.id).captions_requested_at)
        assert len(set(approvals)) == 21
        assert len(set(requests)) == 20
        assert approvals == sorted(approvals, key=lambda at: at or datetime.min)

    def test_an_approval_that_is_not_wanted_again_leaves_the_one_before(self, catalog: Catalog) -> None:
        video = with_layout(catalog, approved=False)
        first = catalog.approve_layout(video.id, again=False)
        assert first.layout_approved_at is not None
        assert catalog.approve_layout(video.id, again=False) == first

    def test_stuck_are_the_old_ones_that_have_not_begun(self, catalog: Catalog) -> None:
        uploading, pending = add(catalog, status="uploading"), add(catalog)
        working, done = add(catalog), with_layout(catalog)
        catalog.claim(working.id, Stage.LAYOUT, "run")
        assert [video.id for video in catalog.stuck(AT_ONCE, 10)] == [uploading.id, pending.id]
        assert [video.id for video in catalog.stuck(AT_ONCE, 1)] == [uploading.id]
        assert catalog.stuck(timedelta(minutes=10), 10) == []
        assert done.status == "active"

    # --- a stage's work

    @pytest.mark.parametrize("stage", list(Stage))
    def test_claiming_a_stage_shows_it_as_processing_and_keeps_others_out(
        self, catalog: Catalog, stage: Stage
    ) -> None:
        video = prepared_for(stage, catalog)
        assert status_of(stage, catalog.claim(video.id, stage, "mine")) == "processing"
        with pytest.raises(WorkHeld) as refused:
            catalog.claim(video.id, stage, "other")
        assert refused.value.holder_run_id == "mine"
        assert catalog.claim(video.id, stage, "mine") == catalog.video(video.id)

    @pytest.mark.parametrize("stage", list(Stage))
    def test_what_another_run_has_made_is_claimed_only_by_who_wants_it_made_again(
        self, catalog: Catalog, stage: Stage
    ) -> None:
        video = prepared_for(stage, catalog)
        claimed = catalog.claim(video.id, stage, "first", unless_answered=True)
        with pytest.raises(WorkHeld):
            catalog.claim(video.id, stage, "second", unless_answered=True)
        finish(catalog, claimed, stage, "first")
        done = catalog.video(video.id)
        with pytest.raises(AlreadyAnswered):
            catalog.claim(video.id, stage, "second", unless_answered=True)
        assert catalog.video(video.id) == done
        catalog.claim(video.id, stage, "operator")

    @pytest.mark.parametrize("stage", list(Stage))
    def test_a_failure_answers_nobody(self, catalog: Catalog, stage: Stage) -> None:
        video = prepared_for(stage, catalog)
        finish(catalog, catalog.claim(video.id, stage, "first"), stage, "first")
        catalog.claim(video.id, stage, "again")
        catalog.fail(video.id, stage, "again", "It crashed.")
        catalog.claim(video.id, stage, "third", unless_answered=True)

    def test_stages_of_one_video_are_claimed_apart(self, catalog: Catalog) -> None:
        video = with_extents(catalog)
        for stage in Stage:
            catalog.claim(video.id, stage, f"run-{stage}")

    @pytest.mark.parametrize("stage", list(Stage))
    def test_finishing_records_the_result_and_gives_the_lease_up(
        self, catalog: Catalog, stage: Stage
    ) -> None:
        video = prepared_for(stage, catalog)
        claimed = catalog.claim(video.id, stage, "run")
        finish(catalog, claimed, stage, "run")
        done = catalog.video(video.id)
        if stage is Stage.LAYOUT:
            assert done.status == "active"
            assert (done.width, done.height, done.video_codec) == (1920, 1080, "h264")
            assert (done.duration_seconds, done.bitrate, done.frame_count) == (61.5, 4_000_000, 7)
        elif stage is Stage.EXTENTS:
            assert done.caption_status == "processing"
            assert done.current_cropped_frames_version == 1
            assert done.label_counts == {"same": 600, "different": 14}
            assert done.layout_approval_processed_at == claimed.layout_approved_at
            assert done.captions_requested_at is not None
        else:
            assert done.caption_status == "ready"
            assert done.captions_db_key == VideoKeys(TENANT, video.id).captions_db
            assert done.captions_processed_at == claimed.captions_requested_at
        catalog.claim(video.id, stage, "next")

    @pytest.mark.parametrize("stage", [Stage.LAYOUT, Stage.CAPTIONS])
    def test_finishing_twice_after_a_lost_reply_changes_nothing(self, catalog: Catalog, stage: Stage) -> None:
        video = prepared_for(stage, catalog)
        claimed = catalog.claim(video.id, stage, "run")
        finish(catalog, claimed, stage, "run")
        once = catalog.video(video.id)
        finish(catalog, claimed, stage, "run")
        assert catalog.video(video.id) == once

    def test_finishing_extents_twice_neither_requests_captions_nor_activates_again(
        self, catalog: Catalog
    ) -> None:
        video = with_layout(catalog)
        version = crop(catalog, video, "run")
        once, versions = catalog.video(video.id), catalog.cropped_frames_versions(video.id)
        catalog.finish_extents(video.id, "run", cropped(video, version), approved_at=video.layout_approved_at)
        assert catalog.video(video.id) == once
        assert catalog.cropped_frames_versions(video.id) == versions

    @pytest.mark.parametrize("stage", list(Stage))
    def test_failing_twice_after_a_lost_reply_answers_the_same(self, catalog: Catalog, stage: Stage) -> None:
        video = prepared_for(stage, catalog)
        catalog.claim(video.id, stage, "run")
        assert catalog.fail(video.id, stage, "run", "It broke.")
        once = catalog.video(video.id)
        assert catalog.fail(video.id, stage, "run", "It broke.")
        assert catalog.video(video.id) == once

    @pytest.mark.parametrize("stage", list(Stage))
    def test_a_failed_run_cannot_finish_nor_a_finished_one_fail(self, catalog: Catalog, stage: Stage) -> None:
        video = prepared_for(stage, catalog)
        claimed = catalog.claim(video.id, stage, "run")
        catalog.fail(video.id, stage, "run", "It broke.")
        with pytest.raises(LeaseLost):
            finish(catalog, claimed, stage, "run")
        claimed = catalog.claim(video.id, stage, "better")
        finish(catalog, claimed, stage, "better")
        assert not catalog.fail(video.id, stage, "better", "It broke.")
        assert status_of(stage, catalog.video(video.id)) != "error"

    @pytest.mark.parametrize("stage", list(Stage))
    def test_a_failure_is_shown_once_and_not_tried_again_by_itself(
        self, catalog: Catalog, stage: Stage
    ) -> None:
        video = prepared_for(stage, catalog)
        catalog.claim(video.id, stage, "run")
        assert catalog.fail(video.id, stage, "run", "It broke.")
        failed = catalog.video(video.id)
        assert (status_of(stage, failed), failed.error_message) == ("error", "It broke.")
        assert failed.failed_stage == stage
        assert [waiting(catalog, each) for each in Stage] == [[], [], []]
        assert catalog.held_by_expired_lease(10) == []

    @pytest.mark.parametrize("stage", list(Stage))
    def test_a_retry_puts_the_failed_stage_back_in_line(self, catalog: Catalog, stage: Stage) -> None:
        video = prepared_for(stage, catalog)
        catalog.claim(video.id, stage, "run")
        catalog.fail(video.id, stage, "run", "It broke.")
        again = catalog.retry(video.id)
        assert catalog.retry(video.id) == again
        assert again.error_message is None
        assert again.failed_stage is None
        assert waiting(catalog, stage) == [video.id]
        asked = {
            Stage.LAYOUT: again.layout_requested_at > video.layout_requested_at,
            Stage.EXTENTS: again.layout_approved_at != video.layout_approved_at,
            Stage.CAPTIONS: again.captions_requested_at != video.captions_requested_at,
        }
        assert asked[stage]
        finish(catalog, catalog.claim(video.id, stage, "better"), stage, "better")
        assert catalog.video(video.id).error_message is None

    def test_a_retry_of_what_has_not_failed_changes_nothing(self, catalog: Catalog) -> None:
        video = with_extents(catalog)
        assert catalog.retry(video.id) == video

    @pytest.mark.parametrize(
        ("stage", "ask"),
        [(Stage.EXTENTS, "approve_layout"), (Stage.CAPTIONS, "request_captions")],
    )
    @pytest.mark.parametrize("fails", [False, True])
    def test_what_is_asked_while_a_run_works_still_waits_afterwards(
        self, catalog: Catalog, stage: Stage, ask: str, fails: bool
    ) -> None:
        video = prepared_for(stage, catalog)
        claimed = catalog.claim(video.id, stage, "run")
        getattr(catalog, ask)(video.id)
        if fails:
            catalog.fail(video.id, stage, "run", "It broke.")
        else:
            finish(catalog, claimed, stage, "run")
        assert waiting(catalog, stage) == [video.id]

    def test_a_failure_is_recorded_whatever_characters_its_message_has(self, catalog: Catalog) -> None:
        video = add(catalog)
        catalog.claim(video.id, Stage.LAYOUT, "run")
        assert catalog.fail(video.id, Stage.LAYOUT, "run", "It said '\0', \ud83d and 映画 %s \\.")
        message = catalog.video(video.id).error_message
        assert message is not None
        assert message.startswith("It said '")
        assert message.endswith(" and 映画 %s \\.")

    def test_a_failure_of_captions_leaves_the_video_active(self, catalog: Catalog) -> None:
        video = with_extents(catalog)
        catalog.claim(video.id, Stage.CAPTIONS, "run")
        catalog.fail(video.id, Stage.CAPTIONS, "run", "It broke.")
        assert catalog.video(video.id).status == "active"

    # --- leases

    @pytest.mark.parametrize("stage", list(Stage))
    def test_an_expired_lease_is_taken_over_and_its_old_holder_shut_out(
        self, catalog: Catalog, stage: Stage
    ) -> None:
        video = prepared_for(stage, catalog)
        catalog.claim(video.id, stage, "dead", SHORT)
        time.sleep(0.03)
        claimed = catalog.claim(video.id, stage, "alive")
        for late in (
            lambda: catalog.renew(video.id, stage, "dead"),
            lambda: finish(catalog, claimed, stage, "dead"),
        ):
            with pytest.raises(LeaseLost):
                late()
        assert not catalog.fail(video.id, stage, "dead", "late")
        assert not catalog.release(video.id, stage, "dead")
        finish(catalog, claimed, stage, "alive")

    @pytest.mark.parametrize("stage", list(Stage))
    def test_a_renewed_lease_outlives_its_first_expiry(self, catalog: Catalog, stage: Stage) -> None:
        video = prepared_for(stage, catalog)
        catalog.claim(video.id, stage, "run", SHORT)
        catalog.renew(video.id, stage, "run")
        time.sleep(0.03)
        with pytest.raises(WorkHeld):
            catalog.claim(video.id, stage, "other")
        assert catalog.held_by_expired_lease(10) == []

    @pytest.mark.parametrize("stage", list(Stage))
    def test_a_lost_holder_is_found_and_its_work_can_be_failed(self, catalog: Catalog, stage: Stage) -> None:
        video = prepared_for(stage, catalog)
        catalog.claim(video.id, stage, "dead", SHORT)
        time.sleep(0.03)
        ((found, found_stage, run_id),) = catalog.held_by_expired_lease(10)
        assert (found.id, found_stage, run_id) == (video.id, stage, "dead")
        assert catalog.fail(video.id, stage, run_id, "The process was killed.")
        assert catalog.held_by_expired_lease(10) == []
        assert catalog.video(video.id).error_message == "The process was killed."

    @pytest.mark.parametrize("stage", list(Stage))
    def test_a_released_stage_is_free_and_its_run_can_still_be_failed(
        self, catalog: Catalog, stage: Stage
    ) -> None:
        video = prepared_for(stage, catalog)
        catalog.claim(video.id, stage, "run")
        assert catalog.release(video.id, stage, "run")
        assert not catalog.release(video.id, stage, "run")
        assert status_of(stage, catalog.video(video.id)) == "processing"
        assert not catalog.fail(video.id, stage, "someone else", "no")
        assert catalog.fail(video.id, stage, "run", "It was cancelled.")
        assert status_of(stage, catalog.video(video.id)) == "error"

    @pytest.mark.parametrize("stage", list(Stage))
    def test_after_a_release_and_a_new_claim_the_first_run_has_no_say(
        self, catalog: Catalog, stage: Stage
    ) -> None:
        video = prepared_for(stage, catalog)
        catalog.claim(video.id, stage, "first")
        catalog.release(video.id, stage, "first")
        claimed = catalog.claim(video.id, stage, "second")
        assert not catalog.fail(video.id, stage, "first", "late")
        finish(catalog, claimed, stage, "second")

    @pytest.mark.parametrize("stage", list(Stage))
    def test_an_annotators_lock_keeps_runs_out(self, catalog: Catalog, stage: Stage) -> None:
        video = prepared_for(stage, catalog)
        self.annotator_opens(catalog, video, stage.database)
        with pytest.raises(WorkHeld) as refused:
            catalog.claim(video.id, stage, "run")
        assert refused.value.holder_run_id is None
        assert catalog.video(video.id) == video

    @pytest.mark.parametrize("stage", list(Stage))
    def test_an_annotator_takes_the_lease_from_a_run(self, catalog: Catalog, stage: Stage) -> None:
        video = prepared_for(stage, catalog)
        claimed = catalog.claim(video.id, stage, "run")
        self.annotator_opens(catalog, video, stage.database)
        with pytest.raises(LeaseLost):
            catalog.renew(video.id, stage, "run")
        with pytest.raises(LeaseLost):
            finish(catalog, claimed, stage, "run")
        assert not catalog.fail(video.id, stage, "run", "late")
        assert not catalog.release(video.id, stage, "run")
        assert waiting(catalog, stage) == []
        self.annotator_closes(catalog, video, stage.database)
        assert waiting(catalog, stage) == [video.id]
        again = requested_at(catalog.video(video.id), stage)
        before = requested_at(claimed, stage)
        assert again is not None
        assert before is None or again > before
        finish(catalog, catalog.claim(video.id, stage, "later"), stage, "later")

    # --- versions of the cropped frames

    def test_a_recrop_replaces_the_version_only_when_it_is_complete(self, catalog: Catalog) -> None:
        video = with_extents(catalog)
        catalog.approve_layout(video.id)
        catalog.claim(video.id, Stage.EXTENTS, "recrop")
        reserved = catalog.reserve_cropped_frames(video.id, "recrop", REGION)
        assert (reserved.version, reserved.status, reserved.crop_region) == (2, "processing", REGION)
        assert reserved.storage_prefix == VideoKeys(TENANT, video.id).cropped_frames(2)
        assert catalog.video(video.id).current_cropped_frames_version == 1
        catalog.finish_extents(video.id, "recrop", cropped(video, 2), approved_at=None)
        versions = catalog.cropped_frames_versions(video.id)
        assert [(each.version, each.status) for each in versions] == [(1, "archived"), (2, "active")]
        assert (versions[1].total_frames, versions[1].chunk_count) == (615, 60)
        assert versions[1].total_size_bytes == 12345
        assert catalog.video(video.id).current_cropped_frames_version == 2

    def test_a_version_is_never_used_twice(self, catalog: Catalog) -> None:
        video = with_layout(catalog)
        catalog.claim(video.id, Stage.EXTENTS, "run")
        catalog.reserve_cropped_frames(video.id, "run", REGION)
        assert catalog.reserve_cropped_frames(video.id, "run", REGION).version == 2
        catalog.fail(video.id, Stage.EXTENTS, "run", "It broke.")
        catalog.claim(video.id, Stage.EXTENTS, "next")
        assert catalog.reserve_cropped_frames(video.id, "next", REGION).version == 3
        states = [each.status for each in catalog.cropped_frames_versions(video.id)]
        assert states == ["failed", "failed", "processing"]

    def test_a_takeover_gives_up_what_the_lost_run_had_reserved(self, catalog: Catalog) -> None:
        video = with_layout(catalog)
        catalog.claim(video.id, Stage.EXTENTS, "dead")
        catalog.reserve_cropped_frames(video.id, "dead", REGION)
        catalog.release(video.id, Stage.EXTENTS, "dead")
        crop(catalog, video, "alive")
        states = [each.status for each in catalog.cropped_frames_versions(video.id)]
        assert states == ["failed", "active"]

    def test_only_the_holder_reserves_and_only_its_own_version_becomes_active(self, catalog: Catalog) -> None:
        video = with_extents(catalog)
        with pytest.raises(LeaseLost):
            catalog.reserve_cropped_frames(video.id, "nobody", REGION)
        catalog.claim(video.id, Stage.EXTENTS, "run")
        catalog.reserve_cropped_frames(video.id, "run", REGION)
        before = catalog.video(video.id)
        with pytest.raises(CatalogError):
            catalog.finish_extents(video.id, "run", cropped(video, 1), approved_at=None)
        assert catalog.video(video.id) == before
        catalog.finish_extents(video.id, "run", cropped(video, 2), approved_at=None)

    # --- calls on record

    @pytest.mark.parametrize("end", ["release", "fail", "nothing"])
    @pytest.mark.parametrize("stage", list(Stage))
    def test_a_call_stays_on_record_for_whoever_goes_on_with_the_work(
        self, catalog: Catalog, stage: Stage, end: str
    ) -> None:
        video = prepared_for(stage, catalog)
        catalog.claim(video.id, stage, "dead", ttl=SHORT)
        catalog.record_call(video.id, stage, "dead", CALL)
        if end == "release":
            catalog.release(video.id, stage, "dead")
        elif end == "fail":
            catalog.fail(video.id, stage, "dead", "It was killed.")
        else:
            time.sleep(2 * SHORT.total_seconds())
        catalog.claim(video.id, stage, "next")
        assert self.reopened(catalog).find_call(video.id, stage, CALL.order) == CALL
        assert catalog.find_call(video.id, stage, "another order") is None

    def test_a_later_order_of_the_same_name_supersedes_the_earlier(self, catalog: Catalog) -> None:
        video = with_layout(catalog)
        catalog.claim(video.id, Stage.EXTENTS, "run")
        later = dataclasses.replace(CALL, request_digest="e" * 64, call_id="fc-2")
        for call in (CALL, later, later):
            catalog.record_call(video.id, Stage.EXTENTS, "run", call)
        assert catalog.find_call(video.id, Stage.EXTENTS, CALL.order) == later

    def test_only_the_holder_puts_a_call_on_record(self, catalog: Catalog) -> None:
        video = with_layout(catalog)
        catalog.claim(video.id, Stage.EXTENTS, "run")
        with pytest.raises(LeaseLost):
            catalog.record_call(video.id, Stage.EXTENTS, "another", CALL)
        self.annotator_opens(catalog, video, Stage.EXTENTS.database)
        with pytest.raises(LeaseLost):
            catalog.record_call(video.id, Stage.EXTENTS, "run", CALL)
        assert catalog.find_call(video.id, Stage.EXTENTS, CALL.order) is None

    def test_only_the_run_that_has_the_call_takes_it_off_the_record(self, catalog: Catalog) -> None:
        video = with_layout(catalog)
        catalog.claim(video.id, Stage.EXTENTS, "lost", ttl=SHORT)
        catalog.record_call(video.id, Stage.EXTENTS, "lost", CALL)
        time.sleep(2 * SHORT.total_seconds())
        catalog.claim(video.id, Stage.EXTENTS, "next")
        catalog.record_call(video.id, Stage.EXTENTS, "next", CALL)
        assert not catalog.forget_call(video.id, Stage.EXTENTS, "lost", CALL.order)
        assert catalog.find_call(video.id, Stage.EXTENTS, CALL.order) == CALL
        assert catalog.forget_call(video.id, Stage.EXTENTS, "next", CALL.order)
        assert catalog.forget_call(video.id, Stage.EXTENTS, "next", CALL.order), "again, its reply was lost"
        assert catalog.find_call(video.id, Stage.EXTENTS, CALL.order) is None

    @pytest.mark.parametrize("stage", list(Stage))
    def test_a_finished_stage_has_no_calls_on_record(self, catalog: Catalog, stage: Stage) -> None:
        video = prepared_for(stage, catalog)
        other = prepared_for(stage, catalog)
        for each in (video, other):
            catalog.claim(each.id, stage, "run")
            catalog.record_call(each.id, stage, "run", CALL)
        finish(catalog, video, stage, "run")
        assert catalog.find_call(video.id, stage, CALL.order) is None
        assert catalog.find_call(other.id, stage, CALL.order) == CALL

    def test_a_deleted_video_has_no_calls_on_record(self, catalog: Catalog) -> None:
        video = with_layout(catalog)
        catalog.claim(video.id, Stage.EXTENTS, "run")
        catalog.record_call(video.id, Stage.EXTENTS, "run", CALL)
        catalog.delete_video(video.id)
        assert catalog.find_call(video.id, Stage.EXTENTS, CALL.order) is None

    @pytest.mark.parametrize("end", ["release", "fail"])
    def test_the_version_that_a_call_on_record_computes_goes_over_to_the_next_run(
        self, catalog: Catalog, end: str
    ) -> None:
        video = with_extents(catalog)
        catalog.claim(video.id, Stage.EXTENTS, "dead")
        reserved = catalog.reserve_cropped_frames(video.id, "dead", REGION)
        catalog.record_call(video.id, Stage.EXTENTS, "dead", CALL)
        if end == "release":
            catalog.release(video.id, Stage.EXTENTS, "dead")
        else:
            catalog.fail(video.id, Stage.EXTENTS, "dead", "It was killed.")
        catalog.claim(video.id, Stage.EXTENTS, "next")
        assert catalog.reserve_cropped_frames(video.id, "next", REGION) == reserved
        catalog.finish_extents(video.id, "next", cropped(video, reserved.version), approved_at=None)
        versions = catalog.cropped_frames_versions(video.id)
        assert [(each.version, each.status) for each in versions] == [(1, "archived"), (2, "active")]

    def test_another_region_gets_a_version_of_its_own_also_while_a_call_is_on_record(
        self, catalog: Catalog
    ) -> None:
        video = with_layout(catalog)
        catalog.claim(video.id, Stage.EXTENTS, "run")
        catalog.reserve_cropped_frames(video.id, "run", REGION)
        catalog.record_call(video.id, Stage.EXTENTS, "run", CALL)
        assert catalog.reserve_cropped_frames(video.id, "run", OTHER_REGION).version == 2
        states = [each.status for each in catalog.cropped_frames_versions(video.id)]
        assert states == ["failed", "processing"]

    # --- races

    @pytest.mark.parametrize("stage", list(Stage))
    def test_of_many_runs_that_claim_at_once_exactly_one_wins(self, catalog: Catalog, stage: Stage) -> None:
        video = prepared_for(stage, catalog)
        winners = _at_once(lambda number: _claims(catalog, video, stage, f"run-{number}"), 12)
        assert winners.count(True) == 1

    def test_many_reservations_at_once_get_different_versions(self, catalog: Catalog) -> None:
        video = with_layout(catalog)
        catalog.claim(video.id, Stage.EXTENTS, "run")
        versions = _at_once(lambda _: catalog.reserve_cropped_frames(video.id, "run", REGION).version, 8)
        assert sorted(versions) == list(range(1, 9))

    def test_what_one_process_does_the_next_one_sees(self, catalog: Catalog) -> None:
        video = add(catalog)
        other = self.reopened(catalog)
        other.claim(video.id, Stage.LAYOUT, "run")
        assert catalog.video(video.id).status == "processing"

    def test_describe_tells_where_the_catalog_is_and_how_full(self, catalog: Catalog) -> None:
        add(catalog)
        facts = catalog.describe()
        assert {"kind", "where", "schema_version", "videos"} <= set(facts)
        assert facts["videos"] == 1


def _claims(catalog: Catalog, video: Video, stage: Stage, run_id: str) -> bool:
    try:
        catalog.claim(video.id, stage, run_id)
    except WorkHeld:
        return False
    return True


def _at_once(call: Callable[[int], T], count: int) -> list[T]:
    barrier = threading.Barrier(count)

    def after_the_others(number: int) -> T:
        barrier.wait()
        return call(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(after_the_others, range(count)))
