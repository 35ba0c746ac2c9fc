"""The client at the wire: what is sent keeps the limits, what passes is waited for, and what does not pass is
an error that says the fix and never the key.
"""

from __future__ import annotations

import json
import traceback
from collections import deque
from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from gpu_ops.contract import ComputeError, OcrRefused, kind_of
from gpu_ops.ocr import vision_client
from gpu_ops.ocr.engine import Image, OcrFailed
from gpu_ops.ocr.vision_client import (
    ApiDisabled,
    BadCredentials,
    BillingDisabled,
    PermissionDenied,
    QuotaExceeded,
    VisionClient,
    VisionUnavailable,
)
from tests.servers.vision import Failure, SeenLine, VisionServer, serving

PIXELS = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()


def read_one_word(image: Image) -> list[SeenLine]:
    return [SeenLine("word", 1, 1, 7, 7)]


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vision_client, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(vision_client, "LONGEST_PAUSE_S", 0.05)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[VisionServer]:
    with serving(read_one_word) as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


def jpeg(size: int) -> bytes:
    """A picture of exactly `size` bytes."""
    return PIXELS + bytes(size - len(PIXELS))


def words(answers: list) -> list[str | OcrFailed]:
    return [
        answer
        if isinstance(answer, OcrFailed)
        else "".join(symbol.text for symbol in answer.pages[0].blocks[0].paragraphs[0].words[0].symbols)
        for answer in answers
    ]


@pytest.mark.parametrize(
    ("sizes", "requests"),
    [
        ([1000] * 40, [16, 16, 8]),
        ([3_000_000] * 5, [2, 2, 1]),
        ([vision_client.LARGEST_IMAGE_BYTES, 1000], [1, 1]),
    ],
)
def test_requests_keep_the_limits_of_the_service(
    server: VisionServer, sizes: list[int], requests: list[int]
) -> None:
    client = VisionClient.from_environment()
    assert words(client.read([jpeg(size) for size in sizes])) == ["word"] * len(sizes)
    assert [len(images) for images in server.requests] == requests
    assert client.billed_images == len(sizes)


def test_language_hints_are_sent(server: VisionServer) -> None:
    VisionClient.from_environment().read([PIXELS], ["zh", "en"])
    assert server.hints == [["zh", "en"]]


def test_errors_that_pass_are_waited_for(server: VisionServer) -> None:
    server.failures = deque(Failure(status, "later") for status in (429, 500, 503, 502))
    assert words(VisionClient.from_environment().read([PIXELS])) == ["word"]
    assert not server.failures


def test_a_stalled_request_is_asked_again(server: VisionServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vision_client, "REQUEST_TIMEOUT_S", 0.3)
    server.delay_s = 1.0

    def recover(image: Image) -> list[SeenLine]:
        server.delay_s = 0.0
        return read_one_word(image)

    server.reader = recover
    assert words(VisionClient.from_environment().read([PIXELS])) == ["word"]


@pytest.mark.parametrize(
    ("status", "kind", "sentence"),
    [
        (429, QuotaExceeded, "quota of project captions-test is used up"),
        (503, VisionUnavailable, r"did not serve us for 1 seconds.*status\.cloud\.google\.com"),
    ],
)
def test_patience_ends(server: VisionServer, status: int, kind: type[ComputeError], sentence: str) -> None:
    server.failures = deque([Failure(status, "later")] * 1000)
    with pytest.raises(kind, match=sentence) as raised:
        VisionClient(server.credentials_json, patience_s=1.0).read([PIXELS])
    assert not raised.value.permanent
    assert 10 < 1000 - len(server.failures) < 300


