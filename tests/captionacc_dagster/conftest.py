"""A catalog, a store and a Dagster instance for one test, and the builders that fill them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from captionacc_dagster.catalog import open_catalog
from captionacc_dagster.catalog.protocol import Catalog, Stage, Video
from captionacc_dagster.settings import DEFAULT_TENANT_ID, Settings, open_store
from gpu_ops.contract import VideoKeys
from gpu_ops.store import ObjectStore
from tests.captionacc_dagster.builders import AddVideo, extract_result


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", dagster_home_override=None)


@pytest.fixture
def catalog(settings: Settings) -> Catalog:
    return open_catalog(settings)


@pytest.fixture
def store(settings: Settings) -> ObjectStore:
    return open_store(settings)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as ephemeral:
        yield ephemeral


@pytest.fixture
def add_video(catalog: Catalog) -> AddVideo:
    """Adds a row and moves it, by the catalog's own statements, to where the test needs it."""

    def add(name: str = "film.mp4", *, status: str = "pending", tenant_id: str = DEFAULT_TENANT_ID) -> Video:
        video_id = str(uuid.uuid4())
        keys = VideoKeys(tenant_id, video_id)
        catalog.add_video(
            video_id=video_id,
            tenant_id=tenant_id,
            display_path=name,
            storage_key=keys.video,
            size_bytes=1000,
            content_sha256="0" * 64,
            status="pending" if status == "active" else status,
        )
        if status == "active":
            catalog.claim(video_id, Stage.LAYOUT, "earlier-run")
            catalog.finish_layout(video_id, "earlier-run", extract_result(keys))
        return catalog.video(video_id)

    return add
