"""The profile of production, whole: Supabase, a bucket, Modal, Google Vision, Dagster's storage in Postgres.

PostgreSQL, PostgREST, the gateway and the S3 endpoint are real; Modal and Vision are there on the wire, and
what they are asked is really computed. The same daemon, code server and command line as everywhere.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import psutil
import pytest

from captionacc_dagster.catalog import open_catalog
from captionacc_dagster.catalog.protocol import Video
from captionacc_dagster.instance import open_instance
from captionacc_dagster.jobs import crop_and_infer
from captionacc_dagster.runs import PROCESS_TAG
from captionacc_dagster.settings import Settings, load_settings
from tests.e2e.dev import dagster_dev, wait_for
from tests.servers.modal_container import container
from tests.servers.modal_server import TOKEN_ID, TOKEN_SECRET, Call, ModalServer
from tests.servers.postgres import PASSWORD
from tests.servers.s3 import S3Server, s3_server
from tests.servers.supabase import (
    OWNER_PASSWORD,
    OWNER_PASSWORD_IN_URL,
    Supabase,
    supabase_project,
)
from tests.servers.vision import VisionServer, local_reader, serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("cloud")]

BUCKET = "captions"
DAGSTER_DATABASE = "dagster"
ACCESS_KEY, SECRET_KEY = "wasabi-access-key-of-the-tests", "wasabi-secret-key-of-the-tests"
CROP = "crop_and_infer_caption_frame_extents"


@dataclass
class Cloud:
    """Every service, and the environment that makes captionacc use it."""

    project: Supabase
    s3: S3Server
    modal: ModalServer
    vision: VisionServer
    environment: dict[str, str]
    # What captionacc said, and how it was called.
    said: list[str]
    command_lines: set[str]
    # Set to let crops be computed.
    crops: threading.Event

    @property
    def secrets(self) -> dict[str, str]:
        private_key = json.loads(self.vision.credentials_json)["private_key"]
        return {
            "Supabase's key": self.project.service_role_key,
            "the catalog's password": OWNER_PASSWORD,
            "the catalog's password, quoted": OWNER_PASSWORD_IN_URL,
            "Dagster's database's password": PASSWORD,
            "the bucket's key": ACCESS_KEY,
            "the bucket's secret": SECRET_KEY,
            "Modal's token": TOKEN_ID,
            "Modal's secret": TOKEN_SECRET,
            "Google's key": private_key.splitlines()[1],
        }

    def captionacc(self, *arguments: object) -> str:
        done = subprocess.run(
            [Path(sys.executable).parent / "captionacc", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.said += [done.stdout, done.stderr]
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def look_at_processes(self) -> None:
        for process in psutil.Process().children(recursive=True):
            try:
                self.command_lines.add(" ".join(process.cmdline()))
            except psutil.Error:
                continue


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    home = tmp_path_factory.mktemp("cloud") / "home"
    with ExitStack() as stack:
        project = stack.enter_context(supabase_project())
        s3 = stack.enter_context(s3_server())
        s3.make_bucket(BUCKET)
        vision = stack.enter_context(serving(local_reader()))
        modal = ModalServer()
        modal.start()
        stack.callback(modal.stop)
        store = s3.environment(
            dataclasses.replace(s3.access, access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY)
        )
        crops = threading.Event()
        compute = container({**store, **vision.environment})

        def carry_out(call: Call) -> None:
            if call.function == CROP:
                crops.wait(300)
            compute(call)

        modal.every_call = carry_out
        environment = {
            "CAPTIONACC_HOME": str(home),
            **project.environment,
            "DAGSTER_POSTGRES_URL": project.postgres.create_database(DAGSTER_DATABASE),
            "WASABI_BUCKET": BUCKET,
            **store,
            **modal.environment,
            **vision.environment,
        }
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.delenv("DAGSTER_HOME", raising=False)
        for name, value in environment.items():
            patch.setenv(name, value)
        yield Cloud(project, s3, modal, vision, environment, [], set(), crops)


@pytest.fixture(scope="module")
def captions(cloud: Cloud, film: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What was found in the film from `captionacc ingest` to `captionacc export`, a run killed on the way."""
    settings = load_settings()
    out = tmp_path_factory.mktemp("out")
    log = out / "dev.log"
    cloud.captionacc("migrate")
    catalog = open_catalog(settings)

    def video() -> Video:
        (only,) = catalog.videos()
        return only

    def crop_is_waited_for() -> bool:
        return any(call.function == CROP and call.times_asked > 0 for call in cloud.modal.calls)

    with dagster_dev(settings, log):
        cloud.captionacc("ingest", film)
        wait_for("the layout", lambda: video().status == "active", 240, log)
        cloud.look_at_processes()
        cloud.captionacc("approve", film.name)
        wait_for("the crop", crop_is_waited_for, 240, log)
        cloud.look_at_processes()
        with open_instance(settings) as instance:
            os.kill(worker_of(instance), signal.SIGKILL)
        (crop,) = [call for call in cloud.modal.calls if call.function == CROP]
        asked = crop.times_asked
        wait_for("the next run", lambda: crop.times_asked > asked, 240, log)
        cloud.look_at_processes()
        cloud.crops.set()
        wait_for("the captions", lambda: video().caption_status == "ready", 240, log)
        cloud.captionacc("status")
        cloud.captionacc("export", film.name, "--out", out)
    cloud.said.append(log.read_text())
    return (out / "film.srt").read_text()


