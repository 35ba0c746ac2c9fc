"""The compute functions on Modal, as `gpu_ops.modal_app` deploys them.

A call is paid for once. Its id is put on record in the catalog before anybody waits for it, beside the work
it is part of; a run that goes on with that work finds it there and waits for the same call. What remains is
the moment between Modal's reply to `spawn` and the record: a process killed just then leaves a call that
nobody knows; it ends by itself and replaces nothing that a later one made. A reply lost on the way is asked
for again by the client, under the same idempotency key.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import logging
import threading
import time
import traceback
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import modal
import modal.exception
from grpclib.exceptions import StreamTerminatedError

from captionacc_dagster.catalog.lease import HeldWork
from captionacc_dagster.catalog.protocol import CatalogError, ComputeCall
from captionacc_dagster.progress import ProgressListener
from captionacc_dagster.resources.call_log import CallLog
from captionacc_dagster.resources.compute import (
    STOPPED,
    Answer,
    Compute,
    ComputeRefused,
    Context,
    Order,
    Reports,
    WorkStopped,
    answer_of,
)
from captionacc_dagster.settings import Settings
from gpu_ops.contract import ComputeError, TimeLimitExceeded, WorkerCrashed
from gpu_ops.machines import MACHINES

POLL_SECONDS = 2.0
ACCESS_LIMIT_SECONDS = 6.0
LONGEST_PAUSE_SECONDS = 30.0

# As long as these last, the computation goes on without us.
CONNECTION_LOST = (
    modal.exception.ConnectionError,
    modal.exception.InternalError,
    modal.exception.ResourceExhaustedError,
    modal.exception.ServiceError,
    StreamTerminatedError,
    OSError,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModalCompute(Compute):
    """The compute functions on Modal. `listener` also hears progress: a terminal, say."""

    settings: Settings
    listener: ProgressListener | None = None

    def check_access(self) -> None:
        """Ask for every function, which costs nothing. Raises ComputeRefused, or ComputeError when Modal has
        not answered within ACCESS_LIMIT_SECONDS.
        """
        app_name, client = self.settings.modal_app_name, self._client()

        async def ask() -> None:
            async with asyncio.timeout(ACCESS_LIMIT_SECONDS):
                for function in MACHINES:
                    with _explained(function, app_name):
                        await modal.Function.from_name(app_name, function, client=client).hydrate.aio()

        try:
            asyncio.run(ask())
        except TimeoutError:
            raise ComputeError(
                f"Modal did not answer within {ACCESS_LIMIT_SECONDS:.0f} seconds. Look at the network, and "
                "at https://status.modal.com."
            ) from None

    def _carry_out(self, context: Context, order: Order[Answer], held: HeldWork | None) -> Answer:
        with _explained(order.function, self.settings.modal_app_name):
            reports = Reports(context, self.listener)
            return _Errand(self.settings, self._client(), order, held, reports).answer()

    def _client(self) -> modal.Client:
        token_id, token_secret = self.settings.modal_token_id, self.settings.modal_token_secret
        if token_id is None or token_secret is None:
            raise ComputeRefused(NOT_AUTHORISED)
        return _client(token_id.get_secret_value(), token_secret.get_secret_value())


class _Errand:
    """One order, from its call to its answer."""

    def __init__(
        self,
        settings: Settings,
        client: modal.Client,
        order: Order[Any],
        held: HeldWork | None,
        reports: Reports,
    ) -> None:
        self._client = client
        self._order = order
        self._held = held
        self._reports = reports
        self._app_name = settings.modal_app_name
        self._limit_seconds = settings.time_limit_s(order.stage)
        self._data = order.data(settings)

    def answer(self) -> Any:
        """Raises ComputeError, CatalogError or Modal's exceptions; the call is off the record and ended."""
        try:
            return answer_of(self._order.answer, self._outcome())
        except BaseException:
            self._abandon()
            raise

    def _outcome(self) -> Mapping[str, Any]:
        known = self._known()
        if known is not None:
            self._reports.log(f"Going on with the call {known.object_id} on Modal.")
            try:
                return self._wait(known)
            except modal.exception.OutputExpiredError:
                self._reports.log("Modal no longer has the outcome of that call: ordering it anew.")
        # In a thread, so that a signal cannot come between the call and its record.
        with ThreadPoolExecutor(1) as uninterrupted:
            call = uninterrupted.submit(self._call_and_record).result()
        self._reports.log(f"Computing on Modal, call {call.object_id}.")
        return self._wait(call)

    def _known(self) -> modal.FunctionCall[Any] | None:
        """The call that this run, or the one it goes on for, has for this very order; another is ended."""
        found = self._held.find_call(self._order.name) if self._held is not None else None
        if found is None:
            return None
        call = self._call_of(found)
        if found.request_digest != self._digest():
            _cancel(call)
            return None
        self._record(call)
        return call

    def _call_and_record(self) -> modal.FunctionCall[Any]:
        function = modal.Function.from_name(self._app_name, self._order.function, client=self._client)
        function.hydrate()
        call = function.spawn(self._data)
        try:
            self._record(call)
        except BaseException:
            _cancel(call)
            raise
        return call

    def _record(self, call: modal.FunctionCall[Any]) -> None:
        if self._held is not None:
            self._held.record_call(
                ComputeCall(
                    order=self._order.name, request_digest=self._digest(), call_id=str(call.object_id)
                )
            )

    def _digest(self) -> str:
        """Of all that is asked, whichever run asks it."""
        asked = json.dumps(
            {**self._data, "request": {**self._data["request"], "run_id": None}}, sort_keys=True
        )
        return hashlib.sha256(asked.encode()).hexdigest()

    def _wait(self, call: modal.FunctionCall[Any]) -> Mapping[str, Any]:
        stop = self._held.lost if self._held is not None else threading.Event()
        deadline = time.monotonic() + self._limit_seconds
        pause = 0.0
        with CallLog(call, self._reports) as log:
            while True:
                log.pass_on()
                if stop.is_set():
                    raise WorkStopped(STOPPED)
                if time.monotonic() > deadline:
                    raise TimeLimitExceeded(
                        f"{self._order.function} was stopped after {self._limit_seconds:.0f} seconds of "
                        f"waiting for Modal. Raise CAPTIONACC_{self._order.stage.upper()}_TIME_LIMIT_S."
                    )
                try:
                    return call.get(timeout=POLL_SECONDS)
                except TimeoutError:
                    pause = 0.0
                except CONNECTION_LOST as error:
                    if not pause:
                        self._reports.note(f"Modal cannot be reached, the computation goes on there: {error}")
                    pause = min(max(1.0, 2 * pause), LONGEST_PAUSE_SECONDS)
                    stop.wait(pause)
                except modal.exception.NotFoundError as error:
                    raise modal.exception.OutputExpiredError(str(error)) from error
                except modal.exception.Error:
                    raise
                except Exception as error:
                    self._reports.pass_on({"log": traceback.format_exc()})
                    raise ComputeError(
                        f"{self._order.function} could not do its work on Modal: "
                        f"{type(error).__name__}: {error}"
                    ) from error

    def _abandon(self) -> None:
        """End the call, unless another run has taken it over."""
        if self._held is None:
            return
        try:
            found = self._held.find_call(self._order.name)
            ours = found is not None and self._held.forget_call(self._order.name)
        except CatalogError:
            logger.warning("the call stays on record: the catalog does not answer", exc_info=True)
            return
        if found is not None and ours:
            _cancel(self._call_of(found))

    def _call_of(self, found: ComputeCall) -> modal.FunctionCall[Any]:
        call: modal.FunctionCall[Any] = modal.FunctionCall.from_id(found.call_id, client=self._client)
        return call.hydrate()


