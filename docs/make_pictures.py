"""Makes the README's pictures from a home in which the demo film was processed.

    captionacc demo
    python docs/make_pictures.py

Starts Dagster's web server on that home and looks at it with the system's Chromium.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from captionacc_dagster.catalog import open_catalog
from captionacc_dagster.instance import prepare_home
from captionacc_dagster.settings import load_settings

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "docs" / "pictures"
PORT = 3977
ADDRESS = f"http://127.0.0.1:{PORT}"
GROUPS = "%2C".join(
    f"global%40global%3A{group}" for group in ("upload", "layout", "extents", "captions", "training")
)


def main() -> None:
    settings = load_settings()
    video = next(video for video in open_catalog(settings).videos() if video.caption_status == "ready")
    webserver = [Path(sys.executable).parent / "dagster-webserver", "-w", "workspace.yaml", "-p", str(PORT)]
    environment = {**os.environ, "DAGSTER_HOME": str(prepare_home(settings))}
    server = subprocess.Popen(webserver, cwd=ROOT, env=environment)
    try:
        wait()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
            )
            page = browser.new_page(viewport={"width": 2100, "height": 900})
            graph(page)
            captions(page, video.id)
            browser.close()
    finally:
        server.terminate()
        server.wait()


def wait() -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with suppress(OSError), urllib.request.urlopen(f"{ADDRESS}/server_info", timeout=2):
            return
        time.sleep(0.5)
    raise SystemExit("the web server did not start")


def graph(page: Page) -> None:
    page.goto(f"{ADDRESS}/asset-groups?expanded={GROUPS}")
    page.get_by_text("subtitles", exact=True).first.wait_for(timeout=60_000)
    page.wait_for_timeout(5_000)
    page.screenshot(path=PICTURES / "graph.png", clip={"x": 545, "y": 255, "width": 1507, "height": 415})


def captions(page: Page, video_id: str) -> None:
    page.goto(f"{ADDRESS}/assets/captions_db?view=partitions&partition={video_id}")
    row = page.get_by_role("row", name="captions beside their text")
    row.get_by_text("[Show Markdown]").click(timeout=60_000)
    picture = page.locator("img[src^='data:image/jpeg;base64,']").first
    picture.wait_for()
    picture.screenshot(path=PICTURES / "captions.jpg", type="jpeg", quality=80)


if __name__ == "__main__":
    main()
