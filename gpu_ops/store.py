"""The object store, the same for a local folder and S3, so that no other module knows which one it talks to.

Light: only obstore and the standard library. Objects appear whole or not at all: a folder's are written
beside their place and renamed, S3's are published by the service once complete. Files travel in parts of a
few MiB, each a request of its own that is asked again when it fails, so neither memory nor patience depends
on their size. No conditional put is used: not every S3 service honours them.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, cast
from urllib.parse import unquote, urlsplit

from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from gpu_ops.contract import MissingObject, StoreRefused, StoreUnavailable
from gpu_ops.s3 import (
    ACCESS_VARIABLES,
    BUCKET_VARIABLE,
    Patience,
    S3Access,
    error_code,
    explained,
    open_bucket,
    require,
)

if TYPE_CHECKING:
    from obstore import ObjectMeta

# 10,000 parts, S3's limit, make 78 GiB; a larger file gets larger parts.
PART_BYTES = 8 << 20
MOST_PARTS = 10_000
# Parts of one file on their way at the same time. They share the line, and each must be sent within
# Patience.silence_s: an upload needs half a MiB a second.
PARTS_AT_ONCE = 4

DELETE_TRIES = 3
DELETE_PAUSE_S = 1.0

# Every key of the contract fits this; "..", empty parts, backslashes and control characters do not.
_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")

Action = Literal["read from", "write to", "list", "delete from"]


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
    """One bucket or folder. Safe to share between threads.

    Any method raises StoreRefused where another try would not help (keys, permissions, no such bucket), and
    StoreUnavailable where it may, after the tries of its own.
    """

    def __init__(
        self, url: str, backend: LocalStore | S3Store, folder: Path | None, endpoint: str = ""
    ) -> None:
        self.url = url
        self._backend = backend
        self._folder = folder
        self._endpoint = endpoint

    @classmethod
    def open(
        cls, url: str, access: S3Access | None = None, *, patience: Patience | None = None
    ) -> ObjectStore:
        """Open "file:///absolute/folder" (created when absent), or "s3://bucket" by `access`.

        Raises ValueError for any other URL.
        """
        parts = urlsplit(url)
        if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path.startswith("/"):
            folder = Path(unquote(parts.path))
            folder.mkdir(parents=True, exist_ok=True)
            return cls(url, LocalStore(folder), folder)
        if parts.scheme == "s3" and parts.netloc and parts.path in ("", "/") and access is not None:
            bucket = open_bucket(parts.netloc, access, patience or Patience())
            return cls(url, bucket, None, access.endpoint)
        raise ValueError(
            f"{url!r} is not an object store: expected file:///absolute/folder or s3://bucket-name"
        )

    @classmethod
    def from_environment(cls, url: str | None = None) -> ObjectStore:
        """Open `url`, or else the bucket WASABI_BUCKET. The WASABI_ variables say where S3 is, and the keys.

        Raises StoreRefused naming the variables that are not set.
        """
        if url is None:
            require(BUCKET_VARIABLE, *ACCESS_VARIABLES.values())
            url = f"s3://{os.environ[BUCKET_VARIABLE]}"
        return cls.open(url, S3Access.from_environment() if url.startswith("s3:") else None)

    def get(self, key: str) -> bytes:
        """The object's bytes. Raises MissingObject."""
        checked_key(key)
        with self._explained("read from", key):
            return bytes(self._backend.get(key).bytes())

    def put(self, key: str, data: bytes) -> None:
        """Write the object, replacing one of that key."""
        checked_key(key)
        with self._explained("write to", key):
            self._backend.put(key, data, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE)

    def download(self, key: str, path: Path) -> None:
        """Bring the object to `path`, which appears only when complete. Raises MissingObject."""
        checked_key(key)
        with self._explained("read from", key):
            meta = self._backend.head(key)
        part = path.with_name(f"{path.name}.part")
        try:
            part.touch()
            with ThreadPoolExecutor(PARTS_AT_ONCE, "download") as pool:
                for _ in pool.map(
                    lambda start: self._fetch(meta, start, part), range(0, meta["size"], PART_BYTES)
                ):
                    pass
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def _fetch(self, meta: ObjectMeta, start: int, path: Path) -> None:
        """Bring one part to its place in the file, of the very object that `meta` tells of."""
        end = min(start + PART_BYTES, meta["size"])
        with self._explained("read from", meta["path"]):
            found = self._backend.get(
                meta["path"], options={"range": (start, end), "if_match": meta["e_tag"]}
            )
            data = found.bytes()
        with path.open("r+b") as target:
            target.seek(start)
            target.write(data)

    def upload(self, path: Path, key: str) -> None:
        """Write the file to the object, replacing one of that key. Ctrl-C ends it."""
        checked_key(key)
        part_bytes = max(PART_BYTES, -(-path.stat().st_size // MOST_PARTS))

        def send(source: IO[bytes]) -> None:
            with self._explained("write to", key):
                self._backend.put(key, source, chunk_size=part_bytes, max_concurrency=PARTS_AT_ONCE)

        # obstore returns from a put only when it is done; from another thread, so that this one hears Ctrl-C.
        with path.open("rb") as file, ThreadPoolExecutor(1, "upload") as sender:
            source = _Source(file)
            sending = sender.submit(send, cast(IO[bytes], source))
            try:
                sending.result()
            finally:
                source.given_up = True

    def head(self, key: str) -> ObjectInfo | None:
        """What is known of the object, or None if there is none."""
        checked_key(key)
        with suppress(MissingObject), self._explained("read from", key):
            return _info(self._backend.head(key))
        return None

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Objects whose key begins with `prefix` + "/", in no order; all objects for an empty prefix."""
        below = checked_key(prefix) + "/" if prefix else None
        with self._explained("list", prefix):
            for batch in self._backend.list(below):
                yield from map(_info, batch)

    def delete(self, keys: Iterable[str]) -> None:
        """Delete the objects; keys without an object are fine."""
        checked = [checked_key(key) for key in keys]
        if self._folder is None:
            self._delete_from_bucket(checked)
            return
        for key in checked:
            with suppress(MissingObject), self._explained("delete from", key):
                self._backend.delete(key)

    def _delete_from_bucket(self, keys: list[str]) -> None:
        if not keys:
            return
        # obstore cannot know that a deletion may be repeated, and gives up when the connection breaks.
        for attempt in range(1, DELETE_TRIES + 1):
            try:
                with self._explained("delete from", keys[0]):
                    self._backend.delete(keys)
                return
            except StoreUnavailable:
                if attempt == DELETE_TRIES:
                    raise
                time.sleep(DELETE_PAUSE_S)

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

    @contextmanager
    def _explained(self, action: Action, key: str) -> Generator[None]:
        """Turn obstore's errors into the contract's."""
        try:
            yield
        except FileNotFoundError as error:
            # S3 answers 404 also where it is not the object that is missing.
            if error_code(error) in (None, "NoSuchKey"):
                raise _missing(key) from None
            raise self._failure(error, action) from None
        except BaseError as error:
            raise self._failure(error, action) from None

    def _failure(self, error: Exception, action: Action) -> StoreRefused | StoreUnavailable:
        if self._folder is None:
            return explained(error, action, urlsplit(self.url).netloc, self._endpoint)
        reason = str(error).partition("\n")[0].rpartition(": ")[2]
        return StoreUnavailable(f"CaptionAcc could not {action} the folder {self._folder}: {reason}.")


class _Source:
    """A file being uploaded. Giving it up makes the next read fail, on which obstore aborts the upload."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.given_up = False
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if self.given_up:
            raise InterruptedError("The upload was given up.")
        return self._file.read(size)


def _info(meta: ObjectMeta) -> ObjectInfo:
    return ObjectInfo(meta["path"], meta["size"], meta["last_modified"])


def _missing(key: str) -> MissingObject:
    return MissingObject(f"There is no object {key} in the store. Was it uploaded, or deleted since?")