@functools.cache
def _client(token_id: str, token_secret: str) -> modal.Client:
    """One connection for the whole process."""
    return modal.Client.from_credentials(token_id, token_secret)


def _cancel(call: modal.FunctionCall[Any]) -> None:
    try:
        call.cancel()
    except Exception:
        logger.warning(
            "could not cancel %s on Modal: it ends at its time limit", call.object_id, exc_info=True
        )


NOT_AUTHORISED = (
    "Modal does not accept our token. Set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET to those of a token of the "
    "workspace that the app is deployed in (`modal token new` makes one)."
)


@contextmanager
def _explained(function: str, app_name: str) -> Generator[None]:
    """Modal's exceptions as the contract's, saying what to do."""
    machine = MACHINES[function]
    try:
        yield
    except (modal.exception.AuthError, modal.exception.PermissionDeniedError):
        raise ComputeRefused(NOT_AUTHORISED) from None
    except modal.exception.NotFoundError as error:
        raise ComputeRefused(
            f"{function} of the app {app_name} is not deployed on Modal. Run `make deploy-compute`; "
            "MODAL_ENVIRONMENT names the environment where there are several."
        ) from error
    except modal.exception.VersionError as error:
        raise ComputeRefused(
            f"Modal no longer supports this version of its client: upgrade captionacc. {error}"
        ) from error
    except modal.exception.FunctionTimeoutError as error:
        raise TimeLimitExceeded(
            f"{function} reached its time limit on Modal. Raise {machine.variable('timeout_s')}, "
            f"or name a faster {machine.variable('gpu')}, and run `make deploy-compute`."
        ) from error
    except modal.exception.RemoteError as error:
        raise WorkerCrashed(
            f"The machine on Modal ended before it answered: {error}. Where it ran out of memory, raise "
            f"{machine.variable('memory_mb')} and run `make deploy-compute`."
        ) from error
    except modal.exception.OutputExpiredError as error:
        raise WorkerCrashed("Modal no longer has the outcome of the call.") from error
    except modal.exception.InternalFailure as error:
        raise WorkerCrashed(f"Modal lost the computation by a failure of its own: {error}") from error
    except CONNECTION_LOST as error:
        raise WorkerCrashed(f"Modal cannot be reached: {error}") from error
    except modal.exception.Error as error:
        raise ComputeError(f"Modal could not carry out {function}: {error}") from error
