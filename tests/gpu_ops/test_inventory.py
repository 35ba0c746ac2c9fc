"""Every key of the contract is known for what it is, and nothing else passes for one."""

from __future__ import annotations

import pytest

from gpu_ops.contract import VideoKeys
from gpu_ops.inventory import StoredArtifact, StrangeKey, artifact_of, strangers

TENANT = "00000000-0000-0000-0000-000000000001"
VIDEO = "00000000-0000-0000-0000-000000000002"
KEYS = VideoKeys(TENANT, VIDEO)

ARTIFACTS = {
    KEYS.video: "video",
    KEYS.full_frame(0): "full frame",
    KEYS.full_frame(12_345_600): "full frame",
    KEYS.thumbnail(100): "thumbnail",
    KEYS.layout_db: "layout_db",
    KEYS.chunk(1, 16, 512): "chunk",
    KEYS.chunk(12, 4, 128): "chunk",
    KEYS.chunk(3, 1, 32): "chunk",
    KEYS.manifest(3): "manifest",
    KEYS.captions_db: "captions_db",
    KEYS.subtitles("srt"): "subtitles",
    KEYS.subtitles("vtt"): "subtitles",
    KEYS.raw_ocr_db: "raw_ocr_db",
    KEYS.layout_server_db: "layout_server_db",
    KEYS.caption_frame_extents_db: "caption_frame_extents_db",
}


@pytest.mark.parametrize(("key", "artifact"), ARTIFACTS.items())
def test_each_key_of_the_contract_is_known_on_its_side(key: str, artifact: str) -> None:
    stored = artifact_of(key)
    side = "server" if key.startswith(KEYS.server) else "client"
    assert (stored.tenant_id, stored.video_id, stored.side, stored.artifact) == (
        TENANT,
        VIDEO,
        side,
        artifact,
    )


def test_a_version_of_cropped_frames_is_read_from_its_keys() -> None:
    assert artifact_of(KEYS.manifest(12)) == StoredArtifact(TENANT, VIDEO, "client", "manifest", 12)
    assert artifact_of(KEYS.chunk(7, 1, 0)).version == 7
    assert artifact_of(KEYS.captions_db).version is None


@pytest.mark.parametrize("key", list(ARTIFACTS))
def test_the_same_key_on_the_other_side_is_refused(key: str) -> None:
    other = key.replace("/client/", "/SIDE/").replace("/server/", "/client/").replace("/SIDE/", "/server/")
    with pytest.raises(StrangeKey, match="belongs under"):
        artifact_of(other)


@pytest.mark.parametrize(
    "key",
    [
        f"{KEYS.client}/video.mp4.part",
        f"{KEYS.client}/video.mov",
        f"{KEYS.client}/layout.db",
        f"{KEYS.client}/captions.txt",
        f"{KEYS.client}/full_frames/frame_12.jpg",
        f"{KEYS.client}/full_frames/frame_0000012.jpg",
        f"{KEYS.client}/full_frames/extra/frame_000100.jpg",
        f"{KEYS.client}/cropped_frames_v0/manifest.json",
        f"{KEYS.client}/cropped_frames_v01/manifest.json",
        f"{KEYS.client}/cropped_frames/manifest.json",
        f"{KEYS.client}/cropped_frames_v1/modulo_2/chunk_0000000000.webm",
        f"{KEYS.client}/cropped_frames_v1/modulo_16/chunk_0000000032.webm",
        f"{KEYS.client}/cropped_frames_v1/modulo_1/chunk_32.webm",
        f"{TENANT}/client/video.mp4",
        f"{TENANT}/client/videos/not-an-id/video.mp4",
        f"{TENANT}/public/videos/{VIDEO}/video.mp4",
        f"{TENANT.upper().replace('0', 'A')}/client/videos/{VIDEO}/video.mp4",
        f"tenants/{KEYS.video}",
        f"{KEYS.video}\n",
        "captionacc-doctor",
        "",
    ],
)
def test_anything_else_has_no_place(key: str) -> None:
    with pytest.raises(StrangeKey):
        artifact_of(key)


def test_a_complete_video_has_no_strangers() -> None:
    assert strangers(ARTIFACTS, current_version=12) == [
        "cropped_frames_v1 has chunks and no manifest",
        "cropped_frames_v12 has chunks and no manifest",
    ]
    assert strangers([*ARTIFACTS, KEYS.manifest(1), KEYS.manifest(12)], current_version=12) == []


def test_a_version_in_the_making_is_no_orphan_until_a_later_one_is_current() -> None:
    stored = [KEYS.chunk(1, 1, 0), KEYS.manifest(1), KEYS.chunk(2, 1, 0)]
    assert strangers(stored, current_version=1) == []
    assert strangers([*stored, KEYS.manifest(3)], current_version=3) == [
        "cropped_frames_v2 has chunks and no manifest"
    ]
    assert strangers([KEYS.chunk(1, 1, 0)], current_version=None) == []
