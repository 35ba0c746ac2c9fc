"""The doctor finds what is missing and says what to do."""

from __future__ import annotations

import importlib.util
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from captionacc_dagster.catalog import open_catalog
from captionacc_dagster.doctor import Finding, examine, is_ready, machine
from captionacc_dagster.instance import open_instance
from captionacc_dagster.settings import Settings, open_store


def finding(settings: Settings, what: str) -> Finding:
    return next(each for each in examine(settings) if each.what == what)


def test_a_fresh_installation_is_ready_and_nothing_is_made(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", dagster_home_override=None)
    findings = examine(settings)
    assert is_ready(findings), findings
    assert not settings.home.exists()


def test_a_used_installation_tells_what_is_in_it(settings: Settings) -> None:
    open_store(settings)
    catalog = open_catalog(settings)
    catalog.add_video(
        video_id="00000000-0000-0000-0000-000000000009",
        tenant_id=settings.tenant_id,
        display_path="a",
        storage_key="k",
        size_bytes=1,
    )
    assert "videos: 1" in finding(settings, "catalog").detail
    assert finding(settings, "object store").state == "ok"


def test_missing_packages_are_named_with_the_command_that_installs_them(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_av(name: str, package: str | None = None) -> Any:
        return None if name == "av" else importlib.util.find_spec(name, package)

    monkeypatch.setattr(machine, "find_spec", without_av)
    found = finding(settings, "local compute")
    assert (found.state, found.detail) == ("missing", "not installed: av")
    assert "pip install" in found.remedy
    assert not is_ready([found])


def test_two_packages_with_a_cv2_are_too_many(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    both = {"cv2": ["opencv-python", "opencv-python-headless"]}
    monkeypatch.setattr(machine.metadata, "packages_distributions", lambda: both)
    found = finding(settings, "OpenCV")
    assert found.state == "missing"
    assert found.remedy.startswith("pip uninstall -y opencv-python opencv-python-headless")


def test_exactly_one_cv2_is_installed_here(settings: Settings) -> None:
    assert finding(settings, "OpenCV").state == "ok"


def test_a_home_below_a_file_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = Settings(home=tmp_path / "file" / "home", dagster_home_override=None)
    findings = {each.what: each for each in examine(settings)}
    assert findings["catalog"].state == "missing"
    assert "CAPTIONACC_HOME" in findings["catalog"].remedy


def test_a_catalog_from_the_future_is_reported(settings: Settings) -> None:
    open_catalog(settings)
    with closing(sqlite3.connect(settings.catalog_path, isolation_level=None)) as db:
        db.execute("INSERT INTO schema_migrations (version, name) VALUES (999, 'future')")
    found = finding(settings, "catalog")
    assert found.state == "missing"
    assert "newer captionacc" in found.detail


def test_a_full_disk_is_reported(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert finding(settings, "disk space").state == "missing"


def test_the_cloud_profile_names_what_is_not_set(tmp_path: Path) -> None:
    found = finding(Settings(profile="cloud", home=tmp_path, dagster_home_override=None), "profile")
    assert found.state == "missing"
    assert "SUPABASE_URL" in found.remedy


def test_the_daemon_is_told_apart_running_or_not(settings: Settings) -> None:
    from dagster._daemon.types import DaemonHeartbeat  # noqa: PLC0415 - no public way to make a heartbeat

    with open_instance(settings) as instance:
        assert finding(settings, "Dagster daemon").state == "note"
        for age, state in ((1000, "note"), (1, "ok")):
            instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - age, "SENSOR", "id"))
            assert finding(settings, "Dagster daemon").state == state
