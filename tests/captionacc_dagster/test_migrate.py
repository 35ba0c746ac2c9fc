"""`captionacc migrate`: each step applied once and on record, all or none, whoever else does the same."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from typer.testing import CliRunner, Result

from captionacc_dagster.catalog import migrate, pending_steps
from captionacc_dagster.catalog.migrations import Step, steps
from captionacc_dagster.catalog.protocol import CatalogError
from captionacc_dagster.cli import app
from captionacc_dagster.settings import Settings
from tests.servers.supabase import DATABASE, OWNER_PASSWORD, OWNER_PASSWORD_IN_URL, SCHEMA, Supabase

ALL = [step.name for step in steps("postgres")]


@pytest.fixture
def schema(supabase: Supabase) -> Iterator[str]:
    """The name of a schema that does not exist yet."""
    name = f"schema_{uuid.uuid4().hex}"
    yield name
    supabase.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")


@pytest.fixture
def unmigrated(supabase: Supabase, schema: str) -> Settings:
    return supabase.settings(supabase_schema=schema)


def applied(supabase: Supabase, schema: str) -> list[str]:
    return [name for (name,) in supabase.execute(f"SELECT name FROM {schema}.schema_migrations ORDER BY 1")]


def captionacc(
    monkeypatch: pytest.MonkeyPatch, database_url: str, schema: str, *arguments: str, profile: str = "cloud"
) -> Result:
    monkeypatch.setenv("CAPTIONACC_PROFILE", profile)
    monkeypatch.setenv("SUPABASE_DB_URL", database_url)
    monkeypatch.setenv("SUPABASE_SCHEMA", schema)
    return CliRunner().invoke(app, list(arguments))


def test_migrating_lists_what_it_would_do_then_does_it_once(
    supabase: Supabase, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = captionacc(monkeypatch, supabase.database_url, schema, "migrate", "--dry-run")
    assert listed.stdout.splitlines() == [f"would apply {name}" for name in ALL]
    assert supabase.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (schema,)) == []
    done = captionacc(monkeypatch, supabase.database_url, schema, "migrate")
    assert done.stdout.splitlines() == [f"applied {name}" for name in ALL]
    assert applied(supabase, schema) == ALL
    again = captionacc(monkeypatch, supabase.database_url, schema, "migrate")
    assert (again.exit_code, "nothing to do" in again.stdout) == (0, True)
    assert applied(supabase, schema) == ALL


def test_postgrest_is_told_of_the_new_functions(supabase: Supabase, unmigrated: Settings) -> None:
    with closing(psycopg2.connect(supabase.postgres.url(DATABASE))) as listener:
        listener.autocommit = True
        listener.cursor().execute("LISTEN pgrst")
        migrate(unmigrated)
        listener.cursor().execute("SELECT 1")
        assert [notice.payload for notice in listener.notifies] == ["reload schema"]


def test_two_schemas_of_one_database_are_migrated_apart(supabase: Supabase, unmigrated: Settings) -> None:
    assert pending_steps(supabase.settings()) == []
    assert [step.name for step in migrate(unmigrated)] == ALL


def test_of_several_that_migrate_at_once_one_does_it(
    supabase: Supabase, unmigrated: Settings, schema: str
) -> None:
    together = threading.Barrier(4)

    def migrates(_: int) -> int:
        together.wait()
        return len(migrate(unmigrated))

    with ThreadPoolExecutor(4) as pool:
        counts = sorted(pool.map(migrates, range(4)))
    assert counts == [0, 0, 0, len(ALL)]
    assert applied(supabase, schema) == ALL


def test_a_step_that_breaks_leaves_nothing_behind(
    supabase: Supabase, unmigrated: Settings, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = [*steps("postgres"), Step(99, "0099_broken.sql", "CREATE TABLE half (id integer);\nNONSENSE;")]
    monkeypatch.setattr("captionacc_dagster.catalog.migrations.postgres.steps", lambda _: broken)
    with pytest.raises(CatalogError, match=r"0099_broken\.sql cannot be applied.*Nothing was changed"):
        migrate(unmigrated)
    assert supabase.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (schema,)) == []


def test_what_somebody_else_made_in_the_schema_is_not_touched(
    supabase: Supabase, unmigrated: Settings, schema: str
) -> None:
    supabase.execute(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.videos (precious text)")
    supabase.execute(f"GRANT ALL ON SCHEMA {schema} TO owner")
    with pytest.raises(CatalogError, match='relation "videos" already exists'):
        migrate(unmigrated)
    assert supabase.execute(f"SELECT * FROM {schema}.videos") == []


def test_a_database_that_is_ahead_is_refused_and_left_alone(
    supabase: Supabase, unmigrated: Settings, schema: str
) -> None:
    migrate(unmigrated)
    supabase.execute(f"INSERT INTO {schema}.schema_migrations (version, name) VALUES (999, 'future')")
    for command in (migrate, pending_steps):
        with pytest.raises(CatalogError, match="newer captionacc"):
            command(unmigrated)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://owner:wrong-secret@127.0.0.1:{port}/project", "password authentication failed"),
        ("postgresql://owner:wrong-secret@127.0.0.1:1/project", "Connection refused"),
        ("postgresql://owner:wrong-secret@127.0.0.1:{port}/nowhere", "failed"),
        (f"postgresql://owner:{OWNER_PASSWORD}@127.0.0.1:{{port}}/project", "percent-encoded"),
        ("postgresql://owner:2/wrong-secret@127.0.0.1/project", "percent-encoded"),
        ("wrong-secret", "percent-encoded"),
        ("https://owner:wrong-secret@project.example", "percent-encoded"),
    ],
)
def test_a_database_that_cannot_be_reached_is_named_without_its_password(
    supabase: Supabase, monkeypatch: pytest.MonkeyPatch, url: str, said: str
) -> None:
    result = captionacc(monkeypatch, url.format(port=supabase.postgres.port), SCHEMA, "--debug", "migrate")
    told = f"{result.output} {result.exception!r}"
    assert said in told
    assert "SUPABASE_DB_URL" in told
    for secret in ("wrong-secret", OWNER_PASSWORD, OWNER_PASSWORD_IN_URL, "ss/of#the"):
        assert secret not in told
    assert captionacc(monkeypatch, "postgresql://x:1", SCHEMA, "migrate").exit_code == 3


def test_without_a_url_the_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    result = captionacc(monkeypatch, "", SCHEMA, "migrate")
    assert result.exit_code == 3
    assert "Not set: SUPABASE_DB_URL" in result.stderr


def test_a_local_catalog_migrates_by_itself_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAPTIONACC_HOME", str(tmp_path / "home"))

    def lines(*arguments: str) -> list[str]:
        return captionacc(monkeypatch, "", SCHEMA, *arguments, profile="local").stdout.splitlines()

    names = [step.name for step in steps("sqlite")]
    assert lines("migrate", "--dry-run") == [f"would apply {name}" for name in names]
    assert not (tmp_path / "home").exists()
    assert lines("migrate") == [f"applied {name}" for name in names]
    assert "nothing to do" in lines("migrate")[0]
    assert "nothing to do" in lines("migrate", "--dry-run")[0]
