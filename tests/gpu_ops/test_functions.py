"""The compute functions on a store of their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gpu_ops import database
from gpu_ops.contract import ComputeError, CropInferRequest, VideoKeys, silent
from gpu_ops.extents.database import read_origin
from gpu_ops.functions import Workbench, crop_and_infer_caption_frame_extents
from gpu_ops.regions import CropRegion
from gpu_ops.store import ObjectStore
from tests.e2e.films import render_film

KEYS = VideoKeys("00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002")


def test_a_call_that_was_given_up_does_not_replace_the_extents_of_a_later_one(tmp_path: Path) -> None:
    render_film(tmp_path / "film.mp4", duration=1.0, script=((0.2, 0.8, "Late again?"),))
    store = ObjectStore.open((tmp_path / "store").as_uri())
    store.upload(tmp_path / "film.mp4", KEYS.video)
    bench = Workbench(store=store, threads=1, ocr_engine="rapid", progress=silent)

    crop_and_infer_caption_frame_extents(bench, request(version=2))
    with pytest.raises(ComputeError, match="Version 2"):
        crop_and_infer_caption_frame_extents(bench, request(version=1))

    database.fetch(store, KEYS.caption_frame_extents_db, tmp_path / "extents.db")
    assert read_origin(tmp_path / "extents.db")[0] == 2


def test_captions_that_reach_the_edge_of_the_crop_are_warned_of_with_a_wider_region(tmp_path: Path) -> None:
    render_film(tmp_path / "film.mp4", duration=2.4, script=((0.5, 1.9, "It is on the kitchen table."),))
    store = ObjectStore.open((tmp_path / "store").as_uri())
    store.upload(tmp_path / "film.mp4", KEYS.video)
    bench = Workbench(store=store, threads=1, ocr_engine="rapid", progress=silent)

    fits = crop_and_infer_caption_frame_extents(bench, request(version=1))
    assert (fits.caption_count, fits.cut_off_count, fits.warnings) == (1, 0, ())
    narrow = replace(request(version=2), crop_region=CropRegion(0.4, 0.8, 0.6, 1))
    cut = crop_and_infer_caption_frame_extents(bench, narrow)
    (warning,) = cut.warnings
    assert "may be cut off. Approve a wider one, such as 0.3500,0.8000,0.6500,1.0000" in warning


def request(version: int) -> CropInferRequest:
    return CropInferRequest(
        video_key=KEYS.video,
        tenant_id=KEYS.tenant_id,
        video_id=KEYS.video_id,
        crop_region=CropRegion(0.1, 0.7, 0.9, 0.98),
        version=version,
        run_id="run",
    )
