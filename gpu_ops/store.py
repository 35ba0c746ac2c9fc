"""The object store, the same for a local folder and S3, so that no other module knows which one it talks to.

Light: only obstore and the standard library. Objects appear whole or not at all: a folder's are written
beside their place and renamed, S3's are published by the service once complete.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from obstore.store import LocalStore, S3Store

from gpu_ops.contract import MissingObject

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Config

DOWNLOAD_CHUNK_BYTES = 4 << 20
# Time limit of one request; an upload in parts is many.
REQUEST_TIMEOUT = timedelta(minutes=5)

# Every key of the contract fits this; "..", empty parts, backslashes and control characters do not.
_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")


class InvalidKey(ValueError):
    """A key that could lead out of the store or that the two kinds of store would treat differently."""


@dataclass(frozen=True)
class ObjectInfo:
    """What a listing tells of one object. `size` in bytes, `modified` an aware datetime."""

    key: str
    size: int
    modified: datetime


def checked_key(key: str) -> str:
    """Return `key` if it is a plain relative object key; raise InvalidKey otherwise."""
    if not _KEY.fullmatch(key):
        raise InvalidKey(
            f"{key!r} is not a storage key: expected parts of letters, digits, '_', '.', '-' joined by '/'"
        )
    return key


class ObjectStore:
    """One bucket or folder. Safe to share between threads. Network failures are obstore's exceptions."""

    def __init__(self, url: str, backend: LocalStore | S3Store, folder: Path | None) -> None:
        self.url = url
        self._backend = backend
        self._folder = folder

    @classmethod
    def open(cls, url: str, **options: str) -> ObjectStore:
        """Open "file:///absolute/folder" (created when absent) or "s3://bucket".

        Options for S3: `endpoint` (URL; plain http is allowed when it says so), `region`, `access_key_id`,
        `secret_access_key`, `virtual_hosted_style_request` ("true" | "false").
        Raises ValueError for any other URL.
        """
        parts = urlsplit(url)
        if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path.startswith("/"):
            folder = Path(unquote(parts.path))
            folder.mkdir(parents=True, exist_ok=True)
            return cls(url, LocalStore(folder), folder)
        if parts.scheme == "s3" and parts.netloc and parts.path in ("", "/"):
            insecure = options.get("endpoint", "").startswith("http://")
            client: ClientConfig = {"allow_http": insecure, "timeout": REQUEST_TIMEOUT}
            config: S3Config = {key: value for key, value in options.items() if value}  # pyright: ignore[reportAssignmentType] # keys are obstore's own
            return cls(url, S3Store(parts.netloc, config=config, client_options=client), None)
        raise ValueError(
            f"{url!r} is not an object store: expected file:///absolute/folder or s3://bucket-name"
        )

    def get(self, key: str) -> bytes:
        """The object's bytes. Raises MissingObject."""
        with _missing_as(key):
            return bytes(self._backend.get(checked_key(key)).bytes())

    def put(self, key: str, data: bytes) -> None:
        """Write the object, replacing one of that key."""
        self._backend.put(checked_key(key), data)

    def download(self, key: str, path: Path) -> None:
        """Stream the object to `path`, which appears only when complete. Raises MissingObject."""
        with _missing_as(key):
            found = self._backend.get(checked_key(key))
        part = path.with_name(f"{path.name}.part")
        try:
            with part.open("wb") as target:
                for chunk in found.stream(min_chunk_size=DOWNLOAD_CHUNK_BYTES):
                    target.write(chunk)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def upload(self, path: Path, key: str) -> None:
        """Stream the file to the object, replacing one of that key."""
        with path.open("rb") as source:
            self._backend.put(checked_key(key), source)

    def head(self, key: str) -> ObjectInfo | None:
        """What is known of the object, or None if there is none."""
        try:
            meta = self._backend.head(checked_key(key))
        except FileNotFoundError:
            return None
        return ObjectInfo(meta["path"], meta["size"], meta["last_modified"])

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Objects whose key begins with `prefix` + "/", in no order; all objects for an empty prefix."""
        for batch in self._backend.list(checked_key(prefix) + "/" if prefix else None):
            for meta in batch:
                yield ObjectInfo(meta["path"], meta["size"], meta["last_modified"])

    def delete(self, keys: Iterable[str]) -> None:
        """Delete the objects; keys without an object are fine."""
        checked = [checked_key(key) for key in keys]
        if self._folder is None:
            if checked:
                self._backend.delete(checked)
            return
        for key in checked:
            with suppress(FileNotFoundError):
                self._backend.delete(key)

    @contextmanager
    def open_local(self, key: str) -> Generator[Path]:
        """A local file with the object's bytes, for reading only. Raises MissingObject.

        In a folder it is the object itself; from S3 a copy that is gone afterwards.
        """
        if self._folder is not None:
            path = self._folder / checked_key(key)
            if not path.is_file():
                raise _missing(key)
            yield path
            return
        with tempfile.TemporaryDirectory(prefix="captionacc-") as folder:
            path = Path(folder) / "object"
            self.download(key, path)
            yield path


def _missing(key: str) -> MissingObject:
    return MissingObject(f"There is no object {key} in the store. Was it uploaded, or deleted since?")


@contextmanager
def _missing_as(key: str) -> Generator[None]:
    try:
        yield
    except FileNotFoundError:
        raise _missing(key) from None
