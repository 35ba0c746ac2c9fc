"""Compute on Modal, through the real client: what becomes of a call in the run that ordered it."""

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import pytest
from modal_proto import api_pb2
from pydantic import SecretStr

from captionacc_dagster.catalog.lease import HeldWork
from captionacc_dagster.catalog.protocol import Catalog, CatalogError, Stage
from captionacc_dagster.resources import call_log, modal_compute
from captionacc_dagster.resources.compute import ComputeRefused, WorkStopped
from captionacc_dagster.resources.modal_compute import ModalCompute
from captionacc_dagster.settings import Settings
from gpu_ops.contract import (
    BadVideo,
    CaptionOcrBatch,
    CaptionOcrRequest,
    ComputeError,
    FrameRange,
    TimeLimitExceeded,
    WorkerCrashed,
)
from tests.captionacc_dagster.builders import AddVideo
from tests.servers.modal_server import TOKEN_ID, TOKEN_SECRET, Behaviour, Call, ModalServer

REQUEST = CaptionOcrRequest(chunks_prefix="some/prefix", captions=(FrameRange(start_frame=5, end_frame=9),))
OTHER_REQUEST = dataclasses.replace(REQUEST, languages=("fr",))
ORDER = "generate_caption_ocr from 5"
BATCH = CaptionOcrBatch(captions=(), ocr_engine="fake", processing_duration_seconds=1.0)
ANSWER = {"captions": [], "ocr_engine": "fake", "processing_duration_seconds": 1.0}


@pytest.fixture(scope="module")
def running() -> Iterator[ModalServer]:
    server = ModalServer()
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server
    server.stop()
    # The connection that the process keeps leads to this server.
    modal_compute._client.cache_clear()


@pytest.fixture
def server(running: ModalServer, monkeypatch: pytest.MonkeyPatch) -> ModalServer:
    """A server that has seen no calls, and a client that looks more often than in production."""
    running.reset()
    monkeypatch.setattr(modal_compute, "POLL_SECONDS", 0.2)
    monkeypatch.setattr(call_log, "PAUSE_SECONDS", 0.2)
    monkeypatch.setattr(call_log, "LAST_LINES_SECONDS", 0.5)
    return running


@pytest.fixture
def settings(settings: Settings) -> Settings:
    tokens = {"modal_token_id": SecretStr(TOKEN_ID), "modal_token_secret": SecretStr(TOKEN_SECRET)}
    return settings.model_copy(update=tokens)


@pytest.fixture
def held(catalog: Catalog, add_video: AddVideo) -> HeldWork:
    video = add_video(status="active")
    catalog.claim(video.id, Stage.CAPTIONS, "run")
    return HeldWork(catalog, video, Stage.CAPTIONS, "run", threading.Event())


