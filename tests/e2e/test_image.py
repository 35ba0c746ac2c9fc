"""The image of production, built and started by its own recipe in an empty environment."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.dev import ROOT, wait_for
from tests.servers.image import Image, build
from tests.servers.postgres import free_port
from tests.servers.supabase import Supabase, supabase_project
from tests.test_house_rules import HEAVY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("image")]

STOP_SECONDS = 20


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    # Not pytest's own folder, which only its owner may enter.
    with tempfile.TemporaryDirectory(prefix="image-") as folder:
        yield build(ROOT / "Dockerfile", Path(folder))


@pytest.fixture(scope="module")
def project() -> Iterator[Supabase]:
    with supabase_project() as started:
        yield started


@pytest.fixture(scope="module")
def environment(project: Supabase) -> dict[str, str]:
    """What a container is given. Nothing of it is contacted but Supabase and Dagster's storage."""
    return {
        "SUPABASE_URL": project.url,
        "SUPABASE_SERVICE_ROLE_KEY": project.service_role_key,
        "SUPABASE_DB_URL": project.database_url,
        "DAGSTER_POSTGRES_URL": project.postgres.create_database("dagster"),
        "WASABI_BUCKET": "media",
        "WASABI_REGION": "eu-central-1",
        "WASABI_ENDPOINT_URL": "http://127.0.0.1:9",
        "WASABI_ACCESS_KEY_READWRITE": "x",
        "WASABI_SECRET_KEY_READWRITE": "x",
        "MODAL_TOKEN_ID": "ak-x",
        "MODAL_TOKEN_SECRET": "as-x",
        "GOOGLE_APPLICATION_CREDENTIALS_JSON": "{}",
        "CAPTIONACC_PORT": str(free_port()),
    }


def test_the_image_holds_no_library_that_computes_pixels(image: Image) -> None:
    (packages,) = image.root.glob("opt/captionacc/lib/python3*/site-packages")
    assert not [name for name in HEAVY if (packages / name).exists()]
    assert (packages / "captionacc_dagster" / "dagster.yaml").is_file()


def test_a_container_migrates_becomes_healthy_and_ends_on_sigterm_leaving_nothing(
    image: Image, environment: dict[str, str], tmp_path: Path
) -> None:
    assert image.run(image.health, environment).returncode == 1
    migrated = image.run(["captionacc", "migrate"], environment)
    assert migrated.returncode == 0, migrated.stderr

    log = tmp_path / "container.log"
    container = image.start(environment, log)
    try:
        wait_for("health", lambda: image.run(image.health, environment).returncode == 0, 180, log)
        started = [psutil.Process(container.pid), *psutil.Process(container.pid).children(recursive=True)]
        assert len(started) >= 4
        if os.geteuid() == 0:
            assert {each.uids().real for each in started} == {image.user}
        container.send_signal(signal.SIGTERM)
        assert container.wait(STOP_SECONDS) == 0, log.read_text()[-4000:]
    finally:
        container.kill()
    _, left = psutil.wait_procs(started, timeout=5)
    assert left == []
    assert image.run(image.health, environment).returncode == 1
