"""Google Vision's images:annotate on 127.0.0.1: it checks the key, keeps the service's limits, decodes the
images and reads them, or answers as a test scripts it.

Sources: cloud.google.com/vision/docs/reference/rest/v1/images/annotate and cloud.google.com/vision/quotas.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt

from gpu_ops.ocr.engine import Image

PROJECT = "captions-test"
MOST_BYTES, MOST_IMAGES, LARGEST_IMAGE = 10_000_000, 16, 20_000_000
CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")
WORD = re.compile(rf"{CJK.pattern}|[^\s\u3040-\u30ff\u3400-\u9fff]+")


@dataclass(frozen=True)
class SeenLine:
    """A line of text and the rectangle around it in pixels (left, top, right, bottom)."""

    text: str
    left: float
    top: float
    right: float
    bottom: float
    confidence: float = 0.98


Reader = Callable[[Image], Sequence[SeenLine]]
Reply = dict[str, Any]  # body of one image's response


@dataclass(frozen=True)
class Failure:
    """An HTTP error in place of an answer; `reason` as in google.rpc.ErrorInfo."""

    status: int
    message: str
    reason: str = ""


@dataclass
class VisionServer:
    """`reader` reads every image that no scripted answer is waiting for.

    `failures` are given away one a request, `replies` one an image. `requests` keeps, for each request that
    was let in, the images in it as they were sent, and `hints` the language hints.
    """

    reader: Reader
    failures: deque[Failure] = field(default_factory=deque)
    replies: deque[Reply] = field(default_factory=deque)
    requests: list[list[bytes]] = field(default_factory=list)
    hints: list[list[str]] = field(default_factory=list)
    delay_s: float = 0.0
    url: str = ""
    _key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))

    @property
    def image_count(self) -> int:
        return sum(map(len, self.requests))

    @property
    def credentials_json(self) -> str:
        """A service account's key, made for this server alone."""
        pem = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return json.dumps(
            {
                "type": "service_account",
                "project_id": PROJECT,
                "private_key_id": "1",
                "private_key": pem.decode(),
                "client_email": f"reader@{PROJECT}.iam.gserviceaccount.com",
                "token_uri": f"{self.url}/token",
            }
        )

    @property
    def environment(self) -> dict[str, str]:
        """What makes captionacc read with this server."""
        return {
            "CAPTIONACC_OCR_ENGINE": "google_vision",
            "CAPTIONACC_VISION_ENDPOINT": self.url,
            "GOOGLE_APPLICATION_CREDENTIALS_JSON": self.credentials_json,
        }

    def answer(self, path: str, authorization: str, body: bytes) -> tuple[int, Any]:
        """Status and JSON body for a request."""
        time.sleep(self.delay_s)
        if not self._lets_in(authorization):
            return _error(Failure(401, "Request had invalid authentication credentials."))
        if self.failures:
            return _error(self.failures.popleft())
        if path != "/v1/images:annotate":
            return _error(Failure(404, "Not found."))
        if len(body) > MOST_BYTES:
            return _error(Failure(400, "Request payload size exceeds the limit: 10485760 bytes."))
        asked = json.loads(body).get("requests", [])
        if len(asked) > MOST_IMAGES:
            return _error(Failure(400, "Too many images per request."))
        self.requests.append([base64.b64decode(one["image"]["content"]) for one in asked])
        self.hints.append([hint for one in asked for hint in one["imageContext"].get("languageHints", [])])
        return 200, {"responses": [self._read(image) for image in self.requests[-1]]} if asked else {}

    def _read(self, data: bytes) -> Reply:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if image is None or len(data) > LARGEST_IMAGE or image.shape[0] * image.shape[1] > 75_000_000:
            return {"error": {"code": 3, "message": "Bad image data."}}
        if self.replies:
            return self.replies.popleft()
        return reply([paragraph([line]) for line in self.reader(np.asarray(image, np.uint8))])

    def _lets_in(self, authorization: str) -> bool:
        public = self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        try:
            token = authorization.removeprefix("Bearer ")
            jwt.decode(token, certs=public, audience="https://vision.googleapis.com/")
        except ValueError:
            return False
        return True


@contextmanager
def serving(reader: Reader) -> Iterator[VisionServer]:
    """A server that listens until the block ends."""
    vision = VisionServer(reader)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            path = self.path.split("?")[0]
            status, answer = vision.answer(path, self.headers.get("Authorization", ""), body)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    vision.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield vision
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _error(failure: Failure) -> tuple[int, Any]:
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": failure.reason}]
    return failure.status, {
        "error": {
            "code": failure.status,
            "message": failure.message,
            "details": details if failure.reason else [],
        }
    }


# --- Answers in Vision's shape


def reply(paragraphs: Sequence[Reply]) -> Reply:
    """The response for one image with these paragraphs."""
    if not paragraphs:
        return {}
    return {"fullTextAnnotation": {"pages": [{"blocks": [{"paragraphs": [p]} for p in paragraphs]}]}}


