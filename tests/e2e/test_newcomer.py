"""What the README promises: with `make dev` open, `ingest` and `approve` are enough to get captions.

Real parts throughout: `dagster dev` on the repository's workspace.yaml and dagster.yaml, the command line,
and a Chromium that looks at the asset page.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from captionacc_dagster.catalog.protocol import Catalog, Video
from captionacc_dagster.settings import Settings
from gpu_ops.contract import VideoKeys
from gpu_ops.store import ObjectStore
from tests.e2e.conftest import Captionacc
from tests.e2e.dev import ROOT, dagster_dev, graphql, wait_for
from tests.e2e.films import render_film

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
]


@contextmanager
def browser_page() -> Iterator[Page]:
    """A page of the system's Chromium."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert chromium, "this test looks at the Dagster UI: install Chromium (Debian: apt install chromium)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_OPTIONS)
        yield browser.new_page(viewport={"width": 1500, "height": 1100})
        browser.close()


def test_ingest_and_approve_are_enough_while_dagster_dev_is_open(
    captionacc: Captionacc,
    film: Path,
    tmp_path: Path,
    settings: Settings,
    catalog: Catalog,
    store: ObjectStore,
) -> None:
    log = tmp_path / "dev.log"

    def only() -> Video:
        (video,) = catalog.videos()
        return video

    with dagster_dev(settings, log) as address:
        assert captionacc("ingest", film).returncode == 0
        wait_for("the layout", lambda: only().status == "active", 180, log)
        assert captionacc("approve", "film.mp4").returncode == 0
        keys = VideoKeys(only().tenant_id, only().id)
        wait_for("the captions", lambda: only().caption_status == "ready", 180, log)
        wait_for("the subtitles", lambda: store.head(keys.subtitles("srt")) is not None, 60, log)
        assert "Bring the blue umbrella." in store.get(keys.subtitles("srt")).decode()

        with browser_page() as page:
            page.goto(f"{address}/assets/layout_db?view=partitions&partition={only().id}")
            expect(page.get_by_text("caption_boxes").first).to_be_visible(timeout=60_000)
            page.get_by_text("[Show Markdown]").first.click()
            picture = page.locator("img[src^='data:image/jpeg;base64,']").first
            expect(picture).to_be_visible()
            assert picture.evaluate("image => image.naturalWidth") > 300
            page.goto(f"{address}/locations/captionacc/asset-groups/captions")
            for asset in ("caption_frame_extents_db", "captions_db", "subtitles"):
                expect(page.get_by_text(asset, exact=True).first).to_be_visible(timeout=60_000)
            expect(page.get_by_text("100% filled").first).to_be_visible(timeout=60_000)


def test_a_backfill_from_the_ui_and_one_asset_by_command_work_while_dagster_dev_is_open(
    captionacc: Captionacc, tmp_path: Path, settings: Settings, catalog: Catalog, instance: dg.DagsterInstance
) -> None:
    log = tmp_path / "dev.log"
    for seed in (1, 2):
        path = tmp_path / f"film-{seed}.mp4"
        render_film(path, seed=seed, script=((0.6, 2.2, "One caption is enough."),), duration=3.0)
        assert captionacc("process", path, "--region", "0.05,0.75,0.95,1").returncode == 0
    ids = [video.id for video in catalog.videos()]
    before = made(instance, "layout_db")

    with dagster_dev(settings, log) as address:
        wait_for("the code location", lambda: graphql(address, LOCATIONS).count("LOADED") > 0, 240, log)
        launched = graphql(
            address,
            LAUNCH,
            {"backfill": {"assetSelection": LAYOUT, "partitionNames": ids, "title": "again"}},
        )
        assert "LaunchBackfillSuccess" in launched, launched
        wait_for("the backfill", lambda: made(instance, "layout_db") == before + 2, 240, log)

    command = Path(sys.executable).parent / "dagster"
    one = subprocess.run(
        [command, "asset", "materialize", "--select", "captions_db", "--partition", ids[0], *LOCATION],
        cwd=ROOT,
        env={**os.environ, "DAGSTER_HOME": str(settings.dagster_home), "CAPTIONACC_HOME": str(settings.home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert one.returncode == 0, one.stderr
    assert made(instance, "captions_db") == 3


LAYOUT = [{"path": ["layout_db"]}]
LOCATION = ["-m", "captionacc_dagster.definitions"]
LOCATIONS = (
    "query { locationStatusesOrError { ... on WorkspaceLocationStatusEntries { entries { loadStatus } } } }"
)
LAUNCH = """mutation ($backfill: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $backfill) { __typename ... on PythonError { message } }
}"""


def made(instance: dg.DagsterInstance, asset: str) -> int:
    """How often the asset was materialized."""
    return len(instance.fetch_materializations(dg.AssetKey(asset), limit=100).records)
