"""The Supabase catalog keeps the contract on a real PostgreSQL behind a real PostgREST and a gateway."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing

import hypothesis
import psycopg2
import pytest
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from captionacc_dagster.catalog import open_catalog
from captionacc_dagster.catalog.protocol import Catalog, Video
from tests.captionacc_dagster.catalog_contract import CatalogContract
from tests.captionacc_dagster.catalog_machine import catalog_machine
from tests.servers.supabase import DATABASE, SCHEMA, Supabase


class TestSupabaseCatalog(CatalogContract):
    more_than_a_page = 501

    @pytest.fixture(autouse=True)
    def _project(self, supabase: Supabase) -> Iterator[None]:
        self.supabase = supabase
        yield
        supabase.empty()

    @pytest.fixture
    def catalog(self, supabase: Supabase) -> Catalog:
        return open_catalog(supabase.settings())

    def reopened(self, catalog: Catalog) -> Catalog:
        return open_catalog(self.supabase.settings())

    def annotator_opens(self, catalog: Catalog, video: Video, database: str) -> None:
        self.supabase.execute(
            "INSERT INTO video_database_state (video_id, database_name, tenant_id, lock_type, "
            "lock_holder_user_id) VALUES (%s, %s, %s, 'client', %s) ON CONFLICT (video_id, database_name) "
            "DO UPDATE SET lock_type = 'client', lock_holder_user_id = excluded.lock_holder_user_id",
            (video.id, database, video.tenant_id, str(uuid.uuid4())),
        )

    def annotator_closes(self, catalog: Catalog, video: Video, database: str) -> None:
        self.supabase.execute(
            "UPDATE video_database_state SET lock_type = NULL, lock_holder_user_id = NULL "
            "WHERE video_id = %s AND database_name = %s",
            (video.id, database),
        )

    def user_with_access(self, catalog: Catalog, tenant_id: str, access_tier: str) -> None:
        self.supabase.execute(
            "INSERT INTO user_profiles (id, tenant_id, access_tier_id) VALUES (%s, %s, %s)",
            (str(uuid.uuid4()), tenant_id, access_tier),
        )


@pytest.fixture
def any_order_of_calls(supabase: Supabase) -> Iterator[type[RuleBasedStateMachine]]:
    def empty_catalog() -> Catalog:
        supabase.empty()
        return open_catalog(supabase.settings())

    suite = TestSupabaseCatalog()
    suite.supabase = supabase
    yield catalog_machine(empty_catalog, suite.annotator_opens, suite.annotator_closes)
    supabase.empty()


def test_any_order_of_calls_keeps_what_must_always_hold(
    any_order_of_calls: type[RuleBasedStateMachine],
) -> None:
    few = hypothesis.settings(max_examples=6, stateful_step_count=15, deadline=None)
    run_state_machine_as_test(any_order_of_calls, settings=few)


# --- plans

MANY = """
INSERT INTO tenants (id, name, slug)
    SELECT gen_random_uuid(), 'tenant', i::text FROM generate_series(1, 20) AS i;
INSERT INTO videos (tenant_id, display_path, storage_key, status, caption_status, content_sha256, created_at,
        layout_requested_at, layout_approved_at, layout_approval_processed_at, captions_requested_at,
        captions_processed_at, current_cropped_frames_version)
    SELECT tenants.id, 'film', 'key', CASE WHEN i % 100 = 0 THEN 'pending' ELSE 'active' END,
        CASE WHEN i % 50 = 0 THEN 'ready' ELSE 'processing' END, repeat(md5(i::text), 2), moment, moment,
        moment, CASE WHEN i % 100 <> 1 THEN moment END, moment, CASE WHEN i % 100 <> 2 THEN moment END, 1
    FROM generate_series(1, 250) AS i, tenants,
        LATERAL (SELECT now() - i * interval '1 hour' AS moment) AS made;
INSERT INTO video_database_state (video_id, database_name, tenant_id, lock_type, lock_holder_run_id,
        lock_expires_at, last_activity_at)
    SELECT id, 'captions', tenant_id, 'server', 'run', created_at, created_at FROM videos
        WHERE abs(hashtext(id::text)) % 500 = 0
    UNION ALL
    SELECT id, 'layout', tenant_id, NULL, NULL, NULL, created_at FROM videos;
ANALYZE tenants, videos, video_database_state
"""

# What sensors, schedules and commands ask for.
QUERIES = {
    "waiting_for_layout": "waiting_for_layout(20)",
    "waiting_for_extents": "waiting_for_extents(20)",
    "waiting_for_captions": "waiting_for_captions(20)",
    "with_captions": "with_captions('00000000-0000-0000-0000-000000000001', 50)",
    "stuck": "stuck(600, 500)",
    "held_by_expired_lease": "held_by_expired_lease(90, 50)",
    "videos": "videos_after(NULL, '-infinity', '00000000-0000-0000-0000-000000000000', 50)",
    "videos of a tenant": "videos_after(%(tenant)s, '-infinity', '00000000-0000-0000-0000-000000000000', 50)",
    "find_by_content": "find_by_content(%(tenant)s, repeat(md5('7'), 2))",
    "find_video": "find_video(%(video)s)",
}


@pytest.fixture(scope="module")
def plans(supabase: Supabase) -> Iterator[dict[str, str]]:
    """How Postgres carries out the statement inside each of QUERIES, on five thousand videos."""
    supabase.execute(MANY)
    ((video, tenant),) = supabase.execute("SELECT id, tenant_id FROM videos LIMIT 1")
    found: dict[str, str] = {}
    with closing(psycopg2.connect(supabase.postgres.url(DATABASE))) as connection:
        cursor = connection.cursor()
        cursor.execute(
            f"SET search_path = {SCHEMA}; LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; "
            "SET auto_explain.log_nested_statements = on; SET client_min_messages = log"
        )
        for name, call in QUERIES.items():
            connection.notices.clear()
            cursor.execute(f"SELECT {call}", {"video": video, "tenant": tenant})
            (found[name],) = [notice for notice in connection.notices if "videos" in _plan(notice)]
    yield found
    supabase.empty()


def _plan(notice: str) -> str:
    """Of an auto_explain notice, what follows the statement: lines with the planner's estimates."""
    return "\n".join(line for line in notice.splitlines() if "(cost=" in line)


@pytest.mark.parametrize("query", QUERIES)
def test_what_is_asked_often_is_read_from_an_index_in_its_order(plans: dict[str, str], query: str) -> None:
    plan = _plan(plans[query])
    assert "Index Scan" in plan
    assert "Seq Scan" not in plan, plan
    # One video at most has that content.
    assert "Sort" not in plan or query == "find_by_content", plan
