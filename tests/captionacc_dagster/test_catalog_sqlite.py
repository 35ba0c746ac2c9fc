"""The SQLite catalog keeps the contract, survives a kill at any statement, and answers from its indices."""

from __future__ import annotations

import multiprocessing
import os
import re
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from captionacc_dagster.catalog.migrations import Step, steps
from captionacc_dagster.catalog.protocol import Catalog, CatalogError, Stage, Video, WorkHeld
from captionacc_dagster.catalog.sqlite import SqliteCatalog
from tests.captionacc_dagster.catalog_contract import (
    REGION,
    CatalogContract,
    add,
    crop,
    cropped,
    extracted,
    with_extents,
    with_layout,
)
from tests.captionacc_dagster.catalog_machine import catalog_machine

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "catalog.db"


class TestSqliteCatalog(CatalogContract):
    more_than_a_page = 501

    @pytest.fixture
    def catalog(self, path: Path) -> Iterator[Catalog]:
        catalog = SqliteCatalog(path)
        yield catalog
        catalog.close()

    def reopened(self, catalog: Catalog) -> Catalog:
        assert isinstance(catalog, SqliteCatalog)
        return SqliteCatalog(catalog.path)

    def annotator_opens(self, catalog: Catalog, video: Video, database: str) -> None:
        _write(
            catalog,
            "INSERT INTO video_database_state (video_id, database_name, tenant_id, lock_type, "
            "lock_holder_user_id) VALUES (?, ?, ?, 'client', 'annotator') "
            "ON CONFLICT DO UPDATE SET lock_type = 'client', lock_holder_user_id = 'annotator'",
            (video.id, database, video.tenant_id),
        )

    def annotator_closes(self, catalog: Catalog, video: Video, database: str) -> None:
        _write(
            catalog,
            "UPDATE video_database_state SET lock_type = NULL, lock_holder_user_id = NULL "
            "WHERE video_id = ? AND database_name = ?",
            (video.id, database),
        )

    def user_with_access(self, catalog: Catalog, tenant_id: str, access_tier: str) -> None:
        _write(
            catalog,
            "INSERT INTO user_profiles (id, tenant_id, access_tier_id) VALUES (?, ?, ?)",
            (f"{access_tier} user", tenant_id, access_tier),
        )


_SCRATCH = tempfile.TemporaryDirectory(prefix="catalog-")


def _new_catalog() -> Catalog:
    return SqliteCatalog(Path(_SCRATCH.name) / f"{uuid.uuid4()}.db")


TestAnyOrderOfCalls = catalog_machine(
    _new_catalog, TestSqliteCatalog().annotator_opens, TestSqliteCatalog().annotator_closes
).TestCase


def _write(catalog: Catalog, statement: str, parameters: tuple[str, ...]) -> None:
    assert isinstance(catalog, SqliteCatalog)
    with closing(sqlite3.connect(catalog.path, isolation_level=None)) as db:
        db.execute(statement, parameters)


# --- several processes


def _open_and_claim(path: Path, video_id: str, begin: Any, answers: Any) -> None:
    begin.wait()
    try:
        SqliteCatalog(path).claim(video_id, Stage.LAYOUT, str(os.getpid()))
    except WorkHeld:
        answers.put("held")
    else:
        answers.put("won")


def test_of_many_processes_that_claim_at_once_exactly_one_wins(path: Path) -> None:
    video = add(SqliteCatalog(path))
    begin, answers = FORK.Barrier(5), FORK.Queue()
    processes = [
        FORK.Process(target=_open_and_claim, args=(path, video.id, begin, answers)) for _ in range(5)
    ]
    for process in processes:
        process.start()
    results = sorted(answers.get(timeout=60) for _ in processes)
    for process in processes:
        process.join()
    assert results == ["held"] * 4 + ["won"]


def _create(path: Path, begin: Any, answers: Any) -> None:
    begin.wait()
    answers.put(SqliteCatalog(path).describe()["schema_version"])


def test_many_processes_may_create_the_catalog_at_once(path: Path) -> None:
    begin, answers = FORK.Barrier(8), FORK.Queue()
    processes = [FORK.Process(target=_create, args=(path, begin, answers)) for _ in range(8)]
    for process in processes:
        process.start()
    newest = steps("sqlite")[-1].number
    assert [answers.get(timeout=60) for _ in processes] == [newest] * 8
    for process in processes:
        process.join()


def test_a_catalog_opened_before_a_fork_works_on_both_sides(path: Path) -> None:
    catalog = SqliteCatalog(path)
    video = add(catalog)
    process = FORK.Process(target=catalog.claim, args=(video.id, Stage.LAYOUT, "child"))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert catalog.video(video.id).status == "processing"


class _Deadly(sqlite3.Connection):
    """A connection whose process dies just before its n-th statement."""

    left = 0

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        _Deadly.left -= 1
        if _Deadly.left == 0:
            os.kill(os.getpid(), 9)
        return super().execute(*arguments)


def _die_at(statement: int, path: Path, work: Callable[[SqliteCatalog], object]) -> None:
    connect = sqlite3.connect
    _Deadly.left = statement
    sqlite3.connect = lambda *args, **kwargs: connect(*args, **kwargs, factory=_Deadly)
    work(SqliteCatalog(path))


