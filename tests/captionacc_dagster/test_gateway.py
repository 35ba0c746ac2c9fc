"""Supabase answers late, not at all or with an error: nothing happens twice, a sentence says what to do."""

from __future__ import annotations

import http.server
import json
import multiprocessing
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
import pytest

from captionacc_dagster.catalog import open_catalog
from captionacc_dagster.catalog.gateway import Gateway
from captionacc_dagster.catalog.protocol import (
    Catalog,
    CatalogError,
    CatalogUnavailable,
    Stage,
    Video,
    WorkHeld,
)
from captionacc_dagster.catalog.supabase import SupabaseCatalog
from tests.captionacc_dagster.catalog_contract import (
    CALL,
    REGION,
    TENANT,
    add,
    cropped,
    extracted,
    finish,
    with_extents,
    with_layout,
)
from tests.servers.lossy import LossyGateway, lossy_gateway
from tests.servers.postgres import free_port
from tests.servers.supabase import DATABASE, SCHEMA, Supabase

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def catalog(supabase: Supabase) -> Iterator[Catalog]:
    yield open_catalog(supabase.settings())
    supabase.empty()


@pytest.fixture
def lossy(supabase: Supabase) -> Iterator[LossyGateway]:
    with lossy_gateway(supabase.url) as gateway:
        yield gateway


def catalog_at(
    supabase: Supabase,
    *,
    url: str | None = None,
    key: str | None = None,
    schema: str = SCHEMA,
    reply_timeout_s: float = 10.0,
    patience_s: float = 30.0,
) -> SupabaseCatalog:
    gateway = Gateway(
        url or supabase.url,
        key or supabase.service_role_key,
        schema,
        reply_timeout_s=reply_timeout_s,
        patience_s=patience_s,
    )
    return SupabaseCatalog(gateway)


def trouble(supabase: Supabase, **others: Any) -> CatalogUnavailable:
    """What a catalog that is set up so says when it is first used."""
    with pytest.raises(CatalogUnavailable) as refused:
        catalog_at(supabase, **others).waiting_for_layout(1)
    assert supabase.service_role_key not in str(refused.value)
    return refused.value


# --- lost replies


def held(catalog: Catalog, stage: Stage) -> Video:
    """A video whose stage the run `run` holds."""
    video = {Stage.LAYOUT: add, Stage.EXTENTS: with_layout, Stage.CAPTIONS: with_extents}[stage](catalog)
    return catalog.claim(video.id, stage, "run")


def failed(catalog: Catalog, stage: Stage) -> Video:
    video = held(catalog, stage)
    catalog.fail(video.id, stage, "run", "It broke.")
    return video


def reserved(catalog: Catalog) -> Video:
    video = held(catalog, Stage.EXTENTS)
    catalog.reserve_cropped_frames(video.id, "run", REGION)
    return video


def on_record(catalog: Catalog) -> Video:
    video = held(catalog, Stage.EXTENTS)
    catalog.record_call(video.id, Stage.EXTENTS, "run", CALL)
    return video


Prepare = Callable[[Catalog], Video]
Act = Callable[[Catalog, Video], object]
NEW_ID = str(uuid.uuid4())

