"""Which catalog and which store the settings stand for: the only place that knows the implementations by
name.
"""

from __future__ import annotations

from captionacc_dagster.catalog.protocol import Catalog
from captionacc_dagster.catalog.sqlite import SqliteCatalog
from captionacc_dagster.settings import Settings
from gpu_ops.store import ObjectStore


def open_catalog(settings: Settings) -> Catalog:
    """The catalog, created or upgraded where needed. Raises SettingsError, or CatalogError if it cannot be
    used.
    """
    settings.refuse_cloud()
    return SqliteCatalog(settings.catalog_path)


def open_store(settings: Settings) -> ObjectStore:
    """The object store; a local folder is created where it is absent. Raises SettingsError."""
    settings.refuse_cloud()
    return ObjectStore.open(settings.store_url)
