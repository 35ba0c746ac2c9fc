"""The Dagster instance that `captionacc` and `make dev` share: storage and configuration below one folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import dagster as dg

from captionacc_dagster.settings import Settings, SettingsError

# The repository's dagster.yaml; a wheel has none, and Dagster's defaults then store in the same place.
CONFIGURATION = Path(__file__).parent.parent / "dagster.yaml"


def prepare_home(settings: Settings) -> Path:
    """Make DAGSTER_HOME and bring its dagster.yaml up to date; answers the folder. Raises SettingsError."""
    home = settings.dagster_home
    target = home / "dagster.yaml"
    try:
        home.mkdir(parents=True, exist_ok=True)
        if CONFIGURATION.exists() and (
            not target.exists() or target.read_bytes() != CONFIGURATION.read_bytes()
        ):
            shutil.copyfile(CONFIGURATION, target)
    except OSError as error:
        raise SettingsError(
            f"Dagster's folder {home} cannot be used: {error.strerror}. "
            "Set CAPTIONACC_HOME to a folder you may write to."
        ) from error
    return home


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The instance of these settings, whatever the environment's DAGSTER_HOME says."""
    return dg.DagsterInstance.from_config(str(prepare_home(settings)))
