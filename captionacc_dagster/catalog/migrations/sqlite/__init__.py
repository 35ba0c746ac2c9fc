"""Brings a SQLite catalog to the schema this code was written for."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from captionacc_dagster.catalog.migrations import Step, missing_steps, steps

_REMEDY = "point CAPTIONACC_HOME at another folder"


def schema_version(connection: sqlite3.Connection) -> int:
    """Number of the last step applied; 0 for an empty database."""
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'schema_migrations'").fetchone()
    if known is None:
        return 0
    return int(connection.execute("SELECT coalesce(max(version), 0) FROM schema_migrations").fetchone()[0])


def pending(connection: sqlite3.Connection) -> list[Step]:
    """The steps that `migrate` would apply. Raises CatalogError for a database that is ahead."""
    return missing_steps(steps("sqlite"), schema_version(connection), _REMEDY)


def migrate(connection: sqlite3.Connection) -> None:
    """Apply the missing steps, all or none, whoever else tries at the same moment.

    `connection` is in autocommit mode. Raises CatalogError for a database that a newer version has written.
    """
    if not pending(connection):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, "
            "applied_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')))"
        )
        for step in pending(connection):
            for statement in _statements(step.script):
                connection.execute(statement)
            connection.execute(
                "INSERT INTO schema_migrations (version, name) VALUES (?, ?)", (step.number, step.name)
            )
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> Iterator[str]:
    # executescript would commit the surrounding transaction, and with it a half-applied step.
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
