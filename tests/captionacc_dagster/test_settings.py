"""What the environment turns into."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from captionacc_dagster.catalog.protocol import Stage
from captionacc_dagster.settings import DEFAULT_TENANT_ID, Settings, SettingsError, load_settings


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("CAPTIONACC_", "SUPABASE_", "WASABI_", "MODAL_")) or name == "DAGSTER_HOME":
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
    monkeypatch.setenv("SUPABASE_SERVICE_ROLE_KEY", "hunter2")
    settings = load_settings()
    assert "hunter2" not in f"{settings!r} {settings} {settings.model_dump_json()}"
    assert settings.wasabi_secret_key is not None
    assert settings.wasabi_secret_key.get_secret_value() == "hunter2"


def test_the_cloud_profile_says_what_it_lacks() -> None:
    settings = Settings(profile="cloud", wasabi_bucket="media")
    assert settings.store_url == "s3://media"
    with pytest.raises(SettingsError, match="WASABI_ENDPOINT_URL") as refused:
        settings.refuse_cloud()
    assert "WASABI_BUCKET" not in str(refused.value)
    assert "CAPTIONACC_PROFILE=local" in str(refused.value)
