"""The doorway between the control plane and the data plane.

Everything both sides must agree on stands here: where an object lies, what a compute function is asked and
what it answers, and which failures there are; crop regions have a module of their own. Nothing but the
standard library is needed, so that a control plane without any pixel library can use it.

One time grid: frame index i is the frame on screen i / GRID_HZ seconds after the first displayed frame.
"""

from __future__ import annotations

import base64
import dataclasses
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from gpu_ops.regions import CropPixels, CropRegion

GRID_HZ = 10
FULL_FRAME_RATE = 0.1

OcrEngineName = Literal["rapid", "google_vision"]

# One number a stage, raised whenever the same inputs would give another artifact: Dagster shows what is
# stale by it.
CODE_VERSIONS: Mapping[str, str] = {"layout": "4", "extents": "8", "captions": "6", "training_data": "1"}

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class InvalidId(ValueError):
    """A tenant or video id that is not a lower-case UUID, and so must never become part of a path."""


def checked_id(value: str, kind: str) -> str:
    """Return `value` if it is a lower-case UUID, else raise InvalidId naming `kind` (tenant or video)."""
    if not _UUID.fullmatch(value):
        raise InvalidId(f"{value!r} is not a {kind} id: expected a lower-case UUID")
    return value


@dataclass(frozen=True)
class VideoKeys:
    """Where each artifact of one video lies in the object store."""

    tenant_id: str
    video_id: str

    def __post_init__(self) -> None:
        checked_id(self.tenant_id, "tenant")
        checked_id(self.video_id, "video")

    @property
    def client(self) -> str:
        """Prefix of everything a client of the tenant may read (no trailing slash)."""
        return f"{self.tenant_id}/client/videos/{self.video_id}"

    @property
    def server(self) -> str:
        """Prefix of what only the pipeline may read (no trailing slash)."""
        return f"{self.tenant_id}/server/videos/{self.video_id}"

    @property
    def video(self) -> str:
        return f"{self.client}/video.mp4"

    @property
    def full_frames(self) -> str:
        return f"{self.client}/full_frames"

    @property
    def thumbnails(self) -> str:
        return f"{self.client}/full_frames_thumbnails"

    def full_frame(self, index: int) -> str:
        return f"{self.full_frames}/frame_{index:06d}.jpg"

    def thumbnail(self, index: int) -> str:
        return f"{self.thumbnails}/frame_{index:06d}.jpg"

    @property
    def layout_db(self) -> str:
        return f"{self.client}/layout.db.gz"

    @property
    def captions_db(self) -> str:
        return f"{self.client}/captions.db.gz"

    def subtitles(self, suffix: Literal["srt", "vtt"]) -> str:
        return f"{self.client}/captions.{suffix}"

    @property
    def raw_ocr_db(self) -> str:
        return f"{self.server}/raw-ocr.db.gz"

    @property
    def layout_server_db(self) -> str:
        return f"{self.server}/layout-server.db.gz"

    @property
    def training_data(self) -> str:
        """Prefix of shards cut from confirmed captions and the provenance.json that lists them."""
        return f"{self.server}/training_data"

    @property
    def training_data_provenance(self) -> str:
        return f"{self.training_data}/provenance.json"

    @property
    def caption_frame_extents_db(self) -> str:
        return f"{self.server}/caption_frame_extents.db.gz"

    def cropped_frames(self, version: int) -> str:
        return f"{self.client}/cropped_frames_v{version}"

    def chunk(self, version: int, modulo: int, start: int) -> str:
        return f"{self.cropped_frames(version)}/modulo_{modulo}/chunk_{start:010d}.webm"

    def manifest(self, version: int) -> str:
        return f"{self.cropped_frames(version)}/manifest.json"


class Progress(Protocol):
    """Called as work goes on: `done` of `total` units (any unit) of the named step are finished."""

    def __call__(self, step: str, done: float, total: float) -> None: ...


def silent(step: str, done: float, total: float) -> None:
    """A Progress that tells nobody."""