def test_a_film_gets_its_captions(cloud: Cloud, captions: str) -> None:
    for text in ("Where did you put the map?", "Bring the blue umbrella."):
        assert text in captions
    assert cloud.vision.image_count > 0


def test_a_killed_run_is_continued_by_the_next_one_and_its_call_paid_for_once(
    cloud: Cloud, captions: str
) -> None:
    functions = [call.function for call in cloud.modal.calls]
    assert {name: functions.count(name) for name in functions} == {
        "extract_frames_and_ocr": 1,
        CROP: 1,
        "verify_cropped_frames": 1,
        "generate_caption_ocr": 1,
    }
    assert not [call for call in cloud.modal.calls if call.cancelled]


def test_no_secret_is_in_anything_that_was_written(cloud: Cloud, captions: str, tmp_path: Path) -> None:
    written = {
        "output": "\n".join(cloud.said),
        "command lines": "\n".join(cloud.command_lines),
        "orders and logs at Modal": "\n".join(f"{call.order} {call.said}" for call in cloud.modal.calls),
        "the catalog": dump(cloud, "project"),
        "Dagster's storage": dump(cloud, DAGSTER_DATABASE) + snapshots(cloud),
        **{str(path): text_of(path.read_bytes()) for path in files_of(load_settings())},
        **{f"object {key}": text_of(data) for key, data in objects(cloud)},
    }
    assert any(name.startswith("object dagster-logs/") for name in written)
    assert "crop_and_infer" in written["Dagster's storage"]
    assert captions.splitlines()[2] in "".join(written.values())
    leaks = [
        (where, secret)
        for where, text in written.items()
        for secret, value in cloud.secrets.items()
        if value in text
    ]
    assert leaks == []


def worker_of(instance: dg.DagsterInstance) -> int:
    """The process that carries out the crop under way."""
    (run,) = instance.get_runs(
        dg.RunsFilter(job_name=crop_and_infer.name, statuses=[dg.DagsterRunStatus.STARTED])
    )
    return int(run.tags[PROCESS_TAG].rpartition(":")[2])


def dump(cloud: Cloud, database: str) -> str:
    """Every row of a database, as text."""
    programs = Path(subprocess.check_output(["pg_config", "--bindir"], text=True).strip())
    url = cloud.project.postgres.url(database)
    return subprocess.run(
        [programs / "pg_dump", "--data-only", url], capture_output=True, text=True, check=True
    ).stdout


def snapshots(cloud: Cloud) -> str:
    """What Dagster stores compressed."""
    rows = cloud.project.postgres.execute("SELECT snapshot_body FROM snapshots", DAGSTER_DATABASE)
    return "".join(zlib.decompress(bytes(body)).decode() for (body,) in rows)


def files_of(settings: Settings) -> list[Path]:
    return [path for path in settings.home.rglob("*") if path.is_file()]


def objects(cloud: Cloud) -> Iterator[tuple[str, bytes]]:
    client = cloud.s3.client()
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for entry in page.get("Contents", []):
            yield entry["Key"], client.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read()


def text_of(data: bytes) -> str:
    """Bytes as text, unpacked where they are gzipped, whatever else they are."""
    unpacked = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    return unpacked.decode("latin-1")
