"""`captionacc` as its user meets it: output, files, messages, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from captionacc_dagster.catalog.protocol import Catalog, Stage
from captionacc_dagster.cli import app
from captionacc_dagster.settings import Settings
from gpu_ops import database
from gpu_ops.contract import VideoKeys
from gpu_ops.extents import registry
from gpu_ops.layout import database as layout_db
from gpu_ops.layout.boxes import Layout
from gpu_ops.regions import CropRegion
from gpu_ops.store import ObjectStore
from tests.captionacc_dagster.builders import AddVideo
from tests.captionacc_dagster.test_export import store_captions

COMMANDS = (
    "process",
    "ingest",
    "approve",
    "status",
    "export",
    "retry",
    "models",
    "dev",
    "migrate",
    "serve",
    "health",
    "doctor",
    "demo",
)


@pytest.fixture(autouse=True)
def _home(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAPTIONACC_HOME", str(settings.home))
    monkeypatch.delenv("CAPTIONACC_PROFILE", raising=False)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)


def captionacc(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def real_captionacc(*arguments: object, code: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *(code or ("-m", "captionacc_dagster.cli")), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def store_layout(store: ObjectStore, keys: VideoKeys, path: Path, region: CropRegion | None) -> None:
    path.unlink(missing_ok=True)
    layout_db.write_layout(path, Layout(region=region), [], 1280, 720)
    database.publish(store, keys.layout_db, path)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"moving pictures")
    return path


# --- the frame


def test_importing_the_command_line_takes_no_heavy_library() -> None:
    heavy = "dagster pydantic obstore torch cv2 av onnxruntime numpy rich.progress"
    check = (
        "import sys, captionacc_dagster.cli; "
        f"print([name for name in {heavy.split()!r} if name in sys.modules])"
    )
    assert real_captionacc(code=("-c", check)).stdout.strip() == "[]"


def test_help_answers_at_once() -> None:
    best = min(_seconds_of("--help") for _ in range(3))
    assert best < 1.5, f"{best:.2f} s"


def _seconds_of(*arguments: str) -> float:
    before = os.times()
    assert real_captionacc(*arguments).returncode == 0
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself_with_examples_and_exit_codes(command: str) -> None:
    result = captionacc(command, "--help")
    assert result.exit_code == 0
    assert "Examples: captionacc " + command in " ".join(result.output.split())
    assert "Exit codes: 0 " in " ".join(result.output.split())


def test_the_version_is_shown() -> None:
    result = captionacc("--version")
    assert (result.exit_code, result.stdout.startswith("captionacc ")) == (0, True)


def test_a_wrong_setting_is_reported_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAPTIONACC_PROFILE", "moon")
    result = captionacc("status")
    assert result.exit_code == 3
    assert "CAPTIONACC_PROFILE" in result.stderr


def test_a_cloud_profile_without_its_variables_is_refused_before_any_work(
    monkeypatch: pytest.MonkeyPatch, film: Path
) -> None:
    monkeypatch.setenv("CAPTIONACC_PROFILE", "cloud")
    for arguments in (("status",), ("ingest", film), ("process", film), ("doctor",)):
        assert captionacc(*arguments).exit_code == 3


def test_an_error_is_one_line_and_a_traceback_comes_only_on_request() -> None:
    short, long = real_captionacc("status", "nope"), real_captionacc("--debug", "status", "nope")
    assert (short.returncode, short.stdout) == (2, "")
    assert short.stderr.startswith("captionacc: There is no video 'nope'")
    assert len(short.stderr.splitlines()) == 1
    assert long.returncode == 1
    assert "Traceback" in long.stderr


def test_an_unexpected_error_is_one_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("the moon fell")

    monkeypatch.setattr("captionacc_dagster.commands.load_settings", broken)
    result = captionacc("status")
    assert result.exit_code == 1
    assert result.stderr == "captionacc: Unexpected RuntimeError: the moon fell. --debug shows where.\n"


def test_a_reader_that_goes_away_is_no_traceback(add_video: AddVideo) -> None:
    for number in range(300):
        add_video(f"film {number}.mp4")
    with subprocess.Popen(
        [sys.executable, "-m", "captionacc_dagster.cli", "status", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)  # root may write anywhere
    done = captionacc("process", film, "--out", tmp_path / "new")
    assert done.exit_code == 2
    assert "--out" in done.stderr


# --- ingest and status


def test_ingested_files_show_up_in_status(film: Path, tmp_path: Path) -> None:
    other = tmp_path / "two words.mkv"
    other.write_bytes(b"other pictures")
    taken = captionacc("ingest", film, other, "--lang", "zh,en", "--json")
    assert taken.exit_code == 0
    rows = json.loads(taken.stdout)
    assert [(row["display_path"], row["created"], row["languages"]) for row in rows] == [
        ("film.mp4", True, "zh,en"),
        ("two words.mkv", True, "zh,en"),
    ]
    shown = json.loads(captionacc("status", "--json").stdout)
    assert [row["id"] for row in shown] == [row["id"] for row in rows]
    assert "two words.mkv" in captionacc("status").stdout


def test_the_same_file_again_is_said_to_be_known(film: Path) -> None:
    captionacc("ingest", film)
    again = captionacc("ingest", film)
    assert (again.exit_code, "already in the catalog" in again.stdout) == (0, True)


def test_a_bad_file_does_not_keep_the_others_out(film: Path, tmp_path: Path) -> None:
    result = captionacc("ingest", tmp_path / "absent.mp4", film)
    assert result.exit_code == 2
    assert "absent.mp4" in result.stderr
    assert "film.mp4" in result.stdout


def test_an_empty_catalog_says_how_to_begin() -> None:
    assert "captionacc ingest" in captionacc("status").stdout


def test_a_hostile_name_cannot_drive_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "\x1b[2J[red]two\nlines[/red].mp4".replace("/", "")
    path.write_bytes(b"x")
    taken, shown = captionacc("ingest", path), captionacc("status")
    assert (taken.exit_code, shown.exit_code) == (0, 0)
    assert "[red]two" in shown.stdout
    assert all(line.isprintable() for line in (taken.stdout + shown.stdout).splitlines())
    assert captionacc("status", path.name).exit_code == 0


def test_a_video_is_found_by_id_prefix_or_name(add_video: AddVideo) -> None:
    video = add_video("film.mp4")
    for wanted in (video.id, video.id[:8], video.id[:8].upper(), "film.mp4"):
        assert json.loads(captionacc("status", wanted, "--json").stdout)["id"] == video.id
    assert video.id in captionacc("status", "film.mp4").stdout


def test_a_name_that_fits_several_videos_is_refused_with_their_ids(add_video: AddVideo) -> None:
    first, second = add_video("film.mp4"), add_video("film.mp4")
    result = captionacc("status", "film.mp4")
    assert result.exit_code == 2
    assert first.id in result.stderr
    assert second.id in result.stderr


@pytest.mark.parametrize("wanted", ["", "%", "' OR 1=1 --", "../..", "\N{SNOWMAN}"])
def test_a_name_that_fits_nothing_is_refused(wanted: str, add_video: AddVideo) -> None:
    add_video()
    assert captionacc("status", wanted).exit_code == 2


# --- approve, retry, export


def test_approving_takes_the_region_that_was_found(
    add_video: AddVideo, store: ObjectStore, catalog: Catalog, tmp_path: Path
) -> None:
    video = add_video(status="active")
    keys = VideoKeys(video.tenant_id, video.id)
    store_layout(store, keys, tmp_path / "layout.db", CropRegion(0.1, 0.8, 0.9, 0.95))
    assert captionacc("approve", "film.mp4").exit_code == 0
    assert [each.id for each in catalog.waiting_for_extents(5)] == [video.id]
    database.fetch(store, keys.layout_db, tmp_path / "layout.db")
    assert layout_db.read_approved(tmp_path / "layout.db")


def test_approving_with_a_region_stores_it(
    add_video: AddVideo, store: ObjectStore, catalog: Catalog, tmp_path: Path
) -> None:
    video = add_video(status="active")
    keys = VideoKeys(video.tenant_id, video.id)
    store_layout(store, keys, tmp_path / "layout.db", None)
    assert captionacc("approve", video.id, "--region", "0.2,0.7,0.8,0.9").exit_code == 0
    database.fetch(store, keys.layout_db, tmp_path / "layout.db")
    assert layout_db.read_crop_region(tmp_path / "layout.db") == CropRegion(0.2, 0.7, 0.8, 0.9)
    assert catalog.video(video.id).layout_approved_at is not None


def test_without_captions_an_approval_asks_for_a_region(
    add_video: AddVideo, store: ObjectStore, catalog: Catalog, tmp_path: Path
) -> None:
    video = add_video(status="active")
    store_layout(store, VideoKeys(video.tenant_id, video.id), tmp_path / "layout.db", None)
    result = captionacc("approve", "film.mp4")
    assert result.exit_code == 2
    assert "--region" in result.stderr
    assert catalog.video(video.id).layout_approved_at is None


def test_a_video_without_a_layout_cannot_be_approved_yet(add_video: AddVideo) -> None:
    add_video()
    result = captionacc("approve", "film.mp4")
    assert result.exit_code == 1
    assert "no layout yet" in result.stderr


@pytest.mark.parametrize("region", ["1,2,3", "0,0,2,1", "0.9,0,0.1,1", "a,b,c,d", "nan,0,1,1"])
def test_a_wrong_region_is_a_usage_error(region: str, add_video: AddVideo) -> None:
    add_video()
    assert captionacc("approve", "film.mp4", "--region", region).exit_code == 2


def test_a_failed_video_waits_again_after_a_retry(add_video: AddVideo, catalog: Catalog) -> None:
    video = add_video()
    catalog.claim(video.id, Stage.LAYOUT, "run")
    catalog.fail(video.id, Stage.LAYOUT, "run", "The file is truncated.")
    assert "The file is truncated." in captionacc("status").stdout
    assert captionacc("retry", "film.mp4").exit_code == 0
    assert [each.id for each in catalog.waiting_for_layout(5)] == [video.id]
    assert "has not failed" in captionacc("retry", "film.mp4").stdout


def test_captions_are_exported_into_the_folder(
    add_video: AddVideo, store: ObjectStore, tmp_path: Path
) -> None:
    video = add_video("../../film.mp4")
    store_captions(store, video, tmp_path)
    result = captionacc("export", video.id, "--out", tmp_path / "out", "--format", "srt,json", "--json")
    assert result.exit_code == 0
    files = [str(tmp_path / "out" / name) for name in ("film.srt", "film.json")]
    assert json.loads(result.stdout) == {"video": video.id, "captions": 2, "files": files}
    assert "Hello" in Path(files[0]).read_text("utf-8")


def test_without_captions_there_is_nothing_to_export(add_video: AddVideo, tmp_path: Path) -> None:
    add_video()
    result = captionacc("export", "film.mp4", "--out", tmp_path / "out")
    assert (result.exit_code, (tmp_path / "out").exists()) == (1, False)


# --- arguments of process


@pytest.mark.parametrize(
    "options",
    [
        ("--format", "srt,doc"),
        ("--format", ""),
        ("--lang", "klingon!"),
        ("--tenant", "../etc"),
        ("--region", "0,0,1"),
    ],
)
def test_wrong_options_of_process_are_usage_errors(options: tuple[str, str], film: Path) -> None:
    assert captionacc("process", film, *options).exit_code == 2


def test_a_file_that_is_not_there_is_bad_input(tmp_path: Path, settings: Settings) -> None:
    result = captionacc("process", tmp_path / "absent.mp4")
    assert result.exit_code == 2
    assert "absent.mp4" in result.stderr
    assert not settings.home.exists()


def test_two_files_that_would_overwrite_each_others_subtitles_are_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "film.mp4").write_bytes(folder.encode())
    files = (tmp_path / "a" / "film.mp4", tmp_path / "b" / "film.mp4")
    result = captionacc("process", *files, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "film.srt" in result.stderr


@pytest.mark.slow
def test_a_file_that_is_no_video_fails_alone_and_says_why(film: Path, tmp_path: Path) -> None:
    result = real_captionacc("process", film, "--out", tmp_path / "out", "--json")
    assert result.returncode == 1, result.stderr
    (answer,) = json.loads(result.stdout)
    assert (answer["captions"], answer["files"]) == ([], [])
    assert answer["error"]
    assert "Traceback" not in result.stderr


# --- doctor


def test_the_doctor_speaks_json_and_by_exit_code(settings: Settings, tmp_path: Path) -> None:
    good = captionacc("doctor", "--json")
    assert good.exit_code == 0
    assert {row["state"] for row in json.loads(good.stdout)} <= {"ok", "note"}
    settings.catalog_path.parent.mkdir(parents=True, exist_ok=True)
    settings.catalog_path.write_bytes(b"no database, but long enough to look like one" * 50)
    bad = captionacc("doctor")
    assert bad.exit_code == 3
    assert "missing" in bad.stdout


# --- models


def test_models_are_listed_with_date_and_the_current_one_named_first() -> None:
    newest, *older = registry.models()
    lines = captionacc("models").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [newest.version, *(each.version for each in older)]
    assert newest.created_at[:10] in lines[1]
    assert ["current" in line for line in lines[1:]] == [True] + [False] * len(older)
    listed = json.loads(captionacc("models", "--json").stdout)
    assert [each["version"] for each in listed if each["current"]] == [newest.version]


def test_an_unknown_model_is_refused_before_any_work_and_the_known_ones_are_named(
    film: Path, catalog: Catalog
) -> None:
    done = real_captionacc("process", film, "--model", "zzz")
    assert done.returncode == 2
    assert "There is no pair model of version zzz" in done.stderr
    assert registry.current_version() in done.stderr
    assert list(catalog.videos()) == []
