"""What another tenant's user, a forger or nobody at all gets from the catalog over the network: nothing."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg2
import pytest

from captionacc_dagster.catalog import open_catalog
from captionacc_dagster.catalog.protocol import Catalog, Stage, Video, VideoNotFound
from gpu_ops.contract import InvalidId
from tests.captionacc_dagster.catalog_contract import CALL, OTHER_TENANT, TENANT, with_extents, with_layout
from tests.servers.supabase import DATABASE, JWT_SECRET, SCHEMA, Supabase, token

VISIBLE = ("tenants", "user_profiles", "videos", "video_database_state", "cropped_frames_versions")
HIDDEN = ("compute_calls", "schema_migrations")
TENANT_COLUMN = {table: "id" if table == "tenants" else "tenant_id" for table in VISIBLE}
ANY_ROW = {
    **{table: {TENANT_COLUMN[table]: "not.is.null"} for table in VISIBLE},
    "compute_calls": {"call_id": "not.is.null"},
    "schema_migrations": {"version": "gte.0"},
}
DENIED = (401, 403)
HTTP = httpx.Client()
NOBODY = "00000000-0000-0000-0000-0000000000cc"


def user_of(tenant_id: str) -> str:
    return str(uuid.uuid5(uuid.UUID(tenant_id), "user"))


# Everybody who may see nothing of TENANT, and the token each comes with.
STRANGERS = {
    "a user of another tenant": token("authenticated", sub=user_of(OTHER_TENANT)),
    "a user without a profile": token("authenticated", sub=NOBODY),
    "a user without an id": token("authenticated"),
    "a user who claims the tenant": token(
        "authenticated", sub=user_of(OTHER_TENANT), tenant_id=TENANT, app_metadata={"tenant_id": TENANT}
    ),
    "anon": token("anon"),
    "a forger": token("service_role", secret="x" * len(JWT_SECRET)),
    "somebody late": token("authenticated", sub=user_of(TENANT), exp=int(time.time()) - 60),
    "a role that is none": token("postgres"),
    "the owner's role": token("owner"),
    "the gateway's role": token("authenticator"),
    "no token": "",
    # {"alg":"none"}, {"role":"service_role"}
    "an unsigned token": "eyJhbGciOiJub25lIn0.eyJyb2xlIjoic2VydmljZV9yb2xlIn0.",
}
WITH_A_TENANT = ("a user of another tenant", "a user who claims the tenant")
WITHOUT_WRITING = {**STRANGERS, "a user of the tenant itself": token("authenticated", sub=user_of(TENANT))}


@dataclass(frozen=True)
class Visitor:
    """Someone with that token at the gateway; `key` is the public one that is in every web page."""

    url: str
    key: str
    token: str

    def send(self, method: str, path: str, *, body: object = None, **query: str) -> httpx.Response:
        identity = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return HTTP.request(
            method,
            f"{self.url}/rest/v1/{path}",
            params=query,
            json=body,
            headers={
                "apikey": self.key,
                **identity,
                "Accept-Profile": SCHEMA,
                "Content-Profile": SCHEMA,
                "Prefer": "return=representation",
            },
        )

    def read(self, table: str, **query: str) -> list[dict[str, Any]]:
        answer = self.send("GET", table, **query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def call(self, function: str, arguments: Mapping[str, object]) -> httpx.Response:
        return self.send("POST", f"rpc/{function}", body=arguments)


@pytest.fixture
def catalog(supabase: Supabase) -> Iterator[Catalog]:
    yield open_catalog(supabase.settings())
    supabase.empty()


@pytest.fixture
def theirs(catalog: Catalog, supabase: Supabase) -> Video:
    """A video of TENANT with a row in every table; OTHER_TENANT has none, and each has a user."""
    video = with_extents(catalog)
    catalog.claim(video.id, Stage.CAPTIONS, "run")
    catalog.record_call(video.id, Stage.CAPTIONS, "run", CALL)
    supabase.execute("INSERT INTO tenants (id, name, slug) VALUES (%s, 'other', 'other')", (OTHER_TENANT,))
    for tenant in (TENANT, OTHER_TENANT):
        supabase.execute(
            "INSERT INTO user_profiles (id, tenant_id) VALUES (%s, %s)", (user_of(tenant), tenant)
        )
    return video


def visitor(supabase: Supabase, its_token: str) -> Visitor:
    return Visitor(supabase.url, supabase.anon_key, its_token)


def user(supabase: Supabase, tenant_id: str) -> Visitor:
    return visitor(supabase, token("authenticated", sub=user_of(tenant_id)))


def everything(supabase: Supabase) -> str:
    rows = " UNION ALL ".join(f"SELECT to_jsonb({table}) FROM {table}" for table in (*VISIBLE, *HIDDEN))
    return str(supabase.execute(f"{rows} ORDER BY 1"))


# --- reading


@pytest.mark.parametrize("table", VISIBLE)
def test_a_user_reads_the_rows_of_its_own_tenant(supabase: Supabase, theirs: Video, table: str) -> None:
    rows = user(supabase, TENANT).read(table)
    assert rows
    assert {row[TENANT_COLUMN[table]] for row in rows} == {TENANT}


@pytest.mark.parametrize("who", STRANGERS)
def test_a_stranger_reads_nothing(supabase: Supabase, theirs: Video, who: str) -> None:
    stranger = visitor(supabase, STRANGERS[who])
    for table in (*VISIBLE, *HIDDEN):
        for query in ({}, {TENANT_COLUMN.get(table, "run_id"): f"eq.{TENANT}"}, {"select": "count"}):
            answer = stranger.send("GET", table, **query)
            assert TENANT not in answer.text
            assert answer.status_code in (200, 400, *DENIED)
            if answer.status_code == 200 and "select" in query:
                own = who in WITH_A_TENANT and table in ("tenants", "user_profiles")
                assert answer.json() == [{"count": 1 if own else 0}]


@pytest.mark.parametrize("table", HIDDEN)
def test_what_is_the_pipelines_own_is_hidden_from_users_too(
    supabase: Supabase, theirs: Video, table: str
) -> None:
    assert user(supabase, TENANT).send("GET", table).status_code in DENIED


def test_an_embedded_row_is_no_way_around(supabase: Supabase, theirs: Video) -> None:
    answer = user(supabase, OTHER_TENANT).send("GET", "tenants", select="*,videos(*),user_profiles(*)")
    assert theirs.id not in answer.text
    assert user_of(TENANT) not in answer.text


# --- writing


@pytest.mark.parametrize("who", WITHOUT_WRITING)
def test_nobody_but_the_service_writes_into_any_table(supabase: Supabase, theirs: Video, who: str) -> None:
    intruder = visitor(supabase, WITHOUT_WRITING[who])
    before = everything(supabase)
    for table in (*VISIBLE, *HIDDEN):
        (row,) = supabase.execute(f"SELECT to_jsonb({table}) FROM {table} LIMIT 1")[0]
        copy = {**row, **({"id": str(uuid.uuid4())} if "id" in row else {})}
        for answer in (
            intruder.send("POST", table, body=copy),
            intruder.send("POST", table, body=row, on_conflict=next(iter(row))),
            intruder.send("PATCH", table, body=row, **ANY_ROW[table]),
            intruder.send("DELETE", table, **ANY_ROW[table]),
        ):
            assert answer.status_code in DENIED, (table, answer.text)
    assert everything(supabase) == before


# --- functions


def functions(supabase: Supabase) -> dict[str, dict[str, str]]:
    """Name and parameters' types of every function of the schema."""
    found = supabase.execute(
        "SELECT proname, proargnames, proargtypes::regtype[]::text[] FROM pg_proc "
        "WHERE pronamespace = %s::regnamespace",
        (SCHEMA,),
    )
    return {name: dict(zip(names or (), types, strict=True)) for name, names, types in found}


