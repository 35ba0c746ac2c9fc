"""What is S3's own about the object store: the keys to it, the patience with it, and what its errors mean.

Light: only obstore and the standard library. Nothing an error says holds a key.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from obstore.store import S3Store

from gpu_ops.contract import StoreRefused, StoreUnavailable

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config, S3Credential

BUCKET_VARIABLE = "WASABI_BUCKET"
# Also on Modal, where a secret carries them.
ACCESS_VARIABLES: Mapping[str, str] = {
    "endpoint": "WASABI_ENDPOINT_URL",
    "region": "WASABI_REGION",
    "access_key_id": "WASABI_ACCESS_KEY_READWRITE",
    "secret_access_key": "WASABI_SECRET_KEY_READWRITE",
}
_FORMS: Mapping[str, tuple[str, str]] = {
    "endpoint": (r"https?://[A-Za-z0-9.-]+(:\d+)?/?", "a URL such as https://s3.eu-central-1.wasabisys.com"),
    "region": (r"[A-Za-z0-9-]+", "a region such as eu-central-1"),
    "access_key_id": (r"[!-~]+", "a key: it has a space, a line break or another foreign character"),
    "secret_access_key": (r"[!-~]+", "a key: it has a space, a line break or another foreign character"),
}
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")

_FIRST_BACKOFF = timedelta(milliseconds=200)
_LONGEST_BACKOFF = timedelta(seconds=15)


@dataclass(frozen=True, kw_only=True)
class S3Access:
    """Where an S3 service answers (a URL; plain http when it says so) and the keys to it.

    Raises StoreRefused for a value that cannot be one, naming its variable.
    """

    endpoint: str
    region: str
    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)

    def __post_init__(self) -> None:
        for name, (form, expected) in _FORMS.items():
            if not re.fullmatch(form, getattr(self, name)):
                raise StoreRefused(f"{ACCESS_VARIABLES[name]} is not {expected}.")

    @classmethod
    def from_environment(cls) -> S3Access:
        """What the WASABI_ variables say. Raises StoreRefused naming those not set."""
        require(*ACCESS_VARIABLES.values())
        return cls(**{name: os.environ[variable] for name, variable in ACCESS_VARIABLES.items()})


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to wait for S3, in seconds, and how often to ask again.

    `silence_s` passes without a byte of the reply, the sending of the request included: a part must go out
    within it. Tries end with `retries`, or when `retry_within_s` have passed since the first.
    """

    connect_s: float = 5
    silence_s: float = 60
    request_s: float = 300
    retries: int = 8
    retry_within_s: float = 240


def require(*variables: str) -> None:
    """Raise StoreRefused naming those of the environment variables that are not set."""
    if missing := [name for name in variables if not os.environ.get(name)]:
        raise StoreRefused(f"The object store cannot be opened: set {', '.join(missing)}.")


def open_bucket(bucket: str, access: S3Access, patience: Patience) -> S3Store:
    """A client of the bucket; nothing is asked yet. Raises StoreRefused for a name that cannot be one."""
    if not _BUCKET.fullmatch(bucket):
        raise StoreRefused(
            f"{BUCKET_VARIABLE} is not a bucket's name: 3 to 63 lower-case letters, digits, '.', '-'."
        )

    def keys() -> S3Credential:
        return {
            "access_key_id": access.access_key_id,
            "secret_access_key": access.secret_access_key,
            "token": None,
            "expires_at": None,
        }

    # All said here: obstore would fill what is left open from AWS_ variables meant for something else.
    config: S3Config = {
        "aws_endpoint_url_s3": access.endpoint.rstrip("/"),
        "region": access.region,
        "skip_signature": False,
        "virtual_hosted_style_request": False,
    }
    client: ClientConfig = {
        "allow_http": access.endpoint.startswith("http://"),
        "connect_timeout": timedelta(seconds=patience.connect_s),
        "read_timeout": timedelta(seconds=patience.silence_s),
        "timeout": timedelta(seconds=patience.request_s),
    }
    retries: RetryConfig = {
        "max_retries": patience.retries,
        "retry_timeout": timedelta(seconds=patience.retry_within_s),
        "backoff": {"init_backoff": _FIRST_BACKOFF, "max_backoff": _LONGEST_BACKOFF, "base": 2},
    }
    return S3Store(
        bucket, config=config, client_options=client, retry_config=retries, credential_provider=keys
    )


_OTHER_REGION = (
    "{endpoint} says that the bucket {bucket} is in another region. "
    "Correct WASABI_REGION and WASABI_ENDPOINT_URL; the service's console shows them."
)
# S3's error codes that an operator can do something about.
_REFUSALS: Mapping[str, str] = {
    "NoSuchBucket": "There is no bucket {bucket} at {endpoint}. Create it, or correct WASABI_BUCKET.",
    "InvalidAccessKeyId": "{endpoint} does not know the access key. Correct WASABI_ACCESS_KEY_READWRITE.",
    "SignatureDoesNotMatch": (
        "The secret key does not belong to the access key. Correct WASABI_SECRET_KEY_READWRITE."
    ),
    "AccessDenied": (
        "The keys may not {action} the bucket {bucket}. Allow their user s3:ListBucket, s3:GetObject, "
        "s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload there."
    ),
    "AuthorizationHeaderMalformed": _OTHER_REGION,
    "PermanentRedirect": _OTHER_REGION,
    "RequestTimeTooSkewed": "This machine's clock is wrong, so {endpoint} takes no request. Set the clock.",
}
_CODE = re.compile(r"<Code>(\w+)</Code>|\(code: (\w+)\)")
_STATUS = re.compile(r"status code: (\d{3})")


def explained(error: Exception, action: str, bucket: str, endpoint: str) -> StoreRefused | StoreUnavailable:
    """What obstore's `error` means. `action` is what was tried, before "the bucket": "list", "read from"."""
    text = str(error)
    code = error_code(error)
    status = int(found[1]) if (found := _STATUS.search(text)) else None
    if "redirect without LOCATION" in text:
        code = "PermanentRedirect"
    elif code is None and status in (401, 403):
        code = "AccessDenied"
    if remedy := _REFUSALS.get(code or ""):
        return StoreRefused(remedy.format(action=action, bucket=bucket, endpoint=endpoint))
    if status is not None and status < 500 and status not in (404, 412, 429):
        return StoreRefused(
            f"{endpoint} refused to {action} the bucket {bucket}: {status} {code or ''}".strip() + "."
        )
    return StoreUnavailable(f"{endpoint} {_trouble(text, status, code)}")


def _trouble(text: str, status: int | None, code: str | None) -> str:
    if status is not None:
        return f"goes on answering {status}{f' ({code})' if code else ''}. Try again later."
    if "dns error" in text:
        return "is a name that is not found. Correct WASABI_ENDPOINT_URL, or look at the network."
    if "kind: Connect," in text:
        return "cannot be reached. Correct WASABI_ENDPOINT_URL, or look at the network."
    if "kind: Timeout" in text:
        return "did not answer in time, however often it was asked. Look at the network, or try again later."
    return "broke the connection, however often it was asked. Look at the network, or try again later."


def error_code(error: Exception) -> str | None:
    """The code of S3's own that obstore's error carries, if any."""
    found = _CODE.search(str(error))
    return (found[1] or found[2]) if found else None
