"""Modal's side of the wire: a local gRPC server that the real `modal` client talks to.

It knows the RPCs of looking a function up, spawning, waiting, cancelling and reading a call's log, as
modal_proto of the pinned client has them. What a call does is scripted by the test. Calls outlive a restart
of the server, as they do at Modal.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import empty_pb2
from grpclib import GRPCError, Status
from grpclib.server import Server
from modal._serialization import deserialize, serialize
from modal_proto import api_pb2
from modal_proto.api_grpc import ModalClientBase

from gpu_ops.machines import MACHINES
from tests.servers.modal_deploying import Deployments, function_data

APP_NAME = "captionacc-processing"
APP_ID, TOKEN_ID, TOKEN_SECRET = "ap-1", "ak-test-token-id", "as-test-token-secret"

GenericStatus = api_pb2.GenericResult


@dataclass
class Call:
    """One spawned call. `order` is the function's argument; `result` appears when it has ended."""

    id: str
    function: str
    order: Any
    result: api_pb2.GenericResult | None = None
    ended: threading.Event = field(default_factory=threading.Event)
    cancelled: bool = False
    expired: bool = False
    said: list[api_pb2.TaskLogs] = field(default_factory=list[api_pb2.TaskLogs])
    times_asked: int = 0

    def says(self, text: str, descriptor: int = api_pb2.FILE_DESCRIPTOR_STDOUT) -> None:
        """Output of the function, as it was written: not necessarily whole lines."""
        now = time.time_ns()
        self.said.append(
            api_pb2.TaskLogs(
                data=text, file_descriptor=descriptor, timestamp_ns=now, function_call_id=self.id
            )
        )

    def returns(self, value: Any) -> None:
        self._ends(api_pb2.GenericResult(status=GenericStatus.GENERIC_STATUS_SUCCESS, data=serialize(value)))

    def raises(self, error: BaseException) -> None:
        """The function itself raised."""
        status = GenericStatus.GENERIC_STATUS_FAILURE
        self._ends(api_pb2.GenericResult(status=status, exception=repr(error), data=serialize(error)))

    def ends(self, status: str, message: str = "") -> None:
        """Modal ended it: `status` is TIMEOUT, FAILURE, TERMINATED or INTERNAL_FAILURE."""
        value = GenericStatus.GenericStatus.Value(f"GENERIC_STATUS_{status}")
        self._ends(api_pb2.GenericResult(status=value, exception=message))

    def _ends(self, result: api_pb2.GenericResult) -> None:
        if self.result is None:
            self.result = result
            self.ended.set()


Behaviour = Callable[[Call], None]


class ModalServer:
    """Up between `start` and `stop`, always at the same address. `calls` are all that were ever spawned."""

    def __init__(self) -> None:
        self.port = 0
        self.reset()
        self._threads = ThreadPoolExecutor(8)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._server: _Server | None = None

    def reset(self) -> None:
        """As if it had seen nothing yet."""
        self.calls: list[Call] = []
        self.deployed = set(MACHINES)
        self.tokens = {TOKEN_ID: TOKEN_SECRET}
        # What the next calls do, in order, then what all others do; each in a thread of its own.
        self.next_calls: list[Behaviour] = []
        self.every_call: Behaviour = lambda call: None
        # RPCs that fail with UNAVAILABLE, how many times; the work of one that `does_its_work` is done first.
        self.unavailable: dict[str, int] = defaultdict(int)
        self.does_its_work: set[str] = set()
        self.deployments = Deployments()
        self.requests: dict[str, list[Any]] = defaultdict(list)
        self._by_key: dict[str, Call] = {}

    @property
    def environment(self) -> dict[str, str]:
        """What makes a modal client talk to this server."""
        return {
            "MODAL_SERVER_URL": f"http://127.0.0.1:{self.port}",
            "MODAL_TOKEN_ID": TOKEN_ID,
            "MODAL_TOKEN_SECRET": TOKEN_SECRET,
        }

    def start(self) -> None:
        async def start() -> None:
            self._server = _Server([_servicer(self)])
            await self._server.start("127.0.0.1", self.port, reuse_address=True)
            self.port = self._server._server.sockets[0].getsockname()[1]  # its port is not public otherwise

        asyncio.run_coroutine_threadsafe(start(), self._loop).result(10)

    def stop(self) -> None:
        """Drop every connection; calls go on."""

        async def stop() -> None:
            if self._server is not None:
                self._server.close()
                self._server.drop_connections()
                await self._server.wait_closed()
            self._server = None

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result(10)

    def spawn(self, function: str, order: Any, key: str) -> Call:
        """A call; the one there is if it was asked for under the same idempotency key."""
        if key in self._by_key:
            return self._by_key[key]
        call = Call(f"fc-{len(self.calls) + 1}", function, order)
        self.calls.append(call)
        self._by_key[key] = call
        behaviour = self.next_calls.pop(0) if self.next_calls else self.every_call
        self._threads.submit(behaviour, call)
        return call

    def find(self, call_id: str) -> Call:
        for call in self.calls:
            if call.id == call_id:
                return call
        raise GRPCError(Status.NOT_FOUND, f"no call {call_id}")


class _Server(Server):
    """grpclib's server leaves open connections as they are when it closes; a machine that stops does not."""

    def __init__(self, handlers: list[Any]) -> None:
        super().__init__(handlers)
        self._protocols: list[Any] = []

    def _protocol_factory(self) -> Any:
        protocol = super()._protocol_factory()
        self._protocols.append(protocol)
        return protocol

    def drop_connections(self) -> None:
        for protocol in self._protocols:
            with suppress(AttributeError):  # one that has ended has no transport
                protocol.connection._transport.abort()


