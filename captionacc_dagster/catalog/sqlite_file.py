"""The connections to a SQLite catalog: each process its own, and every change one transaction."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from captionacc_dagster.catalog.migrations.sqlite import migrate
from captionacc_dagster.catalog.protocol import CatalogError

BUSY_TIMEOUT_S = 30.0


class SqliteFile:
    """The file, created or upgraded. Safe to share between threads."""

    def __init__(self, path: Path) -> None:
        """Raises CatalogError."""
        self.path = path
        # By process: a connection must never be used across a fork.
        self._idle: dict[int, list[sqlite3.Connection]] = {}
        with self._errors():
            path.parent.mkdir(parents=True, exist_ok=True)
        with self.reading() as db:
            migrate(db)

    def close(self) -> None:
        """Close the connections that are not in use. The file can be used again afterwards."""
        for connection in self._idle.pop(os.getpid(), []):
            connection.close()

    @contextmanager
    def changing(self) -> Generator[sqlite3.Connection]:
        """A transaction of which all or nothing happens. Raises CatalogError."""
        with self.reading() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection]:
        """A connection that sees what is committed and never waits. Raises CatalogError."""
        with self._errors():
            idle = self._idle.setdefault(os.getpid(), [])
            connection = idle.pop() if idle else self._connect()
            try:
                yield connection
            except sqlite3.Error:
                connection.close()
                raise
            except BaseException:
                idle.append(connection)
                raise
            idle.append(connection)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA foreign_keys = ON")
        _use_wal(connection)
        return connection

    @contextmanager
    def _errors(self) -> Generator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise CatalogError(
                f"The catalog {self.path} cannot be used: {error}. "
                "Is the disk full, or the file damaged or not yours?"
            ) from error


def _use_wal(connection: sqlite3.Connection) -> None:
    # Switching a new file to WAL takes an exclusive lock that SQLite does not wait for, whatever the timeout.
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
