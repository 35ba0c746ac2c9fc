"""A real PostgreSQL on 127.0.0.1, for as long as a `with` block lasts."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

PASSWORD = "a-password-of-the-tests"

# Nothing of a test's server has to survive a power cut.
OPTIONS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "unix_socket_directories=")


@dataclass(frozen=True)
class Postgres:
    """A running server whose superuser is `postgres`."""

    port: int

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str) -> str:
        """An empty database; answers its URL."""
        self.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement outside any transaction; answers its rows."""
        connection = psycopg2.connect(self.url(database))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """Start a server with an empty cluster; both are gone afterwards."""
    programs = _programs()
    # PostgreSQL refuses to run as root.
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    data, secret, log = folder / "data", folder / "secret", folder / "log"
    secret.write_text(PASSWORD)
    if user is not None:
        for path in (folder, secret):
            shutil.chown(path, user)
    try:
        initdb = [programs / "initdb", "-D", data, "-U", "postgres", "-A", "scram-sha-256", "-N"]
        subprocess.run(
            [*initdb, f"--pwfile={secret}", "--encoding=UTF8", "--locale=C"],
            user=user,
            cwd=folder,
            check=True,
            capture_output=True,
        )
        port = free_port()
        options = [f"-c{option}" for option in (*OPTIONS, "listen_addresses=127.0.0.1", f"port={port}")]
        with log.open("w") as output:
            server = subprocess.Popen(
                [programs / "postgres", "-D", data, *options],
                user=user,
                cwd=folder,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            _wait(programs, server, port, log)
            yield Postgres(port)
        finally:
            # Immediate shutdown: connections left open are not waited for.
            server.send_signal(signal.SIGQUIT)
            server.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _programs() -> Path:
    pg_config = shutil.which("pg_config")
    assert pg_config, "these tests start a PostgreSQL (Debian: apt install postgresql)"
    folder = Path(subprocess.check_output([pg_config, "--bindir"], text=True).strip())
    assert (folder / "initdb").exists(), f"no PostgreSQL server in {folder} (Debian: apt install postgresql)"
    return folder


def _wait(programs: Path, server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    ready = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port), "-t", "30"]
    while subprocess.run(ready, check=False).returncode != 0:
        assert server.poll() is None, f"PostgreSQL ended: {log.read_text()}"
        time.sleep(0.05)