class Run:
    """A real run whose asset orders one call; answers result or error, and keeps what the run logged."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance, held: HeldWork) -> None:
        self.settings = settings
        self.instance = instance
        self.held = held
        self.heard: list[tuple[str, float, float]] = []

    def __call__(self, request: CaptionOcrRequest = REQUEST) -> Any:
        compute = ModalCompute(self.settings, self)
        answers: list[Any] = []

        @dg.asset
        def ordered(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
            try:
                answers.append(compute.generate_caption_ocr(context, request, self.held))
            except (ComputeError, CatalogError) as error:
                answers.append(error)
            return dg.MaterializeResult()

        assert dg.materialize([ordered], instance=self.instance).success
        return answers[0]

    @property
    def log(self) -> str:
        entries = (self.instance.all_logs(run.run_id) for run in self.instance.get_runs())
        return "\n".join(entry.user_message for found in entries for entry in found)

    def stage(self, video: str, stage: str) -> None: ...

    def note(self, message: str) -> None: ...

    def progress(self, step: str, done: float, total: float) -> None:
        self.heard.append((step, done, total))


@pytest.fixture
def run(settings: Settings, instance: dg.DagsterInstance, held: HeldWork, server: ModalServer) -> Run:
    return Run(settings, instance, held)


def answers(call: Call) -> None:
    call.returns({"answer": ANSWER})


def goes_on(call: Call) -> None:
    """The call has neither outcome nor end."""


def test_an_answer_arrives_with_what_was_said_on_the_way(run: Run, server: ModalServer) -> None:
    def works(call: Call) -> None:
        call.says('{"progress": {"step": "read", "done": 1, "total": 2}}\n{"progress": {"step": "re')
        call.says("a library warns\n", api_pb2.FILE_DESCRIPTOR_STDERR)
        call.says('ad", "done": 2, "total": 2}}\n')
        answers(call)

    server.every_call = works
    assert run() == BATCH
    assert run.heard == [("read", 1, 2), ("read", 2, 2)]
    assert "a library warns" in run.log
    assert "read: 100 %" in run.log
    assert [call.function for call in server.calls] == ["generate_caption_ocr"]


def test_progress_is_heard_while_the_work_goes_on(run: Run, server: ModalServer) -> None:
    """The call waits until its progress was heard: only a listener told at once lets it end."""

    def works(call: Call) -> None:
        call.says('{"progress": {"step": "read", "done": 1, "total": 2}}\n')
        wait_until(lambda: bool(run.heard))
        answers(call)

    server.every_call = works
    assert run() == BATCH


def test_a_failure_keeps_its_kind_and_its_sentence(run: Run, server: ModalServer) -> None:
    server.every_call = lambda call: call.returns(
        {"failure": {"kind": "BadVideo", "message": "The file is empty."}}
    )
    error = run()
    assert isinstance(error, BadVideo)
    assert str(error) == "The file is empty."


def test_an_app_that_is_newer_is_understood_as_far_as_possible(run: Run, server: ModalServer) -> None:
    server.next_calls = [
        lambda call: call.returns({"answer": {**ANSWER, "added_later": 1}}),
        lambda call: call.returns({"failure": {"kind": "AddedLater", "message": "It is too dark."}}),
        lambda call: call.returns({"answer": {"captions": []}}),
    ]
    assert run() == BATCH
    run.held.forget_call(ORDER)
    failure, too_different = run(), run()
    assert (type(failure), str(failure)) == (ComputeError, "It is too dark.")
    assert "make deploy-compute" in str(too_different)


@pytest.mark.parametrize(
    ("end", "kind", "sentence"),
    [
        (lambda call: call.ends("TIMEOUT"), TimeLimitExceeded, "Raise CAPTIONACC_MODAL_CAPTIONS_TIMEOUT_S"),
        (
            lambda call: call.ends("FAILURE", "OOM-killed"),
            WorkerCrashed,
            "CAPTIONACC_MODAL_CAPTIONS_MEMORY_MB",
        ),
        (lambda call: call.ends("TERMINATED", "stopped"), WorkerCrashed, "stopped"),
        (lambda call: call.ends("INTERNAL_FAILURE", "host lost"), WorkerCrashed, "host lost"),
        (lambda call: call.raises(ImportError("no cv2")), ComputeError, "ImportError: no cv2"),
    ],
)
def test_an_end_without_an_answer_says_what_happened_and_the_next_try_computes_anew(
    run: Run, server: ModalServer, end: Behaviour, kind: type[ComputeError], sentence: str
) -> None:
    server.next_calls = [end, answers]
    error = run()
    assert type(error) is kind
    assert sentence in str(error)
    assert run() == BATCH
    assert len(server.calls) == 2


def test_an_exception_on_modal_leaves_its_traceback_in_the_log(run: Run, server: ModalServer) -> None:
    server.every_call = lambda call: call.raises(ImportError("no cv2"))
    run()
    assert "Traceback" in run.log
    assert "ImportError: no cv2" in run.log


def test_an_app_that_is_not_deployed_says_so(run: Run, server: ModalServer) -> None:
    server.deployed.clear()
    error = run()
    assert isinstance(error, ComputeRefused)
    assert error.permanent
    assert "make deploy-compute" in str(error)


def test_a_wrong_token_names_the_variables_and_not_the_token(run: Run, server: ModalServer) -> None:
    server.tokens = {TOKEN_ID: "another"}
    error = run()
    assert isinstance(error, ComputeRefused)
    assert "MODAL_TOKEN_ID" in str(error)
    assert TOKEN_ID not in run.log + repr(error)


def test_a_token_that_is_not_set_names_the_variables(run: Run) -> None:
    run.settings = run.settings.model_copy(update={"modal_token_secret": None})
    assert "MODAL_TOKEN_SECRET" in str(run())


def test_access_is_there_where_every_function_is_deployed(settings: Settings, server: ModalServer) -> None:
    ModalCompute(settings).check_access()
    server.deployed.remove("verify_cropped_frames")
    with pytest.raises(ComputeRefused, match=r"verify_cropped_frames .*make deploy-compute"):
        ModalCompute(settings).check_access()
    assert server.calls == []


def test_a_lost_connection_is_waited_out_and_the_log_goes_on_where_it_was(
    run: Run, server: ModalServer
) -> None:
    def works(call: Call) -> None:
        call.says("first\n")
        wait_until(lambda: call.times_asked > 0)
        server.stop()
        call.says("second\n")
        time.sleep(2)
        server.start()
        time.sleep(1)
        answers(call)

    server.every_call = works
    assert run() == BATCH
    assert "cannot be reached" in run.log
    assert [line for line in run.log.splitlines() if line in ("first", "second")] == ["first", "second"]
    assert len(server.calls) == 1


def test_a_lost_reply_to_the_order_does_not_order_twice(run: Run, server: ModalServer) -> None:
    server.every_call = answers
    server.unavailable["FunctionMap"] = 2
    server.does_its_work = {"FunctionMap"}
    assert run() == BATCH
    assert len(server.calls) == 1


def test_a_modal_that_is_down_is_worth_another_try(run: Run, server: ModalServer) -> None:
    server.unavailable["FunctionMap"] = 100
    error = run()
    assert isinstance(error, WorkerCrashed)
    assert not error.permanent
    assert server.calls == []


def test_a_call_that_cannot_be_put_on_record_is_ended_before_anyone_waits_for_it(
    run: Run, server: ModalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise CatalogError("The catalog is away.")

    monkeypatch.setattr(run.held.catalog, "record_call", refuse)
    assert str(run()) == "The catalog is away."
    (call,) = server.calls
    assert call.cancelled
    assert call.times_asked == 0


def test_the_call_of_a_run_that_died_is_taken_over_with_its_log(run: Run, server: ModalServer) -> None:
    paid_for_by_a_dead_run(run, server)
    (call,) = server.calls
    call.says("said to the dead run\n")
    answers(call)
    assert run() == BATCH
    assert "Going on with the call fc-1" in run.log
    assert "said to the dead run" in run.log
    assert len(server.calls) == 1


def test_an_answer_is_there_again_until_the_work_is_finished(run: Run, server: ModalServer) -> None:
    server.every_call = answers
    assert run() == run() == BATCH
    assert len(server.calls) == 1
    run.held.catalog.finish_captions(run.held.video.id, "run", "key", requested_at=None)
    run.held.catalog.claim(run.held.video.id, Stage.CAPTIONS, "run")
    assert run() == BATCH
    assert len(server.calls) == 2


@pytest.mark.parametrize("gone", ["expired", "unknown"])
def test_an_outcome_that_modal_no_longer_has_is_computed_anew(
    run: Run, server: ModalServer, gone: str
) -> None:
    paid_for_by_a_dead_run(run, server)
    if gone == "expired":
        server.calls[0].expired = True
    else:
        server.calls.clear()
    server.every_call = answers
    assert run() == BATCH


def test_another_order_of_the_same_work_ends_the_earlier_call(run: Run, server: ModalServer) -> None:
    paid_for_by_a_dead_run(run, server)
    server.every_call = answers
    assert run(OTHER_REQUEST) == BATCH
    assert [call.cancelled for call in server.calls] == [True, False]


def test_losing_the_lease_ends_the_call(run: Run, server: ModalServer) -> None:
    def works(call: Call) -> None:
        wait_until(lambda: call.times_asked > 0)
        run.held.lost.set()

    server.every_call = works
    assert isinstance(run(), WorkStopped)
    assert server.calls[0].cancelled


def test_a_run_that_lost_its_lease_leaves_the_call_to_the_run_that_took_over(
    run: Run, server: ModalServer
) -> None:
    def works(call: Call) -> None:
        wait_until(lambda: call.times_asked > 0)
        catalog, video = run.held.catalog, run.held.video
        on_record = catalog.find_call(video.id, Stage.CAPTIONS, ORDER)
        assert on_record is not None
        catalog.release(video.id, Stage.CAPTIONS, "run")
        catalog.claim(video.id, Stage.CAPTIONS, "next")
        catalog.record_call(video.id, Stage.CAPTIONS, "next", on_record)
        run.held.lost.set()

    server.every_call = works
    assert isinstance(run(), WorkStopped)
    assert not server.calls[0].cancelled


def test_waiting_ends_at_the_time_limit_of_the_stage(run: Run, server: ModalServer) -> None:
    run.settings = run.settings.model_copy(update={"captions_time_limit_s": 1.0})
    error = run()
    assert isinstance(error, TimeLimitExceeded)
    assert "CAPTIONACC_CAPTIONS_TIME_LIMIT_S" in str(error)
    assert server.calls[0].cancelled


def paid_for_by_a_dead_run(run: Run, server: ModalServer) -> None:
    """A call under way that an earlier run, which never got an answer, put on record."""
    server.every_call = goes_on
    patient = run.settings
    run.settings = run.settings.model_copy(update={"captions_time_limit_s": 0.5})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HeldWork, "forget_call", lambda *_: False)
        run()
    run.settings = patient
    assert [call.cancelled for call in server.calls] == [False]


def wait_until(happened: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)
