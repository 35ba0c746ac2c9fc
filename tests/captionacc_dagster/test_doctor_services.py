"""The doctor tells apart what can be wrong with each service of production, and says what to do about it.

Supabase and the bucket are real; Modal and Google Vision are asked through their own clients.
"""

from __future__ import annotations

import json
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from captionacc_dagster import doctor
from captionacc_dagster.doctor import Finding, examine, is_ready
from captionacc_dagster.resources import modal_compute
from captionacc_dagster.settings import Settings
from gpu_ops.s3 import S3Access
from tests.servers.modal_server import TOKEN_ID, TOKEN_SECRET, ModalServer
from tests.servers.s3 import FaultyProxy, Refusal, S3Server
from tests.servers.supabase import Supabase, supabase_project
from tests.servers.vision import Failure, VisionServer, serving

READ, WRITE, DELETE, LIST = "s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"


@pytest.fixture(scope="module")
def modal() -> Iterator[ModalServer]:
    server = ModalServer()
    server.start()
    modal_compute._client.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODAL_SERVER_URL", server.environment["MODAL_SERVER_URL"])
        yield server
    server.stop()
    # The connection that the process keeps leads to this server.
    modal_compute._client.cache_clear()


@pytest.fixture(scope="module")
def vision() -> Iterator[VisionServer]:
    with serving(lambda image: []) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAPTIONACC_VISION_ENDPOINT", server.url)
        yield server


@pytest.fixture
def production(
    supabase: Supabase, s3: S3Server, modal: ModalServer, vision: VisionServer, tmp_path: Path
) -> Settings:
    """Settings of the cloud profile with nothing wrong."""
    modal.reset()
    vision.failures.clear()
    tokens = {"modal_token_id": SecretStr(TOKEN_ID), "modal_token_secret": SecretStr(TOKEN_SECRET)}
    return supabase.settings(
        home=tmp_path / "home",
        dagster_home_override=None,
        google_credentials_json=SecretStr(vision.credentials_json),
        wasabi_bucket=s3.make_bucket(f"doctor-{uuid.uuid4()}"),
        **tokens,
        **of_access(s3.access),
    )


def of_access(access: S3Access) -> dict[str, Any]:
    return {
        "wasabi_endpoint_url": access.endpoint,
        "wasabi_region": access.region,
        "wasabi_access_key": SecretStr(access.access_key_id),
        "wasabi_secret_key": SecretStr(access.secret_access_key),
    }


def only_wrong(settings: Settings, **wrong: Any) -> Finding:
    """What the doctor finds missing, which must be one thing, when these settings are wrong."""
    (missing,) = [each for each in examine(settings.model_copy(update=wrong)) if each.state == "missing"]
    return missing


def test_where_nothing_is_wrong_production_is_ready(production: Settings, s3: S3Server) -> None:
    findings = examine(production)
    assert is_ready(findings), findings
    assert {"compute", "object store", "catalog", "Google Vision"} <= {each.what for each in findings}
    assert s3.client().list_objects_v2(Bucket=production.wasabi_bucket)["KeyCount"] == 0


def test_no_finding_shows_a_secret(production: Settings) -> None:
    key = json.loads(production.google_credentials_json.get_secret_value())["private_key"].splitlines()[1]  # type: ignore[union-attr]
    broken = production.model_copy(
        update={"supabase_url": "http://127.0.0.1:1", "wasabi_bucket": "nowhere", "modal_app_name": "another"}
    )
    shown = repr([*examine(production), *examine(broken)])
    for name in ("supabase_service_role_key", "wasabi_access_key", "wasabi_secret_key", "modal_token_id"):
        assert getattr(production, name).get_secret_value() not in shown, name
    assert TOKEN_SECRET not in shown
    assert key not in shown


def test_what_is_not_set_is_named_and_the_rest_is_looked_at_all_the_same(production: Settings) -> None:
    incomplete = production.model_copy(update={"wasabi_bucket": None, "supabase_url": None})
    findings = {each.what: each for each in examine(incomplete)}
    assert "WASABI_BUCKET" in findings["object store"].detail
    assert "SUPABASE_URL" in findings["catalog"].detail
    assert "SUPABASE_URL, WASABI_BUCKET" in findings["profile"].remedy
    assert findings["compute"].state == findings["Google Vision"].state == "ok"