def _facts(path: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as db:
        rows: list[tuple[Any, ...]] = []
        for table in ("videos", "video_database_state", "cropped_frames_versions"):
            rows += db.execute(f"SELECT * FROM {table}").fetchall()
    moment = re.compile(r"\d{4}-\d\d-\d\dT.*")
    return [tuple(moment.sub("time", v) if isinstance(v, str) else v for v in row) for row in rows]


@pytest.mark.parametrize("what", ["claim", "finish_layout", "finish_extents", "fail", "retry", "approve"])
def test_a_process_killed_at_any_statement_leaves_all_or_nothing(what: str, tmp_path: Path) -> None:
    outcomes: set[bool] = set()
    for statement in range(1, 40):
        path = tmp_path / f"{statement}.db"
        catalog = SqliteCatalog(path)
        work = _prepare(what, catalog)
        before = _facts(path)
        catalog.close()
        process = FORK.Process(target=_die_at, args=(statement, path, work))
        process.start()
        process.join()
        after = _facts(path)
        reference = tmp_path / f"{statement}-whole.db"
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        changed = after != before
        outcomes.add(changed)
        if changed:
            whole = SqliteCatalog(reference)
            _prepare(what, whole)(whole)
            assert _without_ids(after) == _without_ids(_facts(reference))
        if process.exitcode == 0:
            assert changed
            break
    else:
        pytest.fail("the work never ran to its end")
    assert outcomes == {False, True}


def _without_ids(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    an_id = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")
    return [tuple(an_id.sub("id", v) if isinstance(v, str) else v for v in row) for row in rows]


def _prepare(what: str, catalog: SqliteCatalog) -> Callable[[SqliteCatalog], object]:
    if what == "claim":
        video = add(catalog)
        return lambda c: c.claim(video.id, Stage.LAYOUT, "run")
    if what == "finish_layout":
        video = add(catalog)
        catalog.claim(video.id, Stage.LAYOUT, "run")
        return lambda c: c.finish_layout(video.id, "run", extracted(video))
    if what == "approve":
        video = with_layout(catalog, approved=False)
        return lambda c: c.approve_layout(video.id)
    video = with_extents(catalog)
    claimed = catalog.claim(video.id, Stage.EXTENTS, "run")
    version = catalog.reserve_cropped_frames(video.id, "run", REGION).version
    if what == "finish_extents":
        return lambda c: c.finish_extents(
            video.id, "run", cropped(video, version), approved_at=claimed.layout_approved_at
        )
    if what == "retry":
        catalog.fail(video.id, Stage.EXTENTS, "run", "It broke.")
        return lambda c: c.retry(video.id)
    return lambda c: c.fail(video.id, Stage.EXTENTS, "run", "It broke.")


# --- the file


def test_a_catalog_from_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    SqliteCatalog(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("INSERT INTO schema_migrations (version, name) VALUES (999, 'future')")
    content = path.read_bytes()
    with pytest.raises(CatalogError, match="newer captionacc"):
        SqliteCatalog(path)
    assert path.read_bytes() == content


def test_a_migration_that_breaks_leaves_the_schema_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = SqliteCatalog(path)
    video = add(catalog)
    newest = steps("sqlite")[-1].number
    broken = [*steps("sqlite"), Step(newest + 1, "9999_broken.sql", "CREATE TABLE half (id);\nNONSENSE;\n")]
    with monkeypatch.context() as patch:
        patch.setattr("captionacc_dagster.catalog.migrations.sqlite.steps", lambda _: broken)
        with pytest.raises(CatalogError):
            SqliteCatalog(path)
    assert SqliteCatalog(path).video(video.id) == video
    assert SqliteCatalog(path).describe()["schema_version"] == newest


def test_a_file_that_is_no_catalog_is_refused_in_a_sentence(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is not a database, it is a shopping list" * 40)
    with pytest.raises(CatalogError, match=r"catalog\.db cannot be used"):
        SqliteCatalog(path)


def test_a_folder_that_cannot_be_made_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(CatalogError, match="cannot be used"):
        SqliteCatalog(tmp_path / "file" / "catalog.db")


def test_a_reader_does_not_wait_for_a_writer(path: Path) -> None:
    catalog = SqliteCatalog(path)
    video = add(catalog)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        db.execute("UPDATE videos SET display_path = 'new'")
        began = time.monotonic()
        assert catalog.video(video.id).display_path == "film.mp4"
        assert time.monotonic() - began < 1


def test_what_waits_is_read_from_an_index(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = SqliteCatalog(path)
    statements: list[str] = []
    connect = sqlite3.connect

    def traced(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection = connect(*args, **kwargs)
        connection.set_trace_callback(statements.append)
        return connection

    monkeypatch.setattr(sqlite3, "connect", traced)
    catalog.close()
    catalog.waiting_for_layout(5)
    catalog.waiting_for_extents(5)
    catalog.waiting_for_captions(5)
    catalog.held_by_expired_lease(5)
    list(catalog.videos())
    with closing(connect(path)) as db:
        for statement in statements:
            if statement.startswith(("SELECT", "\n")) or "FROM videos" in statement:
                plan = " ".join(str(row[3]) for row in db.execute(f"EXPLAIN QUERY PLAN {statement}"))
                assert "SCAN videos" not in plan or "USING INDEX" in plan, (statement, plan)
                assert "TEMP B-TREE" not in plan or "video_database_state" in statement, (statement, plan)


def test_two_crops_of_one_video_keep_one_active_version(path: Path) -> None:
    catalog = SqliteCatalog(path)
    video = with_extents(catalog)
    for number in range(3):
        crop(catalog, video, f"again-{number}")
    with closing(sqlite3.connect(path)) as db:
        active = db.execute("SELECT version FROM cropped_frames_versions WHERE status = 'active'").fetchall()
    assert active == [(4,)]
