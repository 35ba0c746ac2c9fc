"""Brings a SQLite catalog to the schema this code was written for: numbered SQL files, each applied once,
in order.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from importlib import resources

from captionacc_dagster.catalog.protocol import CatalogError


def sqlite_steps() -> list[tuple[int, str, str]]:
    """(number, file name, SQL) of every step, in order."""
    folder = resources.files(f"{__name__}.sqlite")
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda f: f.name)
    return [(int(file.name.split("_")[0]), file.name, file.read_text("utf-8")) for file in files]


def schema_version(connection: sqlite3.Connection) -> int:
    """Number of the last step applied; 0 for an empty database."""
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'schema_migrations'").fetchone()
    if known is None:
        return 0
    return int(connection.execute("SELECT coalesce(max(version), 0) FROM schema_migrations").fetchone()[0])


def migrate(connection: sqlite3.Connection) -> None:
    """Apply the missing steps, all or none, whoever else tries at the same moment.

    `connection` is in autocommit mode. Raises CatalogError for a database that a newer version has written.
    """
    steps = sqlite_steps()
    newest = steps[-1][0]
    if schema_version(connection) == newest:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        applied = schema_version(connection)
        if applied > newest:
            raise CatalogError(
                f"The catalog was written by a newer captionacc (its schema is {applied}, this version knows "
                f"{newest}). Upgrade captionacc, or point CAPTIONACC_HOME at another folder."
            )
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, "
            "applied_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')))"
        )
        for number, name, script in steps:
            if number > applied:
                for statement in _statements(script):
                    connection.execute(statement)
                connection.execute(
                    "INSERT INTO schema_migrations (version, name) VALUES (?, ?)", (number, name)
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