# --- Supabase


def test_a_wrong_supabase_url_is_told_from_one_that_does_not_answer(
    production: Settings, vision: VisionServer
) -> None:
    nobody = only_wrong(production, supabase_url="http://127.0.0.1:1")
    assert (nobody.what, "cannot be reached" in nobody.detail) == ("catalog", True)
    assert "Is SUPABASE_URL right" in nobody.detail
    another = only_wrong(production, supabase_url=vision.url)
    assert "No Supabase answers at SUPABASE_URL" in another.detail


def test_a_wrong_supabase_key_is_named(production: Settings, supabase: Supabase) -> None:
    for key in ("nonsense", supabase.anon_key):
        found = only_wrong(production, supabase_service_role_key=SecretStr(key))
        assert (found.what, "SUPABASE_SERVICE_ROLE_KEY" in found.detail) == ("catalog", True)
        assert "Copy the key of service_role" in found.detail


def test_a_schema_that_is_not_exposed_is_named(production: Settings) -> None:
    found = only_wrong(production, supabase_schema="another")
    assert "does not expose the schema another" in found.detail
    assert "Exposed schemas" in found.detail


def test_a_schema_never_made_or_left_behind_asks_for_migrate(
    production: Settings, supabase: Supabase
) -> None:
    with supabase_project() as bare:
        never = bare.settings()
        found = only_wrong(
            production,
            supabase_url=never.supabase_url,
            supabase_service_role_key=never.supabase_service_role_key,
        )
    assert "Run `captionacc migrate`" in found.detail
    (last,) = supabase.execute(
        "DELETE FROM schema_migrations WHERE version = (SELECT max(version) FROM schema_migrations) "
        "RETURNING version, name, applied_at"
    )
    try:
        assert "Run `captionacc migrate`" in only_wrong(production).detail
    finally:
        supabase.execute(
            "INSERT INTO schema_migrations (version, name, applied_at) VALUES (%s, %s, %s)", last
        )


def test_a_schema_of_a_newer_captionacc_is_named(production: Settings, supabase: Supabase) -> None:
    supabase.execute("INSERT INTO schema_migrations (version, name) VALUES (999, 'of the future')")
    try:
        assert "newer captionacc" in only_wrong(production).detail
    finally:
        supabase.execute("DELETE FROM schema_migrations WHERE version = 999")


# --- the bucket


@pytest.mark.parametrize(
    ("allowed", "complaint"),
    [
        ([LIST, READ, DELETE], "may not write to the bucket"),
        ([LIST, WRITE, DELETE], "may not read from the bucket"),
        ([LIST, READ, WRITE], "may not delete from the bucket"),
        ([READ, WRITE, DELETE], "may not list the bucket"),
    ],
)
def test_each_missing_permission_is_named(
    production: Settings, s3: S3Server, allowed: list[str], complaint: str
) -> None:
    statement = {"Effect": "Allow", "Action": allowed, "Resource": "*"}
    access = s3.make_user(f"user-{uuid.uuid4()}", {"Version": "2012-10-17", "Statement": [statement]})
    with s3.keys_enforced():
        found = only_wrong(production, **of_access(access))
    assert (found.what, complaint in found.detail) == ("object store", True)
    assert "Allow their user s3:ListBucket" in found.detail


def test_a_missing_bucket_and_wrong_keys_are_told_apart(production: Settings, s3: S3Server) -> None:
    assert "no bucket nowhere" in only_wrong(production, wasabi_bucket="nowhere").detail
    statement = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    access = s3.make_user(f"user-{uuid.uuid4()}", {"Version": "2012-10-17", "Statement": [statement]})
    good = of_access(access)
    with s3.keys_enforced():
        assert is_ready(examine(production.model_copy(update=good)))
        wrong_secret = only_wrong(production, **good | {"wasabi_secret_key": SecretStr("another")})
        unknown_key = only_wrong(production, **good | {"wasabi_access_key": SecretStr("ANOTHER")})
    assert "Correct WASABI_SECRET_KEY_READWRITE" in wrong_secret.detail
    assert "Correct WASABI_ACCESS_KEY_READWRITE" in unknown_key.detail