def _servicer(server: ModalServer) -> Any:
    """The RPCs, over the state of `server`; all others are UNIMPLEMENTED."""

    def unimplemented(name: str) -> Any:
        async def rpc(self: Any, stream: Any) -> None:
            raise GRPCError(Status.UNIMPLEMENTED, name)

        return rpc

    def unary(name: str, answer: Callable[[Any, Mapping[str, str]], Any]) -> Any:
        async def rpc(self: Any, stream: Any) -> None:
            request = await stream.recv_message()
            server.requests[name].append(request)
            if server.tokens.get(stream.metadata.get("x-modal-token-id")) != stream.metadata.get(
                "x-modal-token-secret"
            ):
                raise GRPCError(Status.UNAUTHENTICATED, "Token ID is malformed")
            failing = server.unavailable[name] > 0
            server.unavailable[name] -= failing
            if failing and name not in server.does_its_work:
                raise GRPCError(Status.UNAVAILABLE, "try again")
            reply = answer(request, stream.metadata)
            reply = await reply if asyncio.iscoroutine(reply) else reply
            if failing:
                raise GRPCError(Status.UNAVAILABLE, "the reply is lost")
            await stream.send_message(reply)

        return rpc

    def hello(request: Any, metadata: Mapping[str, str]) -> Any:
        return api_pb2.ClientHelloResponse()

    def look_up(request: Any, metadata: Mapping[str, str]) -> Any:
        if request.app_name != APP_NAME or request.object_tag not in server.deployed:
            raise GRPCError(Status.NOT_FOUND, f"App '{request.app_name}' not found")
        return api_pb2.FunctionGetResponse(
            function_id=f"fu-{request.object_tag}",
            handle_metadata=api_pb2.FunctionHandleMetadata(
                function_name=request.object_tag,
                function_type=api_pb2.Function.FUNCTION_TYPE_FUNCTION,
                app_id=APP_ID,
            ),
            function=function_data(api_pb2.Function(function_name=request.object_tag)),
        )

    def spawn(request: Any, metadata: Mapping[str, str]) -> Any:
        (item,) = request.pipelined_inputs
        (order,), _ = deserialize(item.input.args, None)
        function = request.function_id.removeprefix("fu-")
        call = server.spawn(function, order, metadata["x-idempotency-key"])
        put = api_pb2.FunctionPutInputsResponseItem(idx=0, input_id=f"in-{call.id}", input_jwt="jwt")
        return api_pb2.FunctionMapResponse(function_call_id=call.id, pipelined_inputs=[put])

    async def outputs(request: Any, metadata: Mapping[str, str]) -> Any:
        call = server.find(request.function_call_id)
        call.times_asked += 1
        deadline = asyncio.get_running_loop().time() + request.timeout
        while call.result is None and not call.expired and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.02)
        if call.expired:
            return api_pb2.FunctionGetOutputsResponse(num_unfinished_inputs=0)
        if call.result is None:
            return api_pb2.FunctionGetOutputsResponse(num_unfinished_inputs=1)
        item = api_pb2.FunctionGetOutputsItem(
            result=call.result, idx=0, input_id=f"in-{call.id}", data_format=api_pb2.DATA_FORMAT_PICKLE
        )
        return api_pb2.FunctionGetOutputsResponse(outputs=[item], idxs=[0])

    def cancel(request: Any, metadata: Mapping[str, str]) -> Any:
        call = server.find(request.function_call_id)
        call.cancelled = True
        call.ends("TERMINATED", "the call was cancelled")
        return empty_pb2.Empty()

    def from_id(request: Any, metadata: Mapping[str, str]) -> Any:
        call = server.find(request.function_call_id)
        known = api_pb2.FunctionCallHandleMetadata(app_id=APP_ID, function_id=f"fu-{call.function}")
        return api_pb2.FunctionCallFromIdResponse(function_call_id=call.id, num_inputs=1, metadata=known)

    def info(request: Any, metadata: Mapping[str, str]) -> Any:
        call = server.find(request.function_call_id)
        info = api_pb2.FunctionCallInfo(function_call_id=call.id, total_inputs=1)
        info.succeeded_inputs.total = int(call.result is not None)
        return api_pb2.FunctionCallGetInfoResponse(info=info)

    async def logs(self: Any, stream: Any) -> None:
        request = await stream.recv_message()
        call = server.find(request.function_call_id)
        position = int(request.last_entry_id or 0)
        deadline = asyncio.get_running_loop().time() + request.timeout
        while asyncio.get_running_loop().time() < deadline:
            for entry in call.said[position:]:
                position += 1
                await stream.send_message(api_pb2.TaskLogsBatch(items=[entry], entry_id=str(position)))
            await asyncio.sleep(0.02)

    rpcs = {name: unimplemented(name) for name in ModalClientBase.__abstractmethods__}
    rpcs |= {
        "ClientHello": unary("ClientHello", hello),
        "FunctionGet": unary("FunctionGet", look_up),
        "FunctionMap": unary("FunctionMap", spawn),
        "FunctionGetOutputs": unary("FunctionGetOutputs", outputs),
        "FunctionCallCancel": unary("FunctionCallCancel", cancel),
        "FunctionCallFromId": unary("FunctionCallFromId", from_id),
        "FunctionCallGetInfo": unary("FunctionCallGetInfo", info),
        "AppGetLogs": logs,
    }
    for name, answer in server.deployments.rpcs().items():
        rpcs[name] = unary(name, lambda request, metadata, answer=answer: answer(request))
    return type("Servicer", (ModalClientBase,), rpcs)()
