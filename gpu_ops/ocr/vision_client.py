"""Google Vision over HTTP: the key, requests within the service's limits, patience, errors that say the fix.

Knows nothing of captions. Light: Google's library is imported when a client is made, so that the control
plane can ask whether there is access without any pixel library.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gpu_ops.contract import ComputeError, OcrRefused
from gpu_ops.ocr.engine import OcrFailed

if TYPE_CHECKING:
    from google.cloud.vision import AnnotateImageResponse

# google.cloud.vision.v1.TextAnnotation as plain protobuf: its fields are read far faster than the client's.
Annotation = Any

CREDENTIALS_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS_JSON"
ENDPOINT_VARIABLE = "CAPTIONACC_VISION_ENDPOINT"

# cloud.google.com/vision/quotas. An image travels as base64, so the limit of the request comes first.
IMAGES_PER_REQUEST = 16
REQUEST_BYTES = 10_000_000
BYTES_PER_IMAGE_BESIDES = 500
LARGEST_IMAGE_BYTES = (REQUEST_BYTES - BYTES_PER_IMAGE_BESIDES) // 4 * 3

# A compute call on Modal has 300 s for everything.
PATIENCE_S = 180.0
REQUEST_TIMEOUT_S = 90.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 20.0

# google.rpc.Code: DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, INTERNAL, UNAVAILABLE
_TRANSIENT_CODES = frozenset({4, 8, 13, 14})
# Google's, or on this machine; the key's signature goes nowhere else.
_ENDPOINT = re.compile(r"(?:(?:eu|us)-)?vision\.googleapis\.com|http://127\.0\.0\.1:\d{1,5}")
_CONSOLE = "https://console.cloud.google.com"


class BadCredentials(OcrRefused):
    """The key is absent, is not one, or is no longer valid."""


class ApiDisabled(OcrRefused):
    """The Cloud Vision API is not enabled in the key's project."""


class BillingDisabled(OcrRefused):
    """The key's project has no billing account."""


class PermissionDenied(OcrRefused):
    """The key's service account may not use the API."""


class QuotaExceeded(ComputeError):
    """More was asked of the API than the project's quota allows, and waiting did not help."""


class VisionUnavailable(ComputeError):
    """The service failed or could not be reached for as long as we were patient."""


