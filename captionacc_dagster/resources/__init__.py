"""The graph's resources: catalog, object store and compute, opened when first needed."""

from collections.abc import Mapping

import dagster as dg

from captionacc_dagster.catalog import open_catalog
from captionacc_dagster.progress import ProgressListener
from captionacc_dagster.resources.compute import LocalCompute
from captionacc_dagster.settings import Settings, open_store


def build_resources(settings: Settings, listener: ProgressListener | None = None) -> Mapping[str, object]:
    """Resources by name for these settings. `listener` hears the progress of local compute."""
    return {
        "catalog": dg.ResourceDefinition(lambda _: open_catalog(settings)),
        "store": dg.ResourceDefinition(lambda _: open_store(settings)),
        "compute": LocalCompute(settings, listener),
    }
