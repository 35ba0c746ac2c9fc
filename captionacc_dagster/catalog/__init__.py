"""Which catalog the settings stand for: the only place that knows the implementations by name."""

from __future__ import annotations

from captionacc_dagster.catalog.protocol import Catalog
from captionacc_dagster.catalog.sqlite import SqliteCatalog
from captionacc_dagster.settings import Settings


def open_catalog(settings: Settings) -> Catalog:
    """The catalog, created or upgraded where needed. Raises SettingsError, or CatalogError if it cannot be
    used.
    """
    settings.refuse_cloud()
    return SqliteCatalog(settings.catalog_path)
