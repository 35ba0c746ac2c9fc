"""The services of production: asked whether they would serve us, with what the settings say.

What they refuse comes as an error whose message says what to do; it is shown as it is.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from captionacc_dagster.catalog import open_supabase
from captionacc_dagster.catalog.protocol import CatalogError
from captionacc_dagster.doctor.finding import Finding
from captionacc_dagster.settings import Settings, SettingsError
from gpu_ops.contract import ComputeError
from gpu_ops.s3 import Patience
from gpu_ops.store import ObjectStore

# Beside every tenant's folder, so that no client can read it.
PROBE_FOLDER = "captionacc-doctor"
STORE_PATIENCE = Patience(connect_s=3, silence_s=4, request_s=8, retries=1, retry_within_s=6)
REPLY_TIMEOUT_S, CATALOG_PATIENCE_S = 5.0, 2.0
VISION_PATIENCE_S = 4.0

INSTALL = "pip install 'captionacc-dagster[cloud]'"


def bucket(settings: Settings) -> Iterator[Finding]:
    """List, write, read and delete, each of which is needed and may be forbidden by itself."""
    key = f"{PROBE_FOLDER}/{uuid.uuid4()}"
    try:
        store = ObjectStore.open(settings.store_url, settings.store_access, patience=STORE_PATIENCE)
        list(store.list(PROBE_FOLDER))
        store.put(key, b"")
        store.get(key)
        store.delete([key])
    except (ComputeError, SettingsError) as error:
        yield Finding("object store", "missing", str(error))
    else:
        yield Finding(
            "object store", "ok", f"{settings.store_url} can be listed, read, written, deleted from"
        )


def catalog(settings: Settings) -> Iterator[Finding]:
    try:
        supabase = open_supabase(settings, reply_timeout_s=REPLY_TIMEOUT_S, patience_s=CATALOG_PATIENCE_S)
        facts = supabase.describe()
    except (CatalogError, SettingsError) as error:
        yield Finding("catalog", "missing", str(error))
    else:
        detail = f"{facts['where']}, version {facts['schema_version']}, videos: {facts['videos']}"
        yield Finding("catalog", "ok", detail)


def compute(settings: Settings) -> Iterator[Finding]:
    try:
        from captionacc_dagster.resources.modal_compute import ModalCompute  # noqa: PLC0415
    except ImportError:
        yield Finding("compute", "missing", "the client of Modal is not installed", INSTALL)
        return
    try:
        ModalCompute(settings).check_access()
    except ComputeError as error:
        yield Finding("compute", "missing", str(error))
    else:
        yield Finding("compute", "ok", f"{settings.modal_app_name} is deployed on Modal")


def vision(settings: Settings) -> Iterator[Finding]:
    key = settings.google_credentials_json
    try:
        from gpu_ops.ocr.vision_client import VisionClient  # noqa: PLC0415

        client = VisionClient(key.get_secret_value() if key else "", patience_s=VISION_PATIENCE_S)
        client.check_access()
    except ImportError:
        install = "pip install 'captionacc-dagster[vision]'"
        yield Finding("Google Vision", "note", "not looked at: its client is not installed here", install)
    except ComputeError as error:
        yield Finding("Google Vision", "missing", str(error))
    else:
        yield Finding("Google Vision", "ok", "the key is accepted and the API enabled")
