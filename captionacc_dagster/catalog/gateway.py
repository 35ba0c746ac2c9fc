"""Calling the functions of a Supabase database: what may pass is tried again, the rest says what to do.

A reply can be lost after the work was done. So only functions that may be called again with the same
arguments belong behind this (those of migrations/postgres/), and each is tried again a few times.
"""

from __future__ import annotations

import functools
import os
import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
from postgrest.exceptions import APIError
from supabase import Client, ClientOptions, create_client

from captionacc_dagster.catalog.migrations import missing_steps, steps
from captionacc_dagster.catalog.protocol import CatalogError, CatalogUnavailable, Trouble

CONNECT_TIMEOUT_S = 5.0
# One reply, and all tries of a call together: both well below a lease's lifetime.
REPLY_TIMEOUT_S = 10.0
PATIENCE_S = 30.0
RELOAD_TRIES = 2
PAUSES_S = (0.2, 0.5, 1.0, 2.0, 4.0)

# Codes of SQL functions for what they refuse, see 0002_functions.sql.
_REFUSALS = ("CA403", "CA404", "CA409", "CA410", "CA412")

# HTTP statuses of a gateway, PostgREST's codes and SQLSTATEs of what may pass: no connection, too many, a
# restart, a deadlock.
_PASSING = frozenset(
    {
        *("429", "500", "502", "503", "504", "520", "521", "522", "523", "524"),
        *("PGRST000", "PGRST001", "PGRST002", "PGRST003"),
        *("08000", "08003", "08006", "40001", "40P01", "53300", "55P03", "57P01", "57P02", "57P03"),
    }
)
_TOO_SLOW = frozenset({"504", "524", "57014", "PGRST003"})
_BAD_TOKEN = frozenset({"401", "PGRST301", "PGRST302", "PGRST303"})
# PostgREST knows of what a migration made a moment later.
_NO_FUNCTION = "PGRST202"
# Functions, tables or a schema that are not there.
_BEHIND = frozenset({_NO_FUNCTION, "PGRST203", "42883", "42P01", "42703", "3F000"})


class Refused(Exception):
    """A function refused what was asked; `code` is one of 0002_functions.sql."""

    def __init__(self, code: str, message: str, detail: str) -> None:
        super().__init__(message)
        self.code = code
        self.detail = detail


@functools.cache
def _http_client(process_id: int, reply_timeout_s: float) -> httpx.Client:
    """One for all gateways of a process: reading the certificates takes longer than a call."""
    # HTTP/2, the library's default, loses replies when the gateway recycles a connection.
    return httpx.Client(http2=False, timeout=httpx.Timeout(reply_timeout_s, connect=CONNECT_TIMEOUT_S))


