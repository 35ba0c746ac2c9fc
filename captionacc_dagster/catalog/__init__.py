"""Which catalog the settings stand for: the only place that knows the implementations by name."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from captionacc_dagster.catalog.migrations import Step, steps
from captionacc_dagster.catalog.migrations import sqlite as sqlite_migrations
from captionacc_dagster.catalog.protocol import Catalog, CatalogError, CatalogUnavailable
from captionacc_dagster.catalog.sqlite import SqliteCatalog
from captionacc_dagster.settings import Settings, SettingsError

_NOT_INSTALLED = "The packages of production are not installed: pip install 'captionacc-dagster[cloud]'"


def open_catalog(settings: Settings) -> Catalog:
    """The catalog; a local one is created or upgraded where needed. Raises SettingsError, CatalogError."""
    settings.require_complete()
    if settings.profile == "local":
        return SqliteCatalog(settings.catalog_path)
    return open_supabase(settings)


def open_supabase(settings: Settings, **patience: float) -> Catalog:
    """Production's catalog, whatever else is not set. `patience`: gateway.Gateway's seconds, by name.

    Raises SettingsError, CatalogUnavailable.
    """
    url, key = settings.supabase_url, settings.supabase_service_role_key
    if not (url and key):
        raise SettingsError("The catalog cannot be opened: set SUPABASE_URL and SUPABASE_SERVICE_ROLE_KEY.")
    try:
        # The local profile does not pay for Supabase's client.
        from captionacc_dagster.catalog.gateway import Gateway  # noqa: PLC0415
        from captionacc_dagster.catalog.supabase import SupabaseCatalog  # noqa: PLC0415
    except ImportError as error:
        raise CatalogUnavailable(_NOT_INSTALLED, kind="not_installed") from error
    return SupabaseCatalog(Gateway(url, key.get_secret_value(), settings.supabase_schema, **patience))


def pending_steps(settings: Settings) -> list[Step]:
    """The migrations that `migrate` would apply. Raises SettingsError, CatalogError."""
    if settings.profile == "cloud":
        return _postgres().pending(_database_url(settings), settings.supabase_schema)
    if not settings.catalog_path.exists():
        return steps("sqlite")
    try:
        with closing(sqlite3.connect(f"{settings.catalog_path.as_uri()}?mode=ro", uri=True)) as connection:
            return sqlite_migrations.pending(connection)
    except sqlite3.Error as error:
        raise CatalogError(f"The catalog {settings.catalog_path} cannot be read: {error}.") from error


def migrate(settings: Settings) -> list[Step]:
    """Bring the catalog to this version's schema; answers what was applied.

    Raises SettingsError, CatalogError.
    """
    if settings.profile == "cloud":
        return _postgres().migrate(_database_url(settings), settings.supabase_schema)
    pending = pending_steps(settings)
    SqliteCatalog(settings.catalog_path).close()
    return pending


def _database_url(settings: Settings) -> str:
    if settings.database_url is None:
        raise SettingsError(
            "Not set: SUPABASE_DB_URL. Migrations need a direct connection to Postgres: in the dashboard's "
            "Connect dialog, the URL of the direct connection or of the session pooler."
        )
    return settings.database_url.get_secret_value()


def _postgres():
    try:
        from captionacc_dagster.catalog.migrations import postgres  # noqa: PLC0415
    except ImportError as error:
        raise CatalogUnavailable(_NOT_INSTALLED, kind="not_installed") from error
    return postgres