def test_a_service_out_of_reach_is_not_our_fault(
    server: VisionServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAPTIONACC_VISION_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(VisionUnavailable, match="whether this machine reaches the internet"):
        VisionClient(server.credentials_json, patience_s=0.2).read([PIXELS])


def test_one_image_that_fails_fails_alone(server: VisionServer) -> None:
    client = VisionClient.from_environment()
    first, broken, last = words(client.read([PIXELS, b"no picture", PIXELS]))
    assert (first, last) == ("word", "word")
    assert isinstance(broken, OcrFailed)
    assert str(broken) == "Google Vision refused an image: Bad image data."
    assert client.billed_images == 2


def test_an_image_that_failed_for_the_moment_is_sent_again_without_the_others(server: VisionServer) -> None:
    server.replies.append({"error": {"code": 14, "message": "The service is unavailable."}})
    assert words(VisionClient.from_environment().read([PIXELS, PIXELS, PIXELS])) == ["word"] * 3
    assert [len(images) for images in server.requests] == [3, 1]


def test_an_image_that_keeps_failing_is_given_up(server: VisionServer) -> None:
    server.replies.extend([{"error": {"code": 13, "message": "Internal."}}] * 1000)
    (failed,) = VisionClient(server.credentials_json, patience_s=0.2).read([PIXELS])
    assert str(failed) == "Google Vision failed: Internal."


@pytest.mark.parametrize(
    ("failure", "kind", "fix"),
    [
        (
            Failure(403, "Cloud Vision API has not been used.", "SERVICE_DISABLED"),
            ApiDisabled,
            "Enable it at https://console.cloud.google.com/apis/library/vision.googleapis.com"
            "?project=captions-test",
        ),
        (
            Failure(403, "This API method requires billing to be enabled.", "BILLING_DISABLED"),
            BillingDisabled,
            "Link one at https://console.cloud.google.com/billing/linkedaccount?project=captions-test",
        ),
        (
            Failure(403, "Permission denied on resource.", "IAM_PERMISSION_DENIED"),
            PermissionDenied,
            "Give it the role Service Usage Consumer",
        ),
    ],
)
def test_a_refusal_says_what_to_do_and_is_not_repeated(
    server: VisionServer, failure: Failure, kind: type[OcrRefused], fix: str
) -> None:
    server.failures.append(failure)
    with pytest.raises(kind) as refused:
        VisionClient.from_environment().check_access()
    assert fix in str(refused.value)
    assert refused.value.permanent
    assert kind_of(refused.value) == "OcrRefused"


def test_a_key_of_somebody_else_is_refused(server: VisionServer, monkeypatch: pytest.MonkeyPatch) -> None:
    other = VisionServer(read_one_word).credentials_json
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS_JSON", other)
    with pytest.raises(BadCredentials, match=r"does not accept the key.*Make a new one at https://console"):
        VisionClient.from_environment().check_access()


@pytest.mark.parametrize(
    "text",
    [
        "/etc/secret-place/key.json",
        '{"type": "service_account", "private_key": "secret-words"}',
        '{"type": "authorized_user", "refresh_token": "secret-words"}',
        '["secret-words"]',
        '{"private_key": "secret-words',
    ],
)
def test_what_is_no_key_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(BadCredentials, match="Put the whole content of a service account's key") as refused:
        VisionClient(text)
    assert "secret" not in "".join(traceback.format_exception(refused.value))


def test_a_missing_key_is_named() -> None:
    with pytest.raises(BadCredentials, match="GOOGLE_APPLICATION_CREDENTIALS_JSON is not set"):
        VisionClient(" ")


def test_no_failure_shows_the_key(server: VisionServer, caplog: pytest.LogCaptureFixture) -> None:
    key = json.loads(server.credentials_json)["private_key"].splitlines()[3]
    for status in (400, 401, 403):
        server.failures = deque([Failure(status, "no")] * 9)
        with pytest.raises(ComputeError) as failed:
            VisionClient.from_environment().read([PIXELS])
        assert key not in "".join(traceback.format_exception(failed.value)) + caplog.text


def test_asking_for_access_costs_nothing(server: VisionServer) -> None:
    client = VisionClient.from_environment()
    client.check_access()
    assert (server.image_count, client.billed_images) == (0, 0)
    server.failures.append(Failure(400, "At least one request is needed."))
    client.check_access()


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://example.com",
        "example.com",
        "http://127.0.0.1:80@example.com",
        "http://127.0.0.1.example.com:80",
        "vision.googleapis.com.example.com",
    ],
)
def test_the_key_is_used_nowhere_but_at_google(
    server: VisionServer, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setenv("CAPTIONACC_VISION_ENDPOINT", endpoint)
    with pytest.raises(OcrRefused, match="CAPTIONACC_VISION_ENDPOINT is not an address of Google Vision"):
        VisionClient.from_environment()
