"""Files become videos: store first, catalog last, and the same file only once."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from captionacc_dagster.catalog.protocol import Catalog
from captionacc_dagster.catalog.sqlite import SqliteCatalog
from captionacc_dagster.ingest import IngestError, ingest
from gpu_ops.contract import VideoKeys
from gpu_ops.store import ObjectStore

TENANT = "00000000-0000-0000-0000-0000000000aa"
OTHER_TENANT = "00000000-0000-0000-0000-0000000000bb"


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"moving pictures")
    return path


def keys_in(store: ObjectStore) -> list[str]:
    return sorted(info.key for info in store.list(""))


def test_a_file_becomes_an_object_and_a_pending_video(
    film: Path, catalog: Catalog, store: ObjectStore
) -> None:
    done = ingest(film, catalog, store, TENANT, "en,zh")
    assert done.created
    assert done.video == catalog.video(done.video.id)
    assert (done.video.status, done.video.display_path, done.video.languages) == (
        "pending",
        "film.mp4",
        "en,zh",
    )
    assert done.video.size_bytes == 15
    assert done.video.storage_key == VideoKeys(TENANT, done.video.id).video
    assert store.get(done.video.storage_key) == b"moving pictures"


def test_the_same_file_twice_is_one_video(film: Path, catalog: Catalog, store: ObjectStore) -> None:
    first = ingest(film, catalog, store, TENANT)
    copy = film.with_name("copy of film.mkv")
    copy.write_bytes(film.read_bytes())
    again = ingest(copy, catalog, store, TENANT)
    assert (again.created, again.video) == (False, first.video)
    assert keys_in(store) == [first.video.storage_key]


def test_taking_a_file_in_again_corrects_its_languages_only_when_some_are_given(
    film: Path, catalog: Catalog, store: ObjectStore
) -> None:
    first = ingest(film, catalog, store, TENANT, "ru")
    assert ingest(film, catalog, store, TENANT).video.languages == "ru"
    assert ingest(film, catalog, store, TENANT, "en").video.languages == "en"
    assert ingest(film, catalog, store, TENANT, "").video.languages == ""
    assert catalog.video(first.video.id).languages == ""


def test_two_tenants_have_their_own_copies(film: Path, catalog: Catalog, store: ObjectStore) -> None:
    mine, theirs = ingest(film, catalog, store, TENANT), ingest(film, catalog, store, OTHER_TENANT)
    assert theirs.created
    assert mine.video.id != theirs.video.id
    assert keys_in(store) == sorted([mine.video.storage_key, theirs.video.storage_key])


def test_a_crash_between_upload_and_row_is_repaired_by_repeating(
    film: Path, catalog: Catalog, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(SqliteCatalog, "add_video", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            ingest(film, catalog, store, TENANT)
    (orphan,) = keys_in(store)
    assert list(catalog.videos()) == []
    done = ingest(film, catalog, store, TENANT)
    assert done.created
    assert keys_in(store) == [orphan] == [done.video.storage_key]


def _interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_no_row_appears_while_the_upload_fails(
    film: Path, catalog: Catalog, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ObjectStore, "upload", full)
    with pytest.raises(IngestError, match="No space left"):
        ingest(film, catalog, store, TENANT)
    assert list(catalog.videos()) == []


def test_a_video_whose_object_was_lost_gets_it_back(film: Path, catalog: Catalog, store: ObjectStore) -> None:
    video = ingest(film, catalog, store, TENANT).video
    store.delete([video.storage_key])
    again = ingest(film, catalog, store, TENANT)
    assert (again.created, again.video) == (False, video)
    assert store.get(video.storage_key) == b"moving pictures"


def test_a_deleted_video_can_be_taken_in_again(film: Path, catalog: Catalog, store: ObjectStore) -> None:
    video = ingest(film, catalog, store, TENANT).video
    catalog.delete_video(video.id)
    again = ingest(film, catalog, store, TENANT)
    assert again.created
    assert [each.id for each in catalog.videos()] == [again.video.id]


def test_a_file_that_grows_meanwhile_is_refused(
    film: Path, catalog: Catalog, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = ObjectStore.upload

    def upload_and_grow(self: ObjectStore, path: Path, key: str) -> None:
        upload(self, path, key)
        with path.open("ab") as file:
            file.write(b"more")

    monkeypatch.setattr(ObjectStore, "upload", upload_and_grow)
    with pytest.raises(IngestError, match="changed while"):
        ingest(film, catalog, store, TENANT)
    assert list(catalog.videos()) == []


@pytest.mark.parametrize(
    "name",
    ['it\'s "quoted".mp4', "two\nlines.mp4", "..mp4", "-rf.mp4", "[bold]x.mp4", "\x1b[31mred.mp4"],
)
def test_a_hostile_name_is_shown_but_never_part_of_a_key(
    name: str, tmp_path: Path, catalog: Catalog, store: ObjectStore
) -> None:
    path = tmp_path / name
    path.write_bytes(name.encode())
    video = ingest(path, catalog, store, TENANT).video
    assert video.storage_key == VideoKeys(TENANT, video.id).video
    assert video.display_path.isprintable()
    assert keys_in(store) == [video.storage_key]


def test_a_path_that_climbs_out_is_only_shown(
    film: Path, tmp_path: Path, catalog: Catalog, store: ObjectStore
) -> None:
    video = ingest(film, catalog, store, TENANT, display_path="../../etc/passwd").video
    assert video.display_path == "../../etc/passwd"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.mp4", "home"]


def test_a_name_that_is_not_unicode_is_taken_in(tmp_path: Path, catalog: Catalog, store: ObjectStore) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.mp4"
    with open(raw, "wb") as file:
        file.write(b"latin")
    video = ingest(Path(os.fsdecode(raw)), catalog, store, TENANT).video
    assert video.display_path == "caf\N{REPLACEMENT CHARACTER}.mp4"


def test_what_is_no_file_is_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, catalog: Catalog, store: ObjectStore
) -> None:
    (tmp_path / "empty.mp4").touch()
    os.mkfifo(tmp_path / "pipe.mp4")
    with socket.socket(socket.AF_UNIX) as listening:
        monkeypatch.chdir(tmp_path)
        listening.bind("socket.mp4")
        for name, message in (
            ("empty.mp4", "is empty"),
            ("absent.mp4", "There is no file"),
            ("pipe.mp4", "not a file"),
            ("socket.mp4", "not a file"),
            ("home", "not a file"),
            ("x" * 300, "cannot be taken in"),
        ):
            with pytest.raises(IngestError, match=message):
                ingest(tmp_path / name, catalog, store, TENANT)
    assert list(catalog.videos()) == []
    assert keys_in(store) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_an_unreadable_file_is_refused_in_a_sentence(
    film: Path, catalog: Catalog, store: ObjectStore
) -> None:
    film.chmod(0)
    with pytest.raises(IngestError, match="Permission denied"):
        ingest(film, catalog, store, TENANT)
