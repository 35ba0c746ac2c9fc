"""The graph's resources: the catalog, the object store and compute, opened when a run or a sensor first
needs them.
"""

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
