"""One place that reads the environment, so that everything else is told what to do by a `Settings` value.

Reading it opens no connection and makes no folder. `profile` picks where things live: `local` keeps store,
catalog and Dagster's storage below one folder; `cloud` is Wasabi, Supabase and Modal.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from gpu_ops.contract import checked_id
from gpu_ops.store import ObjectStore

DEFAULT_TENANT_ID = "00000000-0000-0000-0000-000000000001"


class SettingsError(Exception):
    """The environment asks for something impossible; the message names the variable and what to do."""


def _usable_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Settings(BaseSettings):
    """Every field is read from CAPTIONACC_<FIELD>, or from the alias it names. Empty means unset."""

    model_config = SettingsConfigDict(
        env_prefix="CAPTIONACC_", env_ignore_empty=True, populate_by_name=True, frozen=True, extra="ignore"
    )

    profile: Literal["local", "cloud"] = "local"
    home: Path = Field(default_factory=lambda: Path.home() / ".captionacc")
    dagster_home_override: Path | None = Field(default=None, validation_alias="DAGSTER_HOME")
    tenant_id: str = DEFAULT_TENANT_ID
    threads: int = Field(default_factory=_usable_cpus, ge=1)

    # Computations that go on at the same time on this machine.
    compute_slots: int = Field(default_factory=lambda: max(1, _usable_cpus() // 2), ge=1)

    # How long one compute call of a stage may take, in seconds; its process is stopped then.
    # Far above what a ten-hour film takes on two cores: a limit is for what hangs, not for what is long.
    layout_time_limit_s: float = Field(default=4 * 60 * 60, gt=0)
    extents_time_limit_s: float = Field(default=12 * 60 * 60, gt=0)
    captions_time_limit_s: float = Field(default=60 * 60, gt=0)

    # The least time between two looks at the catalog; a new video waits this long plus the start of a run.
    sensor_interval_s: int = Field(default=5, ge=1)
    aging_interval_s: int = Field(default=60, ge=1)
    stuck_after_minutes: float = Field(default=10, gt=0)
    stuck_check_minutes: int = Field(default=15, ge=1)

    supabase_url: str | None = Field(default=None, validation_alias="SUPABASE_URL")
    supabase_service_role_key: SecretStr | None = Field(
        default=None, validation_alias="SUPABASE_SERVICE_ROLE_KEY"
    )
    supabase_schema: str = Field(default="captionacc", validation_alias="SUPABASE_SCHEMA")
    wasabi_access_key: SecretStr | None = Field(default=None, validation_alias="WASABI_ACCESS_KEY_READWRITE")
    wasabi_secret_key: SecretStr | None = Field(default=None, validation_alias="WASABI_SECRET_KEY_READWRITE")
    wasabi_bucket: str | None = Field(default=None, validation_alias="WASABI_BUCKET")
    wasabi_region: str | None = Field(default=None, validation_alias="WASABI_REGION")
    wasabi_endpoint_url: str | None = Field(default=None, validation_alias="WASABI_ENDPOINT_URL")
    modal_token_id: SecretStr | None = Field(default=None, validation_alias="MODAL_TOKEN_ID")
    modal_token_secret: SecretStr | None = Field(default=None, validation_alias="MODAL_TOKEN_SECRET")
    google_credentials_json: SecretStr | None = Field(
        default=None, validation_alias="GOOGLE_APPLICATION_CREDENTIALS_JSON"
    )
    webhook_secret: SecretStr | None = Field(default=None, validation_alias="WEBHOOK_SECRET")

    @field_validator("home", "dagster_home_override")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return None if path is None else Path(os.path.abspath(path.expanduser()))

    @field_validator("tenant_id")
    @classmethod
    def _is_tenant(cls, value: str) -> str:
        return checked_id(value, "tenant")

    @property
    def store_path(self) -> Path:
        """The folder that is the local object store."""
        return self.home / "store"

    @property
    def store_url(self) -> str:
        """Where objects lie: file:///… (percent-encoded) or s3://bucket."""
        return f"s3://{self.wasabi_bucket}" if self.profile == "cloud" else self.store_path.as_uri()

    @property
    def catalog_path(self) -> Path:
        return self.home / "catalog.db"

    @property
    def dagster_home(self) -> Path:
        """DAGSTER_HOME where set, so that `dagster dev` and `captionacc` share one instance."""
        return self.dagster_home_override or self.home / "dagster"

    def time_limit_s(self, stage: str) -> float:
        """Seconds one compute call of a catalog.protocol.Stage may take."""
        return {
            "layout": self.layout_time_limit_s,
            "extents": self.extents_time_limit_s,
            "captions": self.captions_time_limit_s,
        }[stage]

    def missing_for_cloud(self) -> list[str]:
        """Names of the environment variables that the cloud profile needs and that are not set."""
        needed = (
            "supabase_url",
            "supabase_service_role_key",
            "wasabi_access_key",
            "wasabi_secret_key",
            "wasabi_bucket",
            "wasabi_region",
            "wasabi_endpoint_url",
            "modal_token_id",
            "modal_token_secret",
            "google_credentials_json",
            "webhook_secret",
        )
        return [variable_of(name) for name in needed if not getattr(self, name)]

    def refuse_cloud(self) -> None:
        """Raise SettingsError unless the profile is local: this version carries no Supabase catalog yet."""
        if self.profile == "cloud":
            missing = self.missing_for_cloud()
            unset = f" Not set either: {', '.join(missing)}." if missing else ""
            raise SettingsError(
                "CAPTIONACC_PROFILE=cloud asks for the Supabase catalog, which this version does not have. "
                f"Use CAPTIONACC_PROFILE=local.{unset}"
            )


def open_store(settings: Settings) -> ObjectStore:
    """The object store; a local folder is created where it is absent. Raises SettingsError."""
    settings.refuse_cloud()
    try:
        return ObjectStore.open(settings.store_url)
    except OSError as error:
        raise SettingsError(
            f"The store {settings.store_path} cannot be used: {error.strerror}. "
            "Set CAPTIONACC_HOME to a folder you may write to."
        ) from error


def variable_of(field: str) -> str:
    """The environment variable that sets a field of Settings."""
    alias = Settings.model_fields[field].validation_alias
    return str(alias) if alias else f"CAPTIONACC_{field.upper()}"


def load_settings() -> Settings:
    """Read the environment. Raises SettingsError naming each variable with a wrong value."""
    try:
        return Settings()
    except ValidationError as error:
        problems = [
            f"{_variable_named(str(problem['loc'][0]))}: {problem['msg']}"
            for problem in error.errors(include_input=False)
        ]
        raise SettingsError("; ".join(problems)) from None


def _variable_named(location: str) -> str:
    return variable_of(location) if location in Settings.model_fields else location
