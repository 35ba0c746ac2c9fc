"""A graph whose compute answers at once: the time that remains is the control plane's own.

A code server loads it in place of captionacc_dagster.definitions: sensors, queue, catalog, leases, store and
asset checks are the real ones. BENCH_COMPUTE_SECONDS makes a call take that long instead.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from captionacc_dagster.catalog.lease import HeldWork
from captionacc_dagster.definitions import build_definitions
from captionacc_dagster.resources.compute import STOPPED, Answer, Compute, Context, Order, WorkStopped
from captionacc_dagster.settings import Settings, load_settings, open_store
from gpu_ops.contract import ExtractRequest, ExtractResult, VideoKeys


@dataclass(frozen=True)
class InstantCompute(Compute):
    """Lays out any video as one frame without captions."""

    settings: Settings
    seconds: float

    def _carry_out(self, context: Context, order: Order[Answer], held: HeldWork | None) -> Answer:
        request: ExtractRequest = order.request
        if held is not None and held.lost.wait(self.seconds):
            raise WorkStopped(STOPPED)
        keys, store = VideoKeys(request.tenant_id, request.video_id), open_store(self.settings)
        store.put(keys.full_frame(0), b"frame")
        store.put(keys.thumbnail(0), b"thumbnail")
        result = ExtractResult(
            frame_count=1,
            duration=1.0,
            frame_width=1280,
            frame_height=720,
            video_codec="h264",
            bitrate=0,
            ocr_box_count=0,
            failed_ocr_count=0,
            processing_duration_seconds=self.seconds,
            full_frames_key=keys.full_frames,
            ocr_db_key=keys.raw_ocr_db,
            layout_db_key=keys.layout_db,
            region=None,
            caption_box_count=0,
            ocr_engine="none",
            full_frames_bytes=5,
            data_versions={"full_frames": "1", "raw_ocr_db": "1", "layout_db": "1"},
        )
        assert isinstance(result, order.answer), f"{order.function} is not part of the benchmark"
        return result


settings = load_settings()
defs = build_definitions(
    settings, {"compute": InstantCompute(settings, float(os.environ.get("BENCH_COMPUTE_SECONDS", "0")))}
)
