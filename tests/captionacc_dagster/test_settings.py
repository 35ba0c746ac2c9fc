"""What the environment turns into."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from captionacc_dagster.catalog.protocol import Stage
from captionacc_dagster.settings import DEFAULT_TENANT_ID, Settings, SettingsError, load_settings, open_store
from gpu_ops.s3 import S3Access


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("CAPTIONACC_", "SUPABASE_", "WASABI_", "MODAL_", "GOOGLE_", "DAGSTER_")):
            monkeypatch.delenv(name)


def test_everything_lives_below_one_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CAPTIONACC_HOME", str(tmp_path / "my home"))
    settings = load_settings()
    assert settings.profile == "local"
    assert settings.store_url == f"file://{tmp_path}/my%20home/store"
    assert settings.catalog_path == tmp_path / "my home" / "catalog.db"
    assert settings.dagster_home == tmp_path / "my home" / "dagster"
    assert settings.tenant_id == DEFAULT_TENANT_ID
    assert not (tmp_path / "my home").exists()


def test_without_a_home_the_users_own_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_settings().home == tmp_path / ".captionacc"


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CAPTIONACC_HOME", "")
    assert load_settings().home == tmp_path / ".captionacc"


def test_dagster_home_wins_where_it_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "elsewhere"))
    assert load_settings().dagster_home == tmp_path / "elsewhere"


def test_a_relative_home_becomes_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAPTIONACC_HOME", "here")
    assert load_settings().home == tmp_path / "here"


def test_time_limits_leave_room_for_ten_hours_of_film_and_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAPTIONACC_CAPTIONS_TIME_LIMIT_S", "12.5")
    settings = load_settings()
    assert [settings.time_limit_s(stage) for stage in Stage] == [4 * 3600, 12 * 3600, 12.5]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CAPTIONACC_PROFILE", "moon"),
        ("CAPTIONACC_TENANT_ID", "../etc"),
        ("CAPTIONACC_THREADS", "0"),
        ("CAPTIONACC_LAYOUT_TIME_LIMIT_S", "soon"),
        ("CAPTIONACC_OCR_ENGINE", "eyes"),
        ("SUPABASE_SCHEMA", "public; DROP SCHEMA public"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=variable):
        load_settings()


def test_secrets_are_never_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WASABI_SECRET_KEY_READWRITE", "hunter2")
    for variable in ("SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_DB_URL", "DAGSTER_POSTGRES_URL"):
        monkeypatch.setenv(variable, "hunter2")
    settings = load_settings()
    assert "hunter2" not in f"{settings!r} {settings} {settings.model_dump_json()}"
    assert settings.wasabi_secret_key is not None
    assert settings.wasabi_secret_key.get_secret_value() == "hunter2"


CLOUD = {
    "CAPTIONACC_PROFILE": "cloud",
    "SUPABASE_URL": "http://127.0.0.1:9",
    "SUPABASE_SERVICE_ROLE_KEY": "key",
    "WASABI_ACCESS_KEY_READWRITE": "access",
    "WASABI_SECRET_KEY_READWRITE": "secret",
    "WASABI_BUCKET": "media",
    "WASABI_REGION": "eu-central-1",
    "WASABI_ENDPOINT_URL": "http://127.0.0.1:9",
    "MODAL_TOKEN_ID": "ak",
    "MODAL_TOKEN_SECRET": "as",
    "GOOGLE_APPLICATION_CREDENTIALS_JSON": "{}",
}


def test_the_local_profile_needs_no_variable() -> None:
    load_settings().require_complete()


def test_the_cloud_profile_names_every_variable_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAPTIONACC_PROFILE", "cloud")
    with pytest.raises(SettingsError) as refused:
        load_settings().require_complete()
    for variable in CLOUD:
        assert variable in str(refused.value)


@pytest.mark.parametrize("variable", [name for name in CLOUD if name != "CAPTIONACC_PROFILE"])
def test_the_cloud_profile_names_the_one_variable_it_lacks_and_no_other(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    for name, value in CLOUD.items():
        monkeypatch.setenv(name, value)
    load_settings().require_complete()
    monkeypatch.delenv(variable)
    with pytest.raises(SettingsError, match=f"Not set: {variable}\\."):
        open_store(load_settings())


def test_the_bucket_is_reached_with_the_endpoint_region_and_keys_that_are_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in CLOUD.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.store_access == S3Access(
        endpoint="http://127.0.0.1:9",
        region="eu-central-1",
        access_key_id="access",
        secret_access_key="secret",
    )
    assert open_store(settings).url == "s3://media"


def test_each_profile_has_its_ocr_engine_and_either_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().ocr_engine_in_force == "rapid"
    assert Settings(profile="cloud").ocr_engine_in_force == "google_vision"
    monkeypatch.setenv("CAPTIONACC_OCR_ENGINE", "google_vision")
    settings = load_settings()
    assert settings.ocr_engine_in_force == "google_vision"
    assert settings.missing() == ["GOOGLE_APPLICATION_CREDENTIALS_JSON"]
