"""Chunks hold every grid frame, look like the crop, and never appear half-written."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from gpu_ops.contract import ComputeError, MissingObject, VideoKeys
from gpu_ops.regions import CropPixels, CropRegion
from gpu_ops.store import ObjectStore
from gpu_ops.video.crop import CroppedFrame, crop_pixels, cropped_frames
from gpu_ops.video.encode import ChunkWriter, read_chunk_frames
from gpu_ops.video.manifest import Manifest, read_manifest
from gpu_ops.video.probe import probe
from gpu_ops.video.verify import verify_chunks
from tests.broken_videos import number_of, numbered_luma
from tests.servers.s3 import Cut, FaultyProxy, Refusal, S3Server

MakeVideo = Callable[[str], Path]
KEYS = VideoKeys("00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002")
PREFIX = KEYS.cropped_frames(1)
WIDTH, HEIGHT = 192, 48


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore.open((tmp_path / "store").as_uri())


def strips(count: int) -> Iterator[CroppedFrame]:
    for index in range(count):
        y = numbered_luma(index, WIDTH, HEIGHT)
        grey = np.full((HEIGHT // 2, WIDTH // 2), 128, np.uint8)
        yield CroppedFrame(index, index / 10, (index + 1) / 10, y, grey, grey, 1)


def write(store: ObjectStore, count: int) -> Manifest:
    with ChunkWriter(store, KEYS, 1, CropPixels(left=0, top=0, right=WIDTH, bottom=HEIGHT)) as writer:
        for frame in strips(count):
            writer.add(frame)
        return writer.finish()


@pytest.mark.parametrize("count", [1, 3, 17, 150])
def test_every_frame_comes_back_from_the_chunks(store: ObjectStore, count: int) -> None:
    manifest = write(store, count)
    assert read_manifest(store, PREFIX) == manifest
    assert verify_chunks(store, PREFIX, manifest) == []
    back = list(read_chunk_frames(store, PREFIX, range(count)))
    assert [index for index, _ in back] == list(range(count))
    assert [number_of(image[..., 1]) for _, image in back] == list(range(count))


def test_chunk_files_lie_where_the_contract_says(store: ObjectStore) -> None:
    write(store, 40)
    names = sorted(info.key.removeprefix(PREFIX + "/") for info in store.list(PREFIX))
    assert names == [
        "manifest.json",
        "modulo_1/chunk_0000000000.webm",
        "modulo_1/chunk_0000000032.webm",
        "modulo_16/chunk_0000000000.webm",
        "modulo_4/chunk_0000000000.webm",
    ]


def test_the_same_frames_give_the_same_bytes(store: ObjectStore) -> None:
    assert write(store, 20) == write(store, 20)


def test_a_real_crop_survives_encoding(store: ObjectStore, video: MakeVideo) -> None:
    path, region = video("plain"), CropRegion(0, 0, 0.6, 0.3)
    facts = probe(path)
    frames = list(cropped_frames(path, region, native=True, facts=facts))
    with ChunkWriter(store, KEYS, 1, crop_pixels(facts, region)) as writer:
        for frame in frames:
            writer.add(frame)
        manifest = writer.finish()
    assert manifest.frame_count == facts.grid_frame_count
    assert verify_chunks(store, PREFIX, manifest) == []
    numbers = [number_of(image[..., 1]) for _, image in read_chunk_frames(store, PREFIX, [29, 3, 8, 3, 16])]
    assert numbers == [9, 24, 48, 87]


def test_giving_up_leaves_nothing_behind(store: ObjectStore) -> None:
    def write_and_break() -> None:
        with ChunkWriter(store, KEYS, 1, CropPixels(left=0, top=0, right=WIDTH, bottom=HEIGHT)) as writer:
            for frame in strips(100):
                writer.add(frame)
            raise RuntimeError("the decoder broke")

    with pytest.raises(RuntimeError, match="broke"):
        write_and_break()
    assert list(store.list("")) == []


def test_a_failing_upload_stops_the_writer(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(key: str, data: bytes) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(store, "put", refuse)
    with pytest.raises(OSError, match="no space"):
        write(store, 400)
    assert list(store.list("")) == []


def test_chunks_go_out_at_the_same_time_and_survive_a_bad_line(s3: S3Server) -> None:
    proxy = FaultyProxy(s3)
    proxy.delay_s = 0.2
    store = ObjectStore.open(f"s3://{s3.make_bucket('chunks')}", proxy.access)
    proxy.commit("PUT", Refusal(503, "SlowDown"), Cut("request"), Cut("reply"))
    try:
        manifest = write(store, 300)
        assert verify_chunks(store, PREFIX, manifest) == []
        assert proxy.most_at_once >= 4
    finally:
        proxy.close()


def test_frames_beyond_the_end_are_missing(store: ObjectStore) -> None:
    write(store, 20)
    with pytest.raises(MissingObject):
        list(read_chunk_frames(store, PREFIX, [5000]))
    with pytest.raises(ComputeError, match="has no frame"):
        list(read_chunk_frames(store, PREFIX, [30]))


def test_verification_names_each_kind_of_damage(store: ObjectStore) -> None:
    manifest = write(store, 40)
    first, second, *_ = manifest.chunks
    store.delete([f"{PREFIX}/{first.path}"])
    store.put(f"{PREFIX}/{second.path}", b"something else")
    store.put(f"{PREFIX}/modulo_1/chunk_0000000064.webm", b"left over")
    longer = dataclasses.replace(manifest, frame_count=41)
    problems = " ".join(verify_chunks(store, PREFIX, longer))
    assert f"{first.path} is missing" in problems
    assert f"{second.path} is not the file that was written" in problems
    assert "chunk_0000000064.webm is not in the manifest" in problems
    assert "Frame 40 is in no chunk" in problems


def test_verification_looks_inside_files_that_are_as_written(store: ObjectStore) -> None:
    manifest = write(store, 200)
    level, other = [chunk for chunk in manifest.chunks if chunk.modulo == 1][:2]
    swapped = dataclasses.replace(other, bytes=level.bytes, sha256=level.sha256)
    noise = dataclasses.replace(level, bytes=5, sha256=hashlib.sha256(b"noise").hexdigest())
    store.put(f"{PREFIX}/{other.path}", store.get(f"{PREFIX}/{level.path}"))
    store.put(f"{PREFIX}/{level.path}", b"noise")
    last = next(chunk for chunk in reversed(manifest.chunks) if chunk.modulo == 1)
    short = dataclasses.replace(last, bytes=level.bytes, sha256=level.sha256)
    store.put(f"{PREFIX}/{last.path}", store.get(f"{PREFIX}/{other.path}"))
    chunks = [{level: noise, other: swapped, last: short}.get(chunk, chunk) for chunk in manifest.chunks]
    problems = " ".join(verify_chunks(store, PREFIX, dataclasses.replace(manifest, chunks=tuple(chunks))))
    assert f"{level.path} does not decode" in problems
    assert f"{last.path} holds 24 frames, not {len(last.frame_indices)}" in problems
    assert other.path not in problems