def arguments_about(video: Video, parameters: Mapping[str, str]) -> dict[str, object]:
    """Arguments a hostile caller would try."""
    likely: dict[str, object] = {
        "p_video_id": video.id,
        "p_tenant_id": TENANT,
        "p_stage": "captions",
        "p_run_id": "run",
        "p_order": CALL.order,
        "p_status": "pending",
    }
    of_type: dict[str, object] = {
        "uuid": str(uuid.uuid4()),
        "text": "x",
        "text[]": ["x"],
        "jsonb": {},
        "timestamp with time zone": "2026-01-01T00:00:00Z",
    }
    return {name: likely.get(name, of_type.get(kind, 1)) for name, kind in parameters.items()}


@pytest.mark.parametrize("who", WITHOUT_WRITING)
def test_nobody_but_the_service_calls_a_function(supabase: Supabase, theirs: Video, who: str) -> None:
    intruder = visitor(supabase, WITHOUT_WRITING[who])
    before = everything(supabase)
    known = functions(supabase)
    assert len(known) > 30
    for function, parameters in known.items():
        answer = intruder.call(function, arguments_about(theirs, parameters))
        if function != "current_tenant_id":
            assert answer.status_code in DENIED, (function, answer.text)
    assert everything(supabase) == before


def test_the_one_function_with_its_owners_rights_tells_a_user_its_own_tenant(
    supabase: Supabase, theirs: Video
) -> None:
    assert user(supabase, TENANT).call("current_tenant_id", {}).json() == TENANT
    assert user(supabase, OTHER_TENANT).call("current_tenant_id", {}).json() == OTHER_TENANT
    assert (
        visitor(supabase, STRANGERS["a user without a profile"]).call("current_tenant_id", {}).json() is None
    )
    assert visitor(supabase, STRANGERS["anon"]).call("current_tenant_id", {}).status_code in DENIED
    definers = supabase.execute(
        "SELECT proname FROM pg_proc WHERE pronamespace = %s::regnamespace AND prosecdef", (SCHEMA,)
    )
    assert definers == [("current_tenant_id",)]