def test_a_wrong_region_and_a_wrong_endpoint_are_told_apart(production: Settings, s3: S3Server) -> None:
    proxy = FaultyProxy(s3)
    proxy.commit("GET", Refusal(400, "AuthorizationHeaderMalformed"))
    try:
        elsewhere = only_wrong(production, wasabi_endpoint_url=proxy.access.endpoint)
    finally:
        proxy.close()
    assert "Correct WASABI_REGION" in elsewhere.detail
    nobody = only_wrong(production, wasabi_endpoint_url="http://127.0.0.1:1")
    assert "cannot be reached. Correct WASABI_ENDPOINT_URL" in nobody.detail
    no_url = only_wrong(production, wasabi_endpoint_url="s3.wasabisys.com")
    assert "WASABI_ENDPOINT_URL is not a URL" in no_url.detail


@pytest.fixture
def silent_url(modal: ModalServer) -> Iterator[str]:
    """Where connections are taken and nothing is ever said, to Modal's client among others."""
    modal_compute._client.cache_clear()
    with socket.create_server(("127.0.0.1", 0)) as nobody, pytest.MonkeyPatch.context() as patch:
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        patch.setenv("MODAL_SERVER_URL", url)
        yield url
    modal_compute._client.cache_clear()


def test_services_that_keep_silent_hold_nobody_up(
    production: Settings, silent_url: str, vision: VisionServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "LIMIT_S", 10.0)
    monkeypatch.setattr(vision, "delay_s", 20.0)
    silent = {"wasabi_endpoint_url": silent_url, "supabase_url": silent_url}
    started = time.monotonic()
    findings = examine(production.model_copy(update=silent))
    took_s = time.monotonic() - started
    details = {each.what: each.detail for each in findings if each.state == "missing"}
    assert details.keys() == {"object store", "catalog", "compute", "Google Vision"}
    assert details["Google Vision"] == "no answer within 10 seconds"
    for service in ("object store", "catalog"):
        assert "did not answer in time" in details[service]
    assert "Modal did not answer within 6 seconds" in details["compute"]
    assert took_s < 11


# --- Modal


def test_an_app_that_is_not_deployed_is_told_from_a_token_that_is_not_accepted(
    production: Settings, modal: ModalServer
) -> None:
    modal.deployed.remove("generate_caption_ocr")
    found = only_wrong(production)
    assert (found.what, "generate_caption_ocr" in found.detail) == ("compute", True)
    assert "make deploy-compute" in found.detail
    found = only_wrong(production, modal_token_secret=SecretStr("as-another"))
    assert (found.what, "MODAL_TOKEN_SECRET" in found.detail) == ("compute", True)


# --- Google Vision


@pytest.mark.parametrize(
    ("failure", "fix"),
    [
        (
            Failure(403, "not used before", "SERVICE_DISABLED"),
            "Enable it at https://console.cloud.google.com",
        ),
        (Failure(403, "no billing", "BILLING_DISABLED"), "Link one at https://console.cloud.google.com"),
        (Failure(403, "no permission", "IAM_PERMISSION_DENIED"), "Give it the role Service Usage Consumer"),
    ],
)
def test_what_vision_refuses_says_what_to_do(
    production: Settings, vision: VisionServer, failure: Failure, fix: str
) -> None:
    vision.failures.append(failure)
    found = only_wrong(production)
    assert (found.what, fix in found.detail) == ("Google Vision", True)


def test_a_google_key_that_is_none_is_told_from_one_that_is_not_accepted(production: Settings) -> None:
    no_key = only_wrong(production, google_credentials_json=SecretStr('{"type": "service_account"'))
    assert "Put the whole content of a service account's key file" in no_key.detail
    somebody_elses = SecretStr(VisionServer(lambda image: []).credentials_json)
    refused = only_wrong(production, google_credentials_json=somebody_elses)
    assert "Google does not accept the key" in refused.detail
