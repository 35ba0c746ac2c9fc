"""One Dagster instance for both profiles: what is in dagster.yaml, and where runs are stored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml
from pydantic import SecretStr

from captionacc_dagster.instance import dagster_environment, open_instance, prepare_home
from captionacc_dagster.settings import Settings, SettingsError
from tests.servers.postgres import PASSWORD, Postgres, postgres_server

SECRETS = {"wasabi_access_key": "an-access-key", "wasabi_secret_key": "a-secret-key"}


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with postgres_server() as server:
        yield server


def settings_with(home: Path, url: str) -> Settings:
    return Settings(home=home, dagster_home_override=None, dagster_postgres_url=SecretStr(url))


def cloud_settings(home: Path, url: str | None = None) -> Settings:
    return Settings(
        profile="cloud",
        home=home,
        dagster_home_override=None,
        wasabi_bucket="media",
        wasabi_region="eu-central-1",
        wasabi_endpoint_url="http://127.0.0.1:1",
        dagster_postgres_url=None if url is None else SecretStr(url),
        **{name: SecretStr(value) for name, value in SECRETS.items()},
    )


def test_without_postgres_runs_are_stored_below_the_home(settings: Settings) -> None:
    with open_instance(settings) as instance:
        run_id = _run(instance)
    with open_instance(settings) as again:
        assert again.get_run_by_id(run_id) is not None
    assert (settings.dagster_home / "history" / "runs.db").exists()


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_with_postgres_a_run_is_stored_there_and_not_in_the_home(
    scheme: str, postgres: Postgres, tmp_path: Path
) -> None:
    database = f"storage_{scheme.replace('+', '_')}"
    url = postgres.create_database(database).replace("postgresql", scheme, 1)
    with open_instance(settings_with(tmp_path, url)) as instance:
        run_id = _run(instance)
    assert postgres.execute("SELECT run_id, status FROM runs", database) == [(run_id, "SUCCESS")]
    assert not list(tmp_path.rglob("*.db"))


def test_the_file_refers_to_secrets_and_never_holds_them(postgres: Postgres, tmp_path: Path) -> None:
    text = (prepare_home(cloud_settings(tmp_path, postgres.url())) / "dagster.yaml").read_text()
    for secret in (PASSWORD, *SECRETS.values()):
        assert secret not in text
    written = yaml.safe_load(text)
    assert written["storage"]["postgres"]["postgres_url"] == {"env": "DAGSTER_POSTGRES_URL"}
    assert written["compute_logs"]["config"]["bucket"] == {"env": "WASABI_BUCKET"}


def test_the_environment_of_dagsters_processes_carries_what_the_file_refers_to(tmp_path: Path) -> None:
    settings = cloud_settings(tmp_path, "postgres://me:word@host/name")
    assert dagster_environment(settings) == {
        "DAGSTER_POSTGRES_URL": "postgresql+psycopg2://me:word@host/name",
        "AWS_ACCESS_KEY_ID": "an-access-key",
        "AWS_SECRET_ACCESS_KEY": "a-secret-key",
    }


def test_both_profiles_keep_the_limits_of_the_base_file(tmp_path: Path) -> None:
    local = Settings(home=tmp_path / "local", dagster_home_override=None)
    cloud = cloud_settings(tmp_path / "cloud")
    files = [yaml.safe_load((prepare_home(each) / "dagster.yaml").read_text()) for each in (local, cloud)]
    assert files[0]["concurrency"] == files[1]["concurrency"]


def test_going_back_to_the_folder_removes_postgres_from_the_file(postgres: Postgres, tmp_path: Path) -> None:
    prepare_home(settings_with(tmp_path, postgres.url()))
    home = prepare_home(Settings(home=tmp_path, dagster_home_override=None, dagster_postgres_url=None))
    assert "storage" not in yaml.safe_load((home / "dagster.yaml").read_text())
    assert [path.name for path in home.iterdir()] == ["dagster.yaml"]


def test_a_url_of_another_database_is_refused_without_showing_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="DAGSTER_POSTGRES_URL must look like") as refused:
        prepare_home(settings_with(tmp_path, f"mysql://me:{PASSWORD}@host/name"))
    assert PASSWORD not in str(refused.value)


def test_a_server_that_refuses_the_password_is_reported_in_a_sentence_without_it(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagster_postgres.utils.time.sleep", lambda _: None)
    wrong = postgres.url().replace(PASSWORD, "not-the-password")
    with pytest.raises(SettingsError, match="password authentication failed") as refused:
        open_instance(settings_with(tmp_path, wrong))
    assert "Check DAGSTER_POSTGRES_URL" in str(refused.value)
    assert "not-the-password" not in str(refused.value)


def _run(instance: dg.DagsterInstance) -> str:
    @dg.job
    def empty() -> None:
        pass

    return empty.execute_in_process(instance=instance).run_id
