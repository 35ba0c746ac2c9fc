"""What becomes of a stage's work that fails, is stopped, or finds someone else at it."""

import os
import signal
import time
from collections.abc import Callable, Mapping

import dagster as dg
import pytest
from dagster._core.storage.tags import PARENT_RUN_ID_TAG, RETRY_NUMBER_TAG

from captionacc_dagster.artifacts import keys_of
from captionacc_dagster.assets import work
from captionacc_dagster.assets.work import MOST_RETRIES, STOPPED, stage_work
from captionacc_dagster.catalog.protocol import Catalog, Stage, Video
from captionacc_dagster.jobs import UNLESS_ANSWERED
from captionacc_dagster.partitions import videos
from gpu_ops.contract import BadVideo, WorkerCrashed
from tests.captionacc_dagster.builders import AddVideo, extract_result

Body = Callable[[Video, int], None]
Run = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def run(catalog: Catalog, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Carries out one run whose layout work is the given function of the video and the number of the try."""
    monkeypatch.setattr(work, "RETRY_DELAY_S", 0)

    def carry_out(
        video: Video, body: Body, tags: Mapping[str, str] | None = None
    ) -> dg.ExecuteInProcessResult:
        @dg.asset(partitions_def=videos)
        def worked(context: dg.AssetExecutionContext) -> None:
            with stage_work(context, catalog, Stage.LAYOUT) as held:
                body(held.video, context.retry_number)

        instance.add_dynamic_partitions(str(videos.name), [video.id])
        return dg.materialize(
            [worked], instance=instance, partition_key=video.id, tags=tags, raise_on_error=False
        )

    return carry_out


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (WorkerCrashed("It crashed."), 1 + MOST_RETRIES),
        (OSError("No space left on device"), 1 + MOST_RETRIES),
        (BadVideo("It is empty."), 1),
    ],
)
def test_only_what_may_pass_is_tried_again_and_the_last_failure_is_on_record(
    run: Run, catalog: Catalog, add_video: AddVideo, error: Exception, tries: int
) -> None:
    video, tried = add_video(), list[int]()

    def body(_: Video, attempt: int) -> None:
        tried.append(attempt)
        raise error

    assert not run(video, body).success
    assert tried == list(range(tries))
    failed = catalog.video(video.id)
    assert failed.status == "error"
    assert str(error) in str(failed.error_message)


def test_a_failure_that_passed_leaves_no_trace(
    run: Run, catalog: Catalog, add_video: AddVideo, instance: dg.DagsterInstance
) -> None:
    video = add_video()

    def body(held: Video, attempt: int) -> None:
        if attempt == 0:
            raise WorkerCrashed("It crashed.")
        (record,) = instance.get_runs()
        catalog.finish_layout(held.id, record.run_id, extract_result(keys_of(held)))

    assert run(video, body).success
    assert (catalog.video(video.id).status, catalog.video(video.id).error_message) == ("active", None)


def test_a_stopped_run_is_not_tried_again_and_says_so(
    run: Run, catalog: Catalog, add_video: AddVideo
) -> None:
    video, tried = add_video(), list[int]()

    def body(_: Video, attempt: int) -> None:
        tried.append(attempt)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    assert not run(video, body).success
    assert tried == [0]
    assert (catalog.video(video.id).status, catalog.video(video.id).error_message) == ("error", STOPPED)
    catalog.claim(video.id, Stage.LAYOUT, "the next run")


def test_a_run_that_finds_another_at_work_leaves_everything_as_it_is(
    run: Run, catalog: Catalog, add_video: AddVideo
) -> None:
    video, tried = add_video(), list[int]()
    catalog.claim(video.id, Stage.LAYOUT, "another run")
    assert not run(video, lambda _, attempt: tried.append(attempt)).success
    assert tried == []
    assert (catalog.video(video.id).status, catalog.video(video.id).error_message) == ("processing", None)


@pytest.mark.parametrize(
    ("tags", "works"),
    [
        (UNLESS_ANSWERED, False),
        (UNLESS_ANSWERED | {PARENT_RUN_ID_TAG: "lost", RETRY_NUMBER_TAG: "1"}, False),  # a retry by Dagster
        (UNLESS_ANSWERED | {PARENT_RUN_ID_TAG: "done"}, True),  # an operator's re-execution
        ({}, True),  # materialized in the UI
    ],
)
def test_what_another_run_has_made_meanwhile_is_made_again_only_for_an_operator(
    run: Run, catalog: Catalog, add_video: AddVideo, tags: Mapping[str, str], works: bool
) -> None:
    video, tried = add_video(), list[int]()
    catalog.claim(video.id, Stage.LAYOUT, "another run")
    catalog.finish_layout(video.id, "another run", extract_result(keys_of(video)))
    run(video, lambda _, attempt: tried.append(attempt), tags)
    assert tried == ([0] if works else [])
    assert catalog.video(video.id).error_message is None
