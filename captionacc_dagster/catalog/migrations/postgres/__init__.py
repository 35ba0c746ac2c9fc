"""Brings a Postgres catalog (Supabase) to the schema this code was written for, over a direct connection.

One transaction under an advisory lock: of two that migrate at once the second finds nothing to do, and a step
that breaks leaves everything as it was.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import parse_dsn

from captionacc_dagster.catalog.migrations import Step, missing_steps, steps
from captionacc_dagster.catalog.protocol import CatalogError

CONNECT_TIMEOUT_S = 10

_REMEDY = "set SUPABASE_SCHEMA to another schema"
_UNREADABLE = (
    "SUPABASE_DB_URL is not a Postgres URL such as postgresql://user:password@host:5432/postgres. "
    "Special characters of the password are percent-encoded in it: @ is %40, / is %2F, # is %23."
)


def pending(url: str, schema: str) -> list[Step]:
    """The steps that `migrate` would apply. Changes nothing. Raises CatalogError."""
    with _transaction(url) as db:
        return _missing(db, schema)


def migrate(url: str, schema: str) -> list[Step]:
    """Apply the missing steps, all or none; answers which. Raises CatalogError."""
    with _transaction(url) as db:
        db.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"captionacc migrate {schema}",))
        missing = _missing(db, schema)
        if not missing:
            return []
        # pg_temp last, or a caller's temporary table could stand in for one of ours.
        db.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
        db.execute(sql.SQL("SET LOCAL search_path = {}, pg_temp").format(sql.Identifier(schema)))
        db.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations (version integer PRIMARY KEY, name text NOT NULL, "
            "applied_at timestamptz NOT NULL DEFAULT now())"
        )
        for step in missing:
            try:
                db.execute(step.script)
            except psycopg2.Error as error:
                raise CatalogError(
                    f"{step.name} cannot be applied to the schema {schema}: {_first_line(error)}. "
                    "Nothing was changed. Is there something in that schema that captionacc did not make?"
                ) from error
            db.execute(
                "INSERT INTO schema_migrations (version, name) VALUES (%s, %s)", (step.number, step.name)
            )
        # PostgREST learns of the new functions.
        db.execute("NOTIFY pgrst, 'reload schema'")
        return missing


def _missing(db: Any, schema: str) -> list[Step]:
    db.execute("SELECT to_regclass(%s)", (f"{schema}.schema_migrations",))
    applied = 0
    if db.fetchone()[0] is not None:
        table = sql.Identifier(schema, "schema_migrations")
        db.execute(sql.SQL("SELECT coalesce(max(version), 0) FROM {}").format(table))
        (applied,) = db.fetchone()
    return missing_steps(steps("postgres"), applied, _REMEDY)


@contextmanager
def _transaction(url: str) -> Generator[Any]:
    """A cursor whose changes are kept if the block ends well."""
    password, where = _password_and_place(url)
    try:
        connection = psycopg2.connect(url, connect_timeout=CONNECT_TIMEOUT_S, application_name="captionacc")
        try:
            with connection, connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()
    except psycopg2.Error as error:
        said = _first_line(error).replace(password, "…") if password else _first_line(error)
        # Without its cause: a driver's message may quote the URL.
        raise CatalogError(f"The database at {where} (SUPABASE_DB_URL) cannot be migrated: {said}.") from None


def _password_and_place(url: str) -> tuple[str, str]:
    try:
        parts = parse_dsn(url)
    except psycopg2.ProgrammingError:
        raise CatalogError(_UNREADABLE) from None
    host, port = parts.get("host", "localhost"), parts.get("port", "5432")
    # A bare @ or / in the password makes it part of the host, the port or the database's name.
    well_read = port.isdecimal() and not any("@" in parts.get(name, "") for name in ("host", "dbname"))
    if not (url.startswith(("postgresql://", "postgres://")) and well_read):
        raise CatalogError(_UNREADABLE)
    return parts.get("password", ""), f"{host}:{port}"


def _first_line(error: psycopg2.Error) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