# --- What a compute function is asked


@dataclass(frozen=True, kw_only=True)
class ExtractRequest:
    """Sample full frames, read them, propose a layout. `languages`: BCP 47 hints, none for automatic."""

    video_key: str
    tenant_id: str
    video_id: str
    frame_rate: float = FULL_FRAME_RATE
    languages: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class CropInferRequest:
    """Crop at 10 Hz into `version` (reserved by the caller, never used before) and infer the extents."""

    video_key: str
    tenant_id: str
    video_id: str
    crop_region: CropRegion
    version: int
    run_id: str
    frame_rate: float = GRID_HZ
    model_version: str | None = None


@dataclass(frozen=True, kw_only=True)
class FrameRange:
    """Cropped frames `start_frame` (inclusive) to `end_frame` (EXCLUSIVE) of one caption."""

    start_frame: int
    end_frame: int


@dataclass(frozen=True, kw_only=True)
class CaptionOcrRequest:
    """Read the median frame of each range. `chunks_prefix` is a VideoKeys.cropped_frames(version); `gaps` are
    stretches without captions, those beside the captions at least: they show what stands behind one."""

    chunks_prefix: str
    captions: Sequence[FrameRange]
    languages: Sequence[str] = ()
    gaps: Sequence[FrameRange] = ()


@dataclass(frozen=True, kw_only=True)
class VerifyRequest:
    """Hold every chunk of a cropped-frames version against its manifest."""

    tenant_id: str
    video_id: str
    version: int


@dataclass(frozen=True, kw_only=True)
class TrainingDataRequest:
    """Cut training scenes from the captions confirmed at or after `since` (ISO-8601 UTC; None: ever)."""

    tenant_id: str
    video_id: str
    since: str | None = None


# --- What it answers


@dataclass(frozen=True, kw_only=True)
class ExtractResult:
    """`region` is None when no captions were found. `billed_images`: read by a paid OCR service.

    `preview_jpeg`: some frames with boxes and region.
    """

    frame_count: int
    duration: float
    frame_width: int
    frame_height: int
    video_codec: str
    bitrate: int
    ocr_box_count: int
    failed_ocr_count: int
    processing_duration_seconds: float
    full_frames_key: str
    ocr_db_key: str
    layout_db_key: str
    region: CropRegion | None
    caption_box_count: int
    ocr_engine: str
    full_frames_bytes: int
    data_versions: Mapping[str, str]  # asset name -> sha256 over the artifact's content
    billed_images: int = 0
    preview_jpeg: bytes = b""
    warnings: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class CropInferResult:
    """`label_counts` counts pairs by predicted label. `computed_on`: which processors did it, for people.

    `cut_off_count`: captions whose letters reach the left or right edge of the crop. `preview_jpeg`: the
    extents on a time line.
    """

    version: int
    frame_count: int
    label_counts: Mapping[str, int]
    processing_duration_seconds: float
    caption_frame_extents_db_key: str
    cropped_frames_prefix: str
    chunk_count: int
    total_size_bytes: int
    caption_count: int
    model_version: str
    crop_pixels: CropPixels
    data_versions: Mapping[str, str]
    cut_off_count: int = 0
    computed_on: str = "CPU"
    preview_jpeg: bytes = b""
    warnings: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class CaptionOcrResult:
    """Text of one caption (lines joined with a newline, empty if nothing is legible), confidence 0-1,
    frames used.

    `error` is set, and the text empty, where reading failed: a failure is never an empty caption.
    """

    ocr_text: str
    confidence: float
    frame_count: int
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class CaptionOcrBatch:
    """One result per requested range, in order. `billed_images`: read by a paid OCR service.

    `preview_jpeg`: median frames beside their text.
    """

    captions: Sequence[CaptionOcrResult]
    ocr_engine: str
    processing_duration_seconds: float
    billed_images: int = 0
    preview_jpeg: bytes = b""
    warnings: Sequence[str] = field(default=())