def paragraph(lines: Sequence[SeenLine]) -> Reply:
    """Lines that Vision takes for one paragraph, in words: split at spaces, and Chinese by the character."""
    words = [word for line in lines for word in _words(line, last=line is lines[-1])]
    return {"words": words, "confidence": 0.98}


def box(left: float, top: float, right: float, bottom: float) -> Reply:
    """A bounding polygon as it arrives: coordinates of 0 are left out."""
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return {
        "vertices": [
            {name: round(value) for name, value in (("x", x), ("y", y)) if round(value)} for x, y in corners
        ]
    }


def _words(line: SeenLine, last: bool) -> Iterator[Reply]:
    advance = (line.right - line.left) / max(1, len(line.text))
    places = [match.span() for match in WORD.finditer(line.text)]
    for (start, end), following in pairwise([*places, None]):
        if following is None:
            ending = "LINE_BREAK" if last else "EOL_SURE_SPACE"
        else:
            ending = "SPACE" if following[0] > end else None
        symbols: list[Reply] = []
        for place in range(start, end):
            left = line.left + place * advance
            symbol = {
                "text": line.text[place],
                "confidence": line.confidence,
                "boundingBox": box(left, line.top, left + advance, line.bottom),
            }
            if place == end - 1 and ending:
                symbol["property"] = {"detectedBreak": {"type": ending}}
            symbols.append(symbol)
        right = line.left + end * advance
        yield {
            "symbols": symbols,
            "confidence": line.confidence,
            "boundingBox": box(line.left + start * advance, line.top, right, line.bottom),
        }


# --- Readers


def local_reader() -> Reader:
    """Really reads, with the local OCR: a few lines a second."""
    from gpu_ops.ocr.rapid import RapidEngine  # noqa: PLC0415 # servers that do not read need no model

    engine = RapidEngine()
    busy = threading.Lock()

    def read(image: Image) -> list[SeenLine]:
        with busy:
            return [line for tile, x, y in _tiles(image) for line in _lines(engine, tile, x, y)]

    return read


def marker_reader(texts: Sequence[str]) -> Reader:
    """Finds ArUco markers, and right of marker i, in its size, sees the lines of texts[i] (see `marked`)."""
    settings = cv2.aruco.DetectorParameters()
    settings.minMarkerPerimeterRate = 0.005  # of the image's long side
    settings.adaptiveThreshWinSizeMin = settings.adaptiveThreshWinSizeMax = 11
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_1000)
    detector = cv2.aruco.ArucoDetector(dictionary, settings)

    def read(image: Image) -> list[SeenLine]:
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        corners, numbers, _ = detector.detectMarkers(grey)
        return [
            line
            for corner, number in zip(corners, [] if numbers is None else numbers.ravel(), strict=True)
            for line in _beside(corner.reshape(4, 2), texts[int(number)])
        ]

    return read


def marked(picture: Image, number: int, left: int, top: int, size: int) -> Image:
    """The picture with ArUco marker `number` (0-999) on a white patch, `size` pixels wide and high."""
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_1000)
    rim = size // 5
    result = picture.copy()
    result[max(0, top - rim) : top + size + rim, max(0, left - rim) : left + size + rim] = 255
    marker = cv2.aruco.generateImageMarker(dictionary, number, size)
    result[top : top + size, left : left + size] = cv2.cvtColor(marker, cv2.COLOR_GRAY2BGR)
    return result


def _beside(corners: Any, text: str) -> Iterator[SeenLine]:
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    lines = text.split("\n")
    pitch = (bottom - top) / len(lines)
    start = right + 0.5 * (right - left)
    for place, line in enumerate(lines):
        advance = pitch * (0.8 if CJK.search(line) else 0.4)
        above = top + place * pitch
        yield SeenLine(line, start, above, start + advance * len(line), above + 0.85 * pitch)


def _lines(engine: Any, tile: Image, x: int, y: int) -> Iterator[SeenLine]:
    height, width = tile.shape[:2]
    for found in engine.read(tile):
        if found.text:
            yield SeenLine(
                found.text,
                x + found.left * width,
                y + found.top * height,
                x + found.right * width,
                y + found.bottom * height,
                found.confidence,
            )


def _tiles(image: Image) -> Iterator[tuple[Image, int, int]]:
    """The parts of a page that blank rows and columns set apart, each with its left and top edge."""
    for top, bottom in _runs(image.min(axis=(1, 2)) < 235):
        band = image[top:bottom]
        for left, right in _runs(band.min(axis=(0, 2)) < 235):
            yield band[:, left:right], left, top


def _runs(inked: Any) -> Iterator[tuple[int, int]]:
    """Stretches of ink; a blank of a few pixels does not end one."""
    solid = cv2.morphologyEx(inked.astype(np.uint8)[None], cv2.MORPH_CLOSE, np.ones((1, 9), np.uint8))[0]
    edges = np.flatnonzero(np.diff(solid, prepend=0, append=0))
    yield from ((int(start), int(end)) for start, end in edges.reshape(-1, 2) if end - start > 8)
