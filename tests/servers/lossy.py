"""A gateway that lets the server do the work and then loses its reply, as a recycled connection does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlsplit


@dataclass
class LossyGateway:
    """Passes POST requests on. `replies` is what the server said, in order, lost or not."""

    url: str
    replies: list[bytes] = field(default_factory=list)
    _to_lose: int = 0

    def lose_next(self, count: int = 1) -> None:
        """Lose the next replies; forget those there were."""
        self.replies.clear()
        self._to_lose = count

    def is_lost(self, reply: bytes) -> bool:
        self.replies.append(reply)
        self._to_lose -= 1
        return self._to_lose >= 0


@contextmanager
def lossy_gateway(upstream: str) -> Iterator[LossyGateway]:
    """Before the server at that http URL."""
    place = urlsplit(upstream).netloc

    class Exchange(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            connection = HTTPConnection(place)
            connection.request("POST", self.path, body, dict(self.headers.items()))
            response = connection.getresponse()
            reply = response.read()
            connection.close()
            if gateway.is_lost(reply):
                self.close_connection = True
                return
            self.send_response(response.status)
            self.send_header("Content-Type", response.headers["Content-Type"] or "application/json")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Exchange)
    server.daemon_threads = True
    server.block_on_close = False
    gateway = LossyGateway(f"http://127.0.0.1:{server.server_port}")
    Thread(target=server.serve_forever, name="lossy-gateway", daemon=True).start()
    try:
        yield gateway
    finally:
        server.shutdown()
        server.server_close()
