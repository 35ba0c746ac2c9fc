"""A real S3 endpoint (moto's server, over HTTP), and a proxy before it that breaks exchanges on order."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any, Literal
from urllib.request import Request, urlopen

import boto3

from gpu_ops.s3 import ACCESS_VARIABLES, S3Access

REGION = "us-east-1"
START_LIMIT_S = 60
PIECE_BYTES = 64 << 10


@dataclass(frozen=True)
class S3Server:
    """A running endpoint. Its `access` may do anything; so may any other, unless `keys_enforced`."""

    port: int

    @property
    def access(self) -> S3Access:
        return S3Access(
            endpoint=f"http://127.0.0.1:{self.port}",
            region=REGION,
            access_key_id="testing",
            secret_access_key="testing-secret",
        )

    def environment(self, access: S3Access | None = None) -> dict[str, str]:
        """What makes captionacc use this endpoint, with the keys of `access`."""
        return {name: getattr(access or self.access, field) for field, name in ACCESS_VARIABLES.items()}

    def client(self, service: Literal["s3", "iam"] = "s3") -> Any:
        """A client of another make than the store's, to arrange and to look behind it."""
        return _client(service, self.access)

    def make_bucket(self, name: str) -> str:
        self.client().create_bucket(Bucket=name)
        return name

    def make_user(self, name: str, policy: Mapping[str, Any]) -> S3Access:
        """The keys of a new user who may do what `policy`, an IAM policy document, says."""
        iam = self.client("iam")
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=json.dumps(policy))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return dataclasses.replace(
            self.access, access_key_id=key["AccessKeyId"], secret_access_key=key["SecretAccessKey"]
        )

    @contextmanager
    def keys_enforced(self) -> Generator[None]:
        """For this long the server checks signatures and permissions."""
        self._check_keys_after("0")
        try:
            yield
        finally:
            self._check_keys_after("inf")

    def _check_keys_after(self, requests: str) -> None:
        url = f"{self.access.endpoint}/moto-api/reset-auth"
        urlopen(Request(url, requests.encode(), {"Content-Type": "text/plain"})).close()


@cache  # making one takes a third of a second
def _client(service: str, access: S3Access) -> Any:
    return boto3.client(
        service,
        endpoint_url=access.endpoint,
        region_name=access.region,
        aws_access_key_id=access.access_key_id,
        aws_secret_access_key=access.secret_access_key,
    )


@contextmanager
def s3_server() -> Generator[S3Server]:
    """Start the endpoint, empty, in a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(port)],
        env={**os.environ, "MOTO_IAM_LOAD_MANAGED_POLICIES": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port, process)
        yield S3Server(port)
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise RuntimeError("moto's server did not start")


@dataclass(frozen=True)
class Refusal:
    """The proxy answers in the service's place."""

    status: int
    code: str


@dataclass(frozen=True)
class Cut:
    """The proxy ends the exchange, or lets it stall, after so many bytes of a body.

    `after` None: a request is served, but nothing of its reply arrives.
    """

    body: Literal["request", "reply"]
    after: int | None = None
    stalls: bool = False


class FaultyProxy:
    """Passes everything on to an endpoint, but for the faults it was told to commit. Close it after use.

    `requests` is what arrived, as "METHOD /path?query"; `meanwhile` is called with each before it is passed
    on, `delay_s` is how long each has to wait, `most_at_once` how many did.
    """

    def __init__(self, upstream: S3Server) -> None:
        self.requests: list[str] = []
        self.meanwhile: Callable[[str], object] = lambda request: None
        self.delay_s = 0.0
        self.most_at_once = 0
        self._waiting = 0
        self._lock = Lock()
        self._faults: list[tuple[str, Refusal | Cut]] = []
        self._server = _Server(self, upstream.port)
        self._upstream = upstream
        Thread(target=self._server.serve_forever, name="faulty-proxy", daemon=True).start()

    @property
    def access(self) -> S3Access:
        return dataclasses.replace(
            self._upstream.access, endpoint=f"http://127.0.0.1:{self._server.server_port}"
        )

    def commit(self, wanted: str, *faults: Refusal | Cut) -> None:
        """Each of the next requests that `wanted` names meets one of the faults, in order.

        `wanted`: a method, or a method, a space and a part of the path or query.
        """
        self._faults += [(wanted, fault) for fault in faults]

    def forgive(self) -> None:
        """Commit no more faults."""
        self._faults.clear()

    def fault_for(self, method: str, path: str) -> Refusal | Cut | None:
        self.requests.append(f"{method} {path}")
        for position, (wanted, fault) in enumerate(self._faults):
            wanted_method, _, part = wanted.partition(" ")
            if wanted_method == method and part in path:
                del self._faults[position]
                return fault
        return None

    def hold(self) -> None:
        self.meanwhile(self.requests[-1])
        with self._lock:
            self._waiting += 1
            self.most_at_once = max(self.most_at_once, self._waiting)
        time.sleep(self.delay_s)
        with self._lock:
            self._waiting -= 1

    def close(self) -> None:
        self._server.closing.set()
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, proxy: FaultyProxy, upstream_port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Exchange)
        self.proxy = proxy
        self.upstream_port = upstream_port
        self.closing = Event()

    def shutdown_request(self, request: Any) -> None:
        # Without the orderly end that http.server sends first, so that a reset is one.
        self.close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class _Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _pass_on(self) -> None:
        fault = self.server.proxy.fault_for(self.command, self.path)
        self.server.proxy.hold()
        if isinstance(fault, Refusal):
            self._refuse(fault)
            return
        try:
            connection = HTTPConnection("127.0.0.1", self.server.upstream_port)
            self._send(connection, fault if fault is not None and fault.body == "request" else None)
            self._reply(
                connection.getresponse(), fault if fault is not None and fault.body == "reply" else None
            )
        except _Ended:
            self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _refuse(self, refusal: Refusal) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = f"<Error><Code>{refusal.code}</Code><Message>As ordered.</Message></Error>".encode()
        self.send_response(refusal.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send(self, connection: HTTPConnection, cut: Cut | None) -> None:
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        left = int(self.headers.get("Content-Length", 0))
        passed = 0
        while left > passed:
            if cut is not None and passed >= (cut.after or 0):
                connection.close()
                self._end(cut)
            piece = self.rfile.read1(min(PIECE_BYTES, left - passed))
            connection.send(piece)
            passed += len(piece)

    def _reply(self, response: HTTPResponse, cut: Cut | None) -> None:
        if cut is not None and cut.after is None:
            response.read()
            self._end(cut)
        self.send_response_only(response.status, response.reason)
        for name, value in response.getheaders():
            if name.lower() not in ("connection", "transfer-encoding"):
                self.send_header(name, value)
        self.end_headers()
        passed = 0
        while piece := response.read(PIECE_BYTES):
            if cut is not None and passed >= (cut.after or 0):
                self._end(cut)
            self.wfile.write(piece)
            passed += len(piece)

    def _end(self, cut: Cut) -> None:
        if cut.stalls:
            self.server.closing.wait()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise _Ended


class _Ended(Exception):
    """The exchange was cut as ordered."""