def test_every_function_has_its_search_path_pinned_and_is_closed_to_the_public(supabase: Supabase) -> None:
    open_ones = supabase.execute(
        "SELECT proname, proconfig, proacl::text FROM pg_proc WHERE pronamespace = %s::regnamespace "
        "AND (proconfig IS DISTINCT FROM ARRAY[%s] OR has_function_privilege('anon', oid, 'EXECUTE'))",
        (SCHEMA, f"search_path={SCHEMA}, pg_temp"),
    )
    assert open_ones == []


def test_every_table_has_row_level_security_and_gives_users_select_at_most(supabase: Supabase) -> None:
    tables = supabase.execute(
        "SELECT relname, relrowsecurity FROM pg_class "
        "WHERE relnamespace = %s::regnamespace AND relkind IN ('r', 'p', 'v', 'm')",
        (SCHEMA,),
    )
    assert sorted(tables) == sorted((table, True) for table in (*VISIBLE, *HIDDEN))
    given = supabase.execute(
        "SELECT DISTINCT grantee, privilege_type FROM information_schema.role_table_grants "
        "WHERE table_schema = %s AND grantee NOT IN ('owner', 'service_role')",
        (SCHEMA,),
    )
    assert given == [("authenticated", "SELECT")]


def test_a_table_of_that_name_in_a_callers_session_does_not_stand_in(
    supabase: Supabase, theirs: Video
) -> None:
    impostor, claims = user_of(OTHER_TENANT), json.dumps({"sub": user_of(OTHER_TENANT)})
    with closing(psycopg2.connect(supabase.postgres.url(DATABASE))) as connection:
        cursor = connection.cursor()
        cursor.execute(
            "CREATE TEMPORARY TABLE user_profiles AS SELECT %s::uuid AS id, %s::uuid AS tenant_id",
            (impostor, TENANT),
        )
        cursor.execute("GRANT ALL ON user_profiles TO PUBLIC; SET ROLE authenticated")
        cursor.execute("SELECT set_config('request.jwt.claims', %s, false)", (claims,))
        cursor.execute(f"SELECT id FROM {SCHEMA}.videos")
        assert cursor.fetchall() == []


# --- rows and ids


@pytest.mark.parametrize("table", ["video_database_state", "cropped_frames_versions"])
def test_no_row_says_another_tenant_than_its_video(supabase: Supabase, theirs: Video, table: str) -> None:
    with pytest.raises(psycopg2.errors.ForeignKeyViolation):
        supabase.execute(f"UPDATE {table} SET tenant_id = %s", (OTHER_TENANT,))


@pytest.mark.parametrize(
    "hostile", ["../../etc/passwd", "' OR true --", "*", "", f"{NOBODY[:-1]}G", "a\x00b"]
)
def test_a_hostile_id_leads_nowhere(
    catalog: Catalog, theirs: Video, supabase: Supabase, hostile: str
) -> None:
    before = everything(supabase)
    for call in (
        lambda: catalog.video(hostile),
        lambda: catalog.claim(hostile, Stage.LAYOUT, "run"),
        lambda: catalog.delete_video(hostile),
        lambda: catalog.retry(hostile),
        lambda: catalog.cropped_frames_versions(hostile),
    ):
        with pytest.raises(VideoNotFound):
            call()
    assert not catalog.fail(hostile, Stage.LAYOUT, "run", "x")
    assert not catalog.release(hostile, Stage.LAYOUT, "run")
    for ids in ({"video_id": hostile, "tenant_id": TENANT}, {"video_id": theirs.id, "tenant_id": hostile}):
        with pytest.raises(InvalidId):
            catalog.add_video(**ids, display_path="x", storage_key="k", size_bytes=1)
    assert everything(supabase) == before


def test_the_service_sees_all(supabase: Supabase, theirs: Video, catalog: Catalog) -> None:
    other = with_layout(catalog)
    assert {video.id for video in catalog.videos()} == {theirs.id, other.id}