@dataclass(frozen=True, kw_only=True)
class VerifyResult:
    """What is wrong with a version, a sentence each; nothing when each frame is in one chunk, as written."""

    frame_count: int
    chunk_count: int
    problems: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class TrainingDataResult:
    """`prefix` holds the shards and their provenance.json; `caption_count` counts the confirmed captions."""

    prefix: str
    caption_count: int
    scene_count: int
    size_bytes: int
    model_version: str
    data_versions: Mapping[str, str]
    preview_jpeg: bytes = b""


# --- How it fails


class ComputeError(Exception):
    """A compute function failed. The message is one or two sentences for the person who owns the video.

    `permanent` failures come back on every retry of the same input, so nobody retries them.
    """

    permanent = False


class BadVideo(ComputeError):
    """The file cannot be processed whatever we do: empty, truncated, no video stream, undecodable."""

    permanent = True


class MissingObject(ComputeError):
    """An object this work needs is not in the store."""

    permanent = True


class StoreRefused(ComputeError):
    """The object store turns us away: no such bucket, wrong keys, no permission, settings missing."""

    permanent = True


class StoreUnavailable(ComputeError):
    """The object store failed us for now: unreachable, silent, overloaded, a folder's disk is full."""


class DamagedDatabase(ComputeError):
    """A stored database does not unpack; it was not written by this pipeline or was damaged since."""

    permanent = True


class BadRequest(ComputeError):
    """The request itself is wrong: an unknown model version, an unsupported language."""

    permanent = True


class OcrRefused(ComputeError):
    """The OCR service does not serve us until somebody changes a key, a setting or a bill."""

    permanent = True


class TimeLimitExceeded(ComputeError):
    """The work took longer than its time limit and was stopped; another try would take as long."""

    permanent = True


class WorkerCrashed(ComputeError):
    """The computing process or machine ended without an answer: killed, out of memory, segmentation fault."""


FAILURES: Mapping[str, type[ComputeError]] = {
    cls.__name__: cls
    for cls in (
        ComputeError,
        BadVideo,
        MissingObject,
        StoreRefused,
        StoreUnavailable,
        DamagedDatabase,
        BadRequest,
        OcrRefused,
        TimeLimitExceeded,
        WorkerCrashed,
    )
}


def kind_of(failure: ComputeError) -> str:
    """The name in FAILURES under which a failure crosses to another process: its own or its base's."""
    return next(cls.__name__ for cls in type(failure).__mro__ if cls.__name__ in FAILURES)


# --- Crossing a process boundary as JSON

T = TypeVar("T")


def to_json(value: Any) -> Any:
    """A request or result as JSON-ready data: dataclasses become objects, bytes base64 text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [to_json(item) for item in value]
    return value


def from_json(kind: type[T], data: Any, *, ignore_unknown: bool = False) -> T:
    """The inverse of to_json for a dataclass of this module.

    Raises TypeError for a missing field, and for an unknown one unless told to ignore those: a newer version
    may have added them.
    """
    hints = typing.get_type_hints(kind)
    if ignore_unknown:
        data = {name: item for name, item in data.items() if name in hints}
    values = {
        name: _revive(hints[name], item, ignore_unknown) if name in hints else item
        for name, item in data.items()
    }
    return kind(**values)


def _revive(hint: Any, data: Any, ignore_unknown: bool) -> Any:
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        inner = [arg for arg in typing.get_args(hint) if arg is not type(None)]
        return None if data is None else _revive(inner[0], data, ignore_unknown)
    if hint is bytes:
        return base64.b64decode(data)
    if dataclasses.is_dataclass(hint):
        return from_json(typing.cast(type[Any], hint), data, ignore_unknown=ignore_unknown)
    if origin is tuple:
        return tuple(data)
    if origin is Sequence:
        (item_hint,) = typing.get_args(hint)
        return tuple(_revive(item_hint, item, ignore_unknown) for item in data)
    return data
