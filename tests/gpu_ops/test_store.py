"""A folder and a bucket behave the same, and packed databases come back as they were."""

from __future__ import annotations

import gzip
import sqlite3
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from gpu_ops.contract import DamagedDatabase, MissingObject, StoreRefused, VideoKeys
from gpu_ops.database import fetch, publish
from gpu_ops.store import PART_BYTES, InvalidKey, ObjectStore
from tests.servers.s3 import S3Server

KEYS = VideoKeys("00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002")


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "folder":
        return ObjectStore.open((tmp_path / "a store").as_uri())
    s3: S3Server = request.getfixturevalue("s3")
    return ObjectStore.open(f"s3://{s3.make_bucket(f'test-{uuid.uuid4()}')}", s3.access)


def test_an_object_comes_back_as_it_was_put(store: ObjectStore) -> None:
    store.put("t/client/a.bin", b"one")
    store.put("t/client/a.bin", b"two")
    assert store.get("t/client/a.bin") == b"two"
    info = store.head("t/client/a.bin")
    assert info is not None
    assert (info.key, info.size) == ("t/client/a.bin", 3)
    assert info.modified.tzinfo is not None


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, 2 * PART_BYTES + 1])
def test_a_file_of_any_size_travels_through_upload_and_download(
    store: ObjectStore, tmp_path: Path, size: int
) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.write_bytes((bytes(range(251)) * (size // 251 + 1))[:size])
    store.upload(source, "big.bin")
    store.download("big.bin", copy)
    assert copy.read_bytes() == source.read_bytes()
    assert [info.key for info in store.list("")] == ["big.bin"]
    assert {path.name for path in tmp_path.iterdir()} - {"a store"} == {"copy", "source"}


def test_a_folder_holds_nothing_but_the_objects(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    (tmp_path / "source").write_bytes(bytes(2 * PART_BYTES))
    store = ObjectStore.open(folder.as_uri())
    store.upload(tmp_path / "source", "big.bin")
    store.put("small.bin", b"1")
    assert {path.name for path in folder.iterdir()} == {"big.bin", "small.bin"}


def test_an_existing_file_is_kept_when_a_download_fails(store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "copy").write_bytes(b"before")
    with pytest.raises(MissingObject):
        store.download("gone.bin", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"before"


@pytest.mark.parametrize(
    "key",
    [
        KEYS.video,
        KEYS.full_frame(100),
        KEYS.thumbnail(999_900),
        KEYS.layout_db,
        KEYS.chunk(12, 16, 512),
        KEYS.manifest(1),
        KEYS.captions_db,
        KEYS.subtitles("srt"),
        KEYS.subtitles("vtt"),
        KEYS.raw_ocr_db,
        KEYS.layout_server_db,
        KEYS.caption_frame_extents_db,
    ],
)
def test_every_key_of_the_contract_can_be_stored_listed_and_deleted(store: ObjectStore, key: str) -> None:
    store.put(key, b"content")
    assert store.get(key) == b"content"
    assert [info.key for info in store.list(key.rpartition("/")[0])] == [key]
    store.delete([key])
    assert store.head(key) is None


def test_more_objects_than_one_answer_holds_are_listed_and_deleted(store: ObjectStore) -> None:
    keys = {f"many/chunk_{number:010d}.webm" for number in range(1005)}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: store.put(key, b""), keys))
    assert {info.key for info in store.list("many")} == keys
    store.delete(keys)
    assert list(store.list("many")) == []


def test_an_object_can_be_read_as_a_local_file(store: ObjectStore) -> None:
    store.put("folder/a.bin", b"abc")
    with store.open_local("folder/a.bin") as path:
        assert path.read_bytes() == b"abc"
    assert store.get("folder/a.bin") == b"abc"


def test_missing_objects_are_named(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(MissingObject, match=r"nothing/here\.bin"):
        store.get("nothing/here.bin")
    with pytest.raises(MissingObject):
        store.download("nothing/here.bin", tmp_path / "x")
    with pytest.raises(MissingObject), store.open_local("nothing/here.bin"):
        pass
    assert store.head("nothing/here.bin") is None
    assert not (tmp_path / "x").exists()


def test_listing_stops_at_part_boundaries(store: ObjectStore) -> None:
    for key in ("v1/a", "v1/sub/b", "v10/c"):
        store.put(key, b"")
    assert sorted(info.key for info in store.list("v1")) == ["v1/a", "v1/sub/b"]
    assert sorted(info.key for info in store.list("")) == ["v1/a", "v1/sub/b", "v10/c"]
    assert list(store.list("absent")) == []


def test_deleting_tolerates_absent_objects(store: ObjectStore) -> None:
    store.put("a", b"")
    store.put("b", b"")
    store.delete(["a", "gone", "b"])
    assert list(store.list("")) == []


@pytest.mark.parametrize(
    "key",
    [
        "../outside",
        "a/../../outside",
        "/etc/passwd",
        "",
        "a//b",
        "a/",
        ".",
        "a/./b",
        "a\\b",
        "a\nb",
        "a\x00",
        "~",
    ],
)
def test_hostile_keys_are_refused(store: ObjectStore, tmp_path: Path, key: str) -> None:
    (tmp_path / "outside").write_bytes(b"secret")
    for use in (store.get, store.head, lambda k: store.put(k, b""), lambda k: store.delete([k])):
        with pytest.raises(InvalidKey):
            use(key)
    with pytest.raises(InvalidKey), store.open_local(key):
        pass
    assert (tmp_path / "outside").read_bytes() == b"secret"


@pytest.mark.parametrize(
    "url", ["file://host/x", "file:relative", "/plain/path", "gs://bucket", "s3://", "s3://b/p"]
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="not an object store"):
        ObjectStore.open(url)


def test_the_environment_must_name_the_bucket_and_its_keys(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("WASABI_BUCKET", "WASABI_ENDPOINT_URL", "WASABI_REGION", "WASABI_SECRET_KEY_READWRITE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WASABI_ACCESS_KEY_READWRITE", "key")
    with pytest.raises(
        StoreRefused, match="WASABI_BUCKET, WASABI_ENDPOINT_URL, WASABI_REGION, WASABI_SECRET"
    ):
        ObjectStore.from_environment()
    ObjectStore.from_environment(tmp_path.as_uri()).put("a", b"a folder needs none of them")


def make_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t(x)")
        connection.executemany("INSERT INTO t VALUES (?)", [(i,) for i in range(100)])
        connection.commit()


def test_a_database_survives_the_round_trip_and_packs_the_same_each_time(
    store: ObjectStore, tmp_path: Path
) -> None:
    make_database(tmp_path / "one.db")
    first = publish(store, "one.db.gz", tmp_path / "one.db")
    packed = store.get("one.db.gz")
    assert gzip.decompress(packed)[:15] == b"SQLite format 3"
    assert publish(store, "one.db.gz", tmp_path / "one.db") == first
    assert store.get("one.db.gz") == packed

    make_database(tmp_path / "back.db")
    (tmp_path / "back.db-wal").write_bytes(b"stale")
    assert fetch(store, "one.db.gz", tmp_path / "back.db")
    with closing(sqlite3.connect(tmp_path / "back.db")) as connection:
        assert connection.execute("SELECT sum(x) FROM t").fetchone() == (4950,)


def test_an_absent_database_is_told_apart_from_a_damaged_one(store: ObjectStore, tmp_path: Path) -> None:
    assert not fetch(store, "none.db.gz", tmp_path / "x.db")
    store.put("plain.db.gz", b"SQLite format 3, but not gzipped")
    store.put("cut.db.gz", gzip.compress(bytes(10_000))[:-12])
    for key in ("plain.db.gz", "cut.db.gz"):
        with pytest.raises(DamagedDatabase, match="damaged"):
            fetch(store, key, tmp_path / "x.db")
    assert not (tmp_path / "x.db").exists()