CHANGES: dict[str, tuple[Prepare, Act]] = {
    "add_video": (
        add,
        lambda c, v: c.add_video(
            video_id=NEW_ID, tenant_id=TENANT, display_path="new", storage_key="k", size_bytes=1
        ),
    ),
    "set_languages": (add, lambda c, v: c.set_languages(v.id, "en")),
    "delete_video": (with_extents, lambda c, v: c.delete_video(v.id)),
    "claim": (with_layout, lambda c, v: c.claim(v.id, Stage.EXTENTS, "run")),
    "renew": (lambda c: held(c, Stage.LAYOUT), lambda c, v: c.renew(v.id, Stage.LAYOUT, "run")),
    "finish_layout": (
        lambda c: held(c, Stage.LAYOUT),
        lambda c, v: c.finish_layout(v.id, "run", extracted(v)),
    ),
    "reserve_cropped_frames": (
        lambda c: held(c, Stage.EXTENTS),
        lambda c, v: c.reserve_cropped_frames(v.id, "run", REGION),
    ),
    "finish_extents": (
        reserved,
        lambda c, v: c.finish_extents(v.id, "run", cropped(v, 1), approved_at=v.layout_approved_at),
    ),
    "finish_captions": (
        lambda c: held(c, Stage.CAPTIONS),
        lambda c, v: finish(c, v, Stage.CAPTIONS, "run"),
    ),
    "fail": (lambda c: held(c, Stage.EXTENTS), lambda c, v: c.fail(v.id, Stage.EXTENTS, "run", "It broke.")),
    "record_call": (
        lambda c: held(c, Stage.EXTENTS),
        lambda c, v: c.record_call(v.id, Stage.EXTENTS, "run", CALL),
    ),
    "forget_call": (on_record, lambda c, v: c.forget_call(v.id, Stage.EXTENTS, "run", CALL.order)),
    "approve_layout": (with_layout, lambda c, v: c.approve_layout(v.id)),
    "request_captions": (with_extents, lambda c, v: c.request_captions(v.id)),
    "retry": (lambda c: failed(c, Stage.LAYOUT), lambda c, v: c.retry(v.id)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_whose_reply_is_lost_happens_once_and_answers_the_same(
    change: str, catalog: Catalog, supabase: Supabase, lossy: LossyGateway
) -> None:
    prepare, act = CHANGES[change]
    video = prepare(catalog)
    over_lossy = catalog_at(supabase, url=lossy.url)
    over_lossy.video(video.id)
    lossy.lose_next()
    act(over_lossy, video)
    lost, delivered = lossy.replies
    assert delivered == lost
    versions = [each.version for each in catalog.cropped_frames_versions(video.id)]
    assert len(versions) == {"reserve_cropped_frames": 1}.get(change, len(versions))


def test_a_release_whose_reply_is_lost_asks_once_for_what_an_annotator_took(
    catalog: Catalog, supabase: Supabase, lossy: LossyGateway
) -> None:
    video = held(catalog, Stage.CAPTIONS)
    supabase.execute(
        "UPDATE video_database_state SET lock_type = 'client', lock_holder_user_id = gen_random_uuid() "
        "WHERE video_id = %s AND database_name = 'captions'",
        (video.id,),
    )
    over_lossy = catalog_at(supabase, url=lossy.url)
    requested: list[Any] = []
    for _ in range(2):
        lossy.lose_next(2)
        over_lossy.release(video.id, Stage.CAPTIONS, "run")
        requested.append(catalog.video(video.id).captions_requested_at)
    assert requested[0] > video.captions_requested_at
    assert requested[1] == requested[0]


def test_replies_that_are_always_lost_end_in_a_sentence(supabase: Supabase, lossy: LossyGateway) -> None:
    lossy.lose_next(1000)
    began = time.monotonic()
    refused = trouble(supabase, url=lossy.url, patience_s=1.0)
    assert refused.kind == "unreachable"
    assert time.monotonic() - began < 5
    assert 2 <= len(lossy.replies) <= 4


# --- servers that stop, and that are slow


def test_a_restart_of_postgrest_is_waited_for(catalog: Catalog, supabase: Supabase) -> None:
    video = add(catalog)
    restart = threading.Thread(target=supabase.restart_rest, kwargs={"down_s": 0.6})
    restart.start()
    time.sleep(0.2)
    assert catalog.claim(video.id, Stage.LAYOUT, "run").status == "processing"
    restart.join()


def test_a_broken_connection_to_the_database_is_waited_for(catalog: Catalog, supabase: Supabase) -> None:
    video = add(catalog)
    supabase.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'authenticator'")
    assert catalog.claim(video.id, Stage.LAYOUT, "run").status == "processing"


@contextmanager
def locked(supabase: Supabase, table: str) -> Iterator[None]:
    """As a long migration or a stuck transaction has it."""
    with closing(psycopg2.connect(supabase.postgres.url(DATABASE))) as connection:
        with connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {SCHEMA}.{table}")
        yield


def test_an_answer_that_takes_too_long_ends_in_a_sentence_and_is_complete_later(
    catalog: Catalog, supabase: Supabase
) -> None:
    video = add(catalog)
    hasty = catalog_at(supabase, reply_timeout_s=0.3, patience_s=0.9)
    hasty.video(video.id)
    with locked(supabase, "videos"):
        began = time.monotonic()
        with pytest.raises(CatalogUnavailable, match="did not answer in time") as refused:
            hasty.claim(video.id, Stage.LAYOUT, "run")
        assert refused.value.kind == "timed_out"
        assert time.monotonic() - began < 5
    assert catalog.claim(video.id, Stage.LAYOUT, "run").status == "processing"


def test_a_slow_answer_is_waited_for(catalog: Catalog, supabase: Supabase) -> None:
    video = add(catalog)
    patient = catalog_at(supabase, reply_timeout_s=0.3)
    patient.video(video.id)
    with locked(supabase, "video_database_state"):
        claim = threading.Thread(target=patient.claim, args=(video.id, Stage.LAYOUT, "run"))
        claim.start()
        time.sleep(0.8)
    claim.join()
    assert catalog.video(video.id).status == "processing"


# --- several processes


def _claim(supabase: Supabase, video_id: str, begin: Any, answers: Any) -> None:
    begin.wait()
    try:
        open_catalog(supabase.settings()).claim(video_id, Stage.LAYOUT, str(os.getpid()))
    except WorkHeld:
        answers.put("held")
    else:
        answers.put("won")


def test_of_many_processes_that_claim_at_once_exactly_one_wins(catalog: Catalog, supabase: Supabase) -> None:
    # Opened and used before the fork: a child must not share the parent's connections.
    video = add(catalog)
    begin, answers = FORK.Barrier(5), FORK.Queue()
    processes = [FORK.Process(target=_claim, args=(supabase, video.id, begin, answers)) for _ in range(5)]
    for process in processes:
        process.start()
    results = sorted(answers.get(timeout=60) for _ in processes)
    for process in processes:
        process.join()
    assert results == ["held"] * 4 + ["won"]
    assert catalog.video(video.id).status == "processing"


# --- what is set up wrongly


def test_nothing_listens_at_the_url(supabase: Supabase) -> None:
    refused = trouble(supabase, url=f"http://127.0.0.1:{free_port()}", patience_s=0.5)
    assert refused.kind == "unreachable"
    assert "SUPABASE_URL" in str(refused)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "project", "http://", "not a url"])