class Gateway:
    """The functions of one schema. Safe to share between threads; connects at the first call."""

    def __init__(
        self,
        url: str,
        key: str,
        schema: str,
        *,
        reply_timeout_s: float = REPLY_TIMEOUT_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """`key` is the service role's. Raises CatalogUnavailable for a URL or a key that cannot be one."""
        self.url = url
        self.schema = schema
        self._patience_s = patience_s
        self._schema_is_known = threading.Event()
        if not (key.isascii() and key.isprintable() and key.strip() == key):
            raise self._wrong_key()
        options = ClientOptions(
            schema=schema,
            httpx_client=_http_client(os.getpid(), reply_timeout_s),
            auto_refresh_token=False,
            persist_session=False,
        )
        try:
            self._client: Client = create_client(url, key, options)
        except Exception:
            raise self._wrong_url("It is not a URL.") from None

    def call(self, function: str, **arguments: Any) -> Any:
        """What the function answers, decoded from JSON. Parameters of the functions begin with `p_`.

        Raises Refused, CatalogUnavailable, or CatalogError for what the database would not take.
        """
        if not self._schema_is_known.is_set():
            self._check_schema()
            self._schema_is_known.set()
        return self._call(function, arguments)

    def schema_version(self) -> int:
        """Number of the last migration applied. Raises CatalogUnavailable."""
        version = self._call("schema_version", {})
        if not isinstance(version, int):
            raise self._wrong_url("It answers with something else than data.")
        return version

    def _check_schema(self) -> None:
        known = steps("postgres")
        applied = self.schema_version()
        try:
            missing = missing_steps(known, applied, "set SUPABASE_SCHEMA to another schema")
        except CatalogError as error:
            raise CatalogUnavailable(str(error), kind="schema_ahead") from None
        if missing:
            raise self._behind()

    def _call(self, function: str, arguments: dict[str, Any]) -> Any:
        parameters = {f"p_{name}": value for name, value in arguments.items()}
        deadline = time.monotonic() + self._patience_s
        for attempt, pause in enumerate(self._pauses()):
            try:
                return self._client.rpc(function, parameters).execute().data
            except APIError as error:
                reloading = error.code == _NO_FUNCTION and attempt < RELOAD_TRIES
                if not (reloading or error.code in _PASSING):
                    raise self._explained(error) from None
                kind: Trouble = "timed_out" if error.code in _TOO_SLOW else "unreachable"
                said = f"{error.message} ({error.code})"
            except httpx.TimeoutException as error:
                kind, said = "timed_out", type(error).__name__
            except httpx.UnsupportedProtocol:
                raise self._wrong_url("It begins with neither https:// nor http://.") from None
            except httpx.TransportError as error:
                kind, said = "unreachable", str(error) or type(error).__name__
            if pause is None or time.monotonic() + pause > deadline:
                raise self._unavailable(kind, said)
            time.sleep(pause)
        raise AssertionError("the last try has no pause after it")

    def _pauses(self) -> Iterator[float | None]:
        """Seconds to wait after each try, None after the last; spread, so that callers fall out of step."""
        yield from (pause * random.uniform(0.7, 1.3) for pause in PAUSES_S)
        yield None

    def _unavailable(self, kind: Trouble, said: str) -> CatalogUnavailable:
        happened = "did not answer in time" if kind == "timed_out" else "cannot be reached"
        return CatalogUnavailable(
            f"Supabase at {self.url} {happened}: {said}. Is SUPABASE_URL right, the project not paused and "
            "the network up? Nothing is lost; try again.",
            kind=kind,
        )

    def _explained(self, error: APIError) -> Exception:
        """What to do about an answer that trying again would not change."""
        code, message = str(error.code or ""), error.message or ""
        if code in _REFUSALS:
            return Refused(code, message, str(error.details or ""))
        if code in _BAD_TOKEN or "api key" in message.lower() or code == "42501":
            return self._wrong_key(message)
        if code == "PGRST106":
            return CatalogUnavailable(
                f"Supabase at {self.url} does not expose the schema {self.schema}. Add it in the dashboard "
                "under Project Settings, API, Exposed schemas; or correct SUPABASE_SCHEMA.",
                kind="schema_not_exposed",
            )
        if code in _BEHIND:
            return self._behind()
        if code.isdecimal() and len(code) == 3:
            return self._wrong_url(f"It answers {code} {message}.")
        if not code:
            return self._wrong_url("Something else does.")
        return CatalogError(f"The catalog would not take it: {message} ({code}).")

    def _wrong_key(self, said: str = "") -> CatalogUnavailable:
        return CatalogUnavailable(
            f"Supabase at {self.url} refuses SUPABASE_SERVICE_ROLE_KEY{f' ({said})' if said else ''}. "
            "Copy the key of service_role from the dashboard: Project Settings, API Keys.",
            kind="wrong_key",
        )

    def _wrong_url(self, said: str) -> CatalogUnavailable:
        return CatalogUnavailable(
            f"No Supabase answers at SUPABASE_URL={self.url}. {said} "
            "Copy the project's URL from the dashboard: Project Settings, Data API.",
            kind="wrong_url",
        )

    def _behind(self) -> CatalogUnavailable:
        return CatalogUnavailable(
            f"The schema {self.schema} of the Supabase at {self.url} lacks something this version needs. "
            "Run `captionacc migrate`.",
            kind="schema_behind",
        )
