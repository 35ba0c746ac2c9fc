"""One place that reads the environment, so that everything else is told what to do by a `Settings` value.

Reading it opens no connection and makes no folder. `profile` picks where things live: `local` keeps store,
catalog and Dagster's storage below one folder; `cloud` is Wasabi, Supabase and Modal.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from gpu_ops.contract import OcrEngineName, checked_id
from gpu_ops.s3 import S3Access
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

    # None: the profile's own, see ocr_engine_in_force.
    ocr_engine: OcrEngineName | None = None
    modal_app_name: str = "captionacc-processing"

    supabase_url: str | None = Field(default=None, validation_alias="SUPABASE_URL")
    supabase_service_role_key: SecretStr | None = Field(
        default=None, validation_alias="SUPABASE_SERVICE_ROLE_KEY"
    )
    supabase_schema: str = Field(default="captionacc", validation_alias="SUPABASE_SCHEMA")
    # Direct connections to Postgres: for migrations of the catalog, and for Dagster's own storage.
    database_url: SecretStr | None = Field(default=None, validation_alias="SUPABASE_DB_URL")
    dagster_postgres_url: SecretStr | None = Field(default=None, validation_alias="DAGSTER_POSTGRES_URL")
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

    @field_validator("home", "dagster_home_override")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return None if path is None else Path(os.path.abspath(path.expanduser()))

    @field_validator("tenant_id")
    @classmethod
    def _is_tenant(cls, value: str) -> str:
        return checked_id(value, "tenant")

    @field_validator("supabase_schema")
    @classmethod
    def _is_identifier(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", value):
            raise ValueError(
                "not a schema name: lower-case letters, digits and '_', not beginning with a digit"
            )
        return value

    @property
    def store_path(self) -> Path:
        """The folder that is the local object store."""
        return self.home / "store"

    @property
    def store_url(self) -> str:
        """Where objects lie: file:///… (percent-encoded) or s3://bucket."""
        return f"s3://{self.wasabi_bucket}" if self.profile == "cloud" else self.store_path.as_uri()

    @property
    def store_access(self) -> S3Access | None:
        """The keys to the bucket; None for a folder. Raises SettingsError naming the variables not set."""
        if self.profile == "local":
            return None
        endpoint, region = self.wasabi_endpoint_url, self.wasabi_region
        key, secret = self.wasabi_access_key, self.wasabi_secret_key
        if not (self.wasabi_bucket and endpoint and region and key and secret):
            unset = [name for name in self.missing() if name.startswith("WASABI_")]
            raise SettingsError(f"The object store cannot be opened: set {', '.join(unset)}.")
        return S3Access(
            endpoint=endpoint,
            region=region,
            access_key_id=key.get_secret_value(),
            secret_access_key=secret.get_secret_value(),
        )

    @property
    def store_place(self) -> str:
        """Where objects lie, as a person reads it: the bucket, or the folder's path."""
        return self.store_url if self.profile == "cloud" else str(self.store_path)

    @property
    def ocr_engine_in_force(self) -> OcrEngineName:
        """The engine that reads text: the one that was set, else the profile's own."""
        return self.ocr_engine or ("google_vision" if self.profile == "cloud" else "rapid")

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

    def missing(self) -> list[str]:
        """Names of the environment variables that the profile needs and that are not set."""
        needed: list[str] = []
        if self.profile == "cloud":
            needed += [
                "supabase_url",
                "supabase_service_role_key",
                "wasabi_access_key",
                "wasabi_secret_key",
                "wasabi_bucket",
                "wasabi_region",
                "wasabi_endpoint_url",
                "modal_token_id",
                "modal_token_secret",
            ]
        if self.ocr_engine_in_force == "google_vision":
            needed.append("google_credentials_json")
        return [variable_of(name) for name in needed if not getattr(self, name)]

    def require_complete(self) -> None:
        """Raise SettingsError naming every variable that the profile needs and that is not set."""
        missing = self.missing()
        if missing:
            raise SettingsError(
                f"Not set: {', '.join(missing)}. The profile {self.profile} with the OCR engine "
                f"{self.ocr_engine_in_force} needs them; CAPTIONACC_PROFILE=local by itself needs none."
            )


def open_store(settings: Settings) -> ObjectStore:
    """The object store; a local folder is created where it is absent. Raises SettingsError."""
    settings.require_complete()
    try:
        return ObjectStore.open(settings.store_url, settings.store_access)
    except OSError as error:
        raise SettingsError(
            f"The store {settings.store_place} cannot be used: {error.strerror}. "
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
