"""The check of a video's keys finds what has no place in the contract."""

from __future__ import annotations

import dagster as dg
import pytest

from captionacc_dagster.artifacts import keys_of
from captionacc_dagster.assets.checks import CHECKS
from captionacc_dagster.catalog.protocol import Catalog, Stage, Video
from captionacc_dagster.partitions import videos
from gpu_ops.store import ObjectStore
from tests.captionacc_dagster.builders import REGION, AddVideo, crop_result

CHECK_KEY = dg.AssetCheckKey(dg.AssetKey("captions_db"), "keys_follow_the_contract")


@dg.asset(partitions_def=videos)
def captions_db() -> None:
    """A check runs only beside its asset."""


def run_check(catalog: Catalog, store: ObjectStore, video: Video) -> dg.AssetCheckEvaluation:
    check = next(check for check in CHECKS if CHECK_KEY in check.check_keys)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(videos.name or "", [video.id])
        run = dg.materialize(
            [captions_db, check],
            partition_key=video.id,
            instance=instance,
            resources={"catalog": catalog, "store": store},
        )
    (evaluation,) = run.get_asset_check_evaluations()
    return evaluation


def crop(catalog: Catalog, video: Video) -> Video:
    """The video with version 1 of its cropped frames active."""
    catalog.approve_layout(video.id)
    video = catalog.claim(video.id, Stage.EXTENTS, "run")
    version = catalog.reserve_cropped_frames(video.id, "run", REGION).version
    result = crop_result(keys_of(video), version)
    catalog.finish_extents(video.id, "run", result, approved_at=video.layout_approved_at)
    return catalog.video(video.id)


def test_a_video_with_nothing_strange_passes(
    catalog: Catalog, store: ObjectStore, add_video: AddVideo
) -> None:
    video = add_video(status="active")
    keys = keys_of(video)
    for key in (keys.video, keys.layout_db, keys.raw_ocr_db, keys.full_frame(0)):
        store.put(key, b"")
    result = run_check(catalog, store, video)
    assert result.passed, result.description
    assert result.metadata["objects"].value == 4


@pytest.mark.parametrize(
    ("place", "complaint"),
    [
        ("client/videos/{}/raw-ocr.db.gz", "belongs under server/"),
        ("server/videos/{}/captions.srt", "belongs under client/"),
        ("client/videos/{}/video.mp4.part", "is no artifact"),
        (
            "client/videos/{}/cropped_frames_v1/modulo_1/chunk_0000000000.webm",
            "v1 has chunks and no manifest",
        ),
    ],
)
def test_a_stranger_is_named(
    catalog: Catalog, store: ObjectStore, add_video: AddVideo, place: str, complaint: str
) -> None:
    video = crop(catalog, add_video(status="active"))
    store.put(f"{video.tenant_id}/{place.format(video.id)}", b"")
    result = run_check(catalog, store, video)
    assert not result.passed
    assert complaint in str(result.description)
