"""The graph's resources: catalog, object store and compute, opened when first needed."""

from collections.abc import Mapping

import dagster as dg

from captionacc_dagster.catalog import open_catalog
from captionacc_dagster.progress import ProgressListener
from captionacc_dagster.resources.compute import Compute
from captionacc_dagster.resources.local_compute import LocalCompute
from captionacc_dagster.settings import Settings, open_store


def build_resources(settings: Settings, listener: ProgressListener | None = None) -> Mapping[str, object]:
    """Resources by name for these settings. `listener` hears the progress of computations."""
    return {
        "catalog": dg.ResourceDefinition(lambda _: open_catalog(settings)),
        "store": dg.ResourceDefinition(lambda _: open_store(settings)),
        "compute": dg.ResourceDefinition(lambda _: open_compute(settings, listener)),
    }


def open_compute(settings: Settings, listener: ProgressListener | None = None) -> Compute:
    """Where the profile computes. Opens no connection. Raises SettingsError."""
    settings.require_complete()
    if settings.profile == "local":
        return LocalCompute(settings, listener)
    # Only the cloud profile has the modal package.
    from captionacc_dagster.resources.modal_compute import ModalCompute  # noqa: PLC0415

    return ModalCompute(settings, listener)