class VisionClient:
    """Document text detection for one service account. Not safe for use by two threads at once."""

    def __init__(self, credentials_json: str, *, patience_s: float = PATIENCE_S) -> None:
        """`credentials_json` is the text of a service account's key. Raises BadCredentials, OcrRefused."""
        from google.api_core.client_options import ClientOptions  # noqa: PLC0415
        from google.cloud.vision import ImageAnnotatorClient  # noqa: PLC0415

        credentials, self._project = _credentials(credentials_json)
        self._client = ImageAnnotatorClient(
            credentials=credentials,
            transport="rest",
            client_options=ClientOptions(api_endpoint=_endpoint()),
        )
        self._patience_s = patience_s
        self.billed_images = 0

    @classmethod
    def from_environment(cls) -> VisionClient:
        """With the key in GOOGLE_APPLICATION_CREDENTIALS_JSON. Raises BadCredentials, OcrRefused."""
        return cls(os.environ.get(CREDENTIALS_VARIABLE, ""))

    def read(self, images: Sequence[bytes], hints: Sequence[str] = ()) -> list[Annotation | OcrFailed]:
        """What each image (JPEG or PNG, at most LARGEST_IMAGE_BYTES) says, in order.

        An image that Vision cannot process is an OcrFailed. Raises OcrRefused and its kinds, QuotaExceeded,
        VisionUnavailable, ComputeError.
        """
        return [answer for batch in _batches(images) for answer in self._read_batch(batch, hints)]

    def check_access(self) -> None:
        """Ask whether we would be served, by a request without images, which costs nothing.

        Raises OcrRefused and its kinds, QuotaExceeded, VisionUnavailable.
        """
        from google.api_core.exceptions import BadRequest  # noqa: PLC0415

        def ask() -> None:
            try:
                self._client.batch_annotate_images(requests=[], retry=None, timeout=REQUEST_TIMEOUT_S)
            except BadRequest:
                return  # it looks at the request only after it has let us in

        self._patiently(ask)

    def _read_batch(self, images: Sequence[bytes], hints: Sequence[str]) -> Iterator[Annotation | OcrFailed]:
        from google.cloud.vision import AnnotateImageRequest, Feature, Image, ImageContext  # noqa: PLC0415

        feature = Feature(type_=Feature.Type.DOCUMENT_TEXT_DETECTION)
        context = ImageContext(language_hints=list(hints))
        answers: dict[int, AnnotateImageResponse] = {}
        failures: dict[int, str] = {}

        def ask() -> None:
            waiting = [number for number in range(len(images)) if number not in answers]
            asked = [
                AnnotateImageRequest(
                    image=Image(content=images[number]), features=[feature], image_context=context
                )
                for number in waiting
            ]
            replied = self._client.batch_annotate_images(
                requests=asked, retry=None, timeout=REQUEST_TIMEOUT_S
            )
            for number, answer in zip(waiting, replied.responses, strict=False):
                if answer.error.code in _TRANSIENT_CODES:
                    failures[number] = answer.error.message
                else:
                    answers[number] = answer
            if len(answers) < len(images):
                raise _ImagesFailed

        with suppress(_ImagesFailed):
            self._patiently(ask)
        for number in range(len(images)):
            answer = answers.get(number)
            if answer is None:
                yield OcrFailed(f"Google Vision failed: {failures.get(number, 'no answer for this image')}")
            elif answer.error.code:
                yield OcrFailed(f"Google Vision refused an image: {answer.error.message}")
            else:
                self.billed_images += 1
                yield type(answer).pb(answer).full_text_annotation

    def _patiently(self, ask: Any) -> None:
        """Call `ask` until it gets through or patience ends, pausing longer and longer, at random lengths."""
        import requests  # noqa: PLC0415
        from google.api_core import exceptions as google  # noqa: PLC0415
        from google.api_core.retry import Retry, if_exception_type  # noqa: PLC0415
        from google.auth.exceptions import GoogleAuthError, TransportError  # noqa: PLC0415

        transient = if_exception_type(
            _ImagesFailed,
            google.TooManyRequests,
            google.ServerError,
            requests.ConnectionError,
            requests.Timeout,
            requests.exceptions.ChunkedEncodingError,
            TransportError,
        )
        retry = Retry(transient, initial=FIRST_PAUSE_S, maximum=LONGEST_PAUSE_S, timeout=self._patience_s)
        try:
            retry(ask)()
        except google.RetryError as error:
            raise self._out_of_patience(error.cause) from None
        except google.GoogleAPICallError as error:
            raise self._refusal(error) from None
        except GoogleAuthError:
            raise self._key_refused() from None

    def _out_of_patience(self, cause: Any) -> Exception:
        from google.api_core.exceptions import TooManyRequests  # noqa: PLC0415

        if isinstance(cause, _ImagesFailed):
            return cause
        if isinstance(cause, TooManyRequests):
            return QuotaExceeded(
                f"Google Vision's quota of project {self._project} is used up. Raise it at "
                f"{_CONSOLE}/apis/api/vision.googleapis.com/quotas?project={self._project}, or let fewer "
                "videos be read at the same time."
            )
        what = getattr(cause, "message", None) or type(cause).__name__
        return VisionUnavailable(
            f"Google Vision did not serve us for {self._patience_s:.0f} seconds ({what}). "
            "See https://status.cloud.google.com and whether this machine reaches the internet."
        )

    def _refusal(self, error: Any) -> ComputeError:
        project = f"?project={self._project}"
        if error.code == 401:
            return self._key_refused()
        if error.code == 403 and error.reason == "SERVICE_DISABLED":
            return ApiDisabled(
                f"The Cloud Vision API is not enabled in project {self._project}. Enable it at "
                f"{_CONSOLE}/apis/library/vision.googleapis.com{project} and wait a few minutes."
            )
        if error.code == 403 and error.reason == "BILLING_DISABLED":
            return BillingDisabled(
                f"Project {self._project} has no billing account, which Google Vision needs. "
                f"Link one at {_CONSOLE}/billing/linkedaccount{project}."
            )
        if error.code == 403:
            return PermissionDenied(
                f"The service account of {CREDENTIALS_VARIABLE} may not use Google Vision in project "
                f"{self._project} ({error.message}). Give it the role Service Usage Consumer at "
                f"{_CONSOLE}/iam-admin/iam{project}."
            )
        return ComputeError(f"Google Vision refused a request: {error.message}")

    def _key_refused(self) -> BadCredentials:
        return BadCredentials(
            f"Google does not accept the key in {CREDENTIALS_VARIABLE}: it was deleted or disabled, or this "
            f"machine's clock is wrong. Make a new one at {_CONSOLE}/iam-admin/serviceaccounts"
            f"?project={self._project}."
        )


class _ImagesFailed(Exception):
    """Some images of a request that was answered failed for reasons that may pass."""


def _batches(images: Sequence[bytes]) -> Iterator[list[bytes]]:
    """As many images to a request as its limits allow."""
    batch: list[bytes] = []
    size = 0
    for image in images:
        if len(image) > LARGEST_IMAGE_BYTES:
            raise ValueError(f"an image of {len(image)} bytes does not fit into a request")
        travelling = -(-len(image) // 3) * 4 + BYTES_PER_IMAGE_BESIDES
        if batch and (len(batch) == IMAGES_PER_REQUEST or size + travelling > REQUEST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(image)
        size += travelling
    if batch:
        yield batch


def _endpoint() -> str | None:
    """Another address than the client's own, where the environment names one."""
    endpoint = os.environ.get(ENDPOINT_VARIABLE) or None
    if endpoint and not _ENDPOINT.fullmatch(endpoint):
        raise OcrRefused(
            f"{ENDPOINT_VARIABLE} is not an address of Google Vision: leave it unset, or use "
            "eu-vision.googleapis.com or us-vision.googleapis.com."
        )
    return endpoint


def _credentials(text: str) -> tuple[Any, str]:
    """The key as Google's library wants it, and its project. The key itself is in no message."""
    from google.oauth2.service_account import Credentials  # noqa: PLC0415

    remedy = (
        f"Put the whole content of a service account's key file into {CREDENTIALS_VARIABLE}, not its path; "
        f"keys are made at {_CONSOLE}/iam-admin/serviceaccounts."
    )
    if not text.strip():
        raise BadCredentials(f"{CREDENTIALS_VARIABLE} is not set. {remedy}")
    try:
        info = json.loads(text)
        if not isinstance(info, Mapping) or info.get("type") != "service_account":
            raise ValueError
        return Credentials.from_service_account_info(info), str(info.get("project_id", "of the key"))
    except ValueError:
        # Whatever json or the library would say may quote the key.
        raise BadCredentials(f"{CREDENTIALS_VARIABLE} holds no service account's key. {remedy}") from None