def test_the_url_is_none(supabase: Supabase, url: str) -> None:
    refused = trouble(supabase, url=url)
    assert refused.kind == "wrong_url"
    assert "SUPABASE_URL" in str(refused)


@pytest.mark.parametrize(
    ("status", "body"),
    [(404, b"<html>Not here</html>"), (200, b"<html>Welcome</html>"), (301, b""), (403, b"<html>Go</html>")],
)
def test_somebody_else_answers_at_the_url(supabase: Supabase, status: int, body: bytes) -> None:
    class Website(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(status)
            self.send_header("Location", "https://127.0.0.1:9/login")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Website) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        refused = trouble(supabase, url=f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert refused.kind == "wrong_url"
    assert "SUPABASE_URL" in str(refused)


@pytest.mark.parametrize("key", ["nonsense", "two\nlines", "schlüssel", "the anon key"])
def test_the_key_is_not_the_service_roles(supabase: Supabase, key: str) -> None:
    refused = trouble(supabase, key=supabase.anon_key if key == "the anon key" else key)
    assert refused.kind == "wrong_key"
    assert "SUPABASE_SERVICE_ROLE_KEY" in str(refused)
    assert key == "the anon key" or key not in str(refused)


def test_the_schema_is_not_exposed(supabase: Supabase) -> None:
    refused = trouble(supabase, schema="hidden")
    assert refused.kind == "schema_not_exposed"
    assert "hidden" in str(refused)


def test_the_schema_was_never_migrated(supabase: Supabase) -> None:
    refused = trouble(supabase, schema="public")
    assert refused.kind == "schema_behind"
    assert "captionacc migrate" in str(refused)


@pytest.mark.parametrize(
    ("change", "kind", "remedy"),
    [
        ("INSERT INTO schema_migrations (version, name) VALUES (999, 'future')", "schema_ahead", "Upgrade"),
        (
            "DELETE FROM schema_migrations WHERE version = (SELECT max(version) FROM schema_migrations)",
            "schema_behind",
            "captionacc migrate",
        ),
    ],
)
def test_the_schema_is_another_versions(supabase: Supabase, change: str, kind: str, remedy: str) -> None:
    rows = supabase.execute("SELECT version, name FROM schema_migrations")
    supabase.execute(change)
    try:
        refused = trouble(supabase)
    finally:
        supabase.execute("DELETE FROM schema_migrations")
        for row in rows:
            supabase.execute("INSERT INTO schema_migrations (version, name) VALUES (%s, %s)", row)
    assert refused.kind == kind
    assert remedy in str(refused)


def test_the_packages_are_not_installed(supabase: Supabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captionacc_dagster.catalog.gateway", None)
    with pytest.raises(CatalogUnavailable, match="pip install") as refused:
        open_catalog(supabase.settings())
    assert refused.value.kind == "not_installed"


def test_what_the_database_does_not_take_is_said(catalog: Catalog) -> None:
    with pytest.raises(CatalogError, match="would not take it"):
        add(catalog, sha="too short")


def test_no_key_is_in_what_a_catalog_tells_of_itself(supabase: Supabase, catalog: Catalog) -> None:
    told = json.dumps(dict(catalog.describe())) + repr(catalog) + repr(supabase.settings())
    assert supabase.url in told
    assert supabase.service_role_key not in told
