"""The Dagster instance that every command and process shares: storage and configuration below one folder.

dagster.yaml holds what is the same everywhere. It cannot branch, so what depends on the environment is
appended to the copy in DAGSTER_HOME: references to variables, never their values.
"""

from __future__ import annotations

import os
import re
import tempfile
from importlib.util import find_spec
from pathlib import Path

import dagster as dg

from captionacc_dagster.settings import Settings, SettingsError

# A link to the repository's dagster.yaml, so that an installed package has it too.
CONFIGURATION = Path(__file__).parent / "dagster.yaml"

IN_POSTGRES = """
storage:
  postgres:
    postgres_url:
      env: DAGSTER_POSTGRES_URL
"""

LOGS_IN_BUCKET = """
compute_logs:
  module: dagster_aws.s3.compute_log_manager
  class: S3ComputeLogManager
  config:
    bucket:
      env: WASABI_BUCKET
    endpoint_url:
      env: WASABI_ENDPOINT_URL
    region:
      env: WASABI_REGION
    prefix: dagster-logs
    skip_empty_files: true
    upload_interval: 30
"""


def configuration(settings: Settings) -> str:
    """The text of dagster.yaml for these settings; it holds no secret."""
    return "".join(
        [
            CONFIGURATION.read_text(),
            IN_POSTGRES if settings.dagster_postgres_url else "",
            LOGS_IN_BUCKET if settings.profile == "cloud" else "",
        ]
    )


def dagster_environment(settings: Settings) -> dict[str, str]:
    """The variables that Dagster's own parts read, in the form they need. Raises SettingsError."""
    variables: dict[str, str] = {}
    if settings.dagster_postgres_url:
        variables["DAGSTER_POSTGRES_URL"] = _for_psycopg2(settings.dagster_postgres_url.get_secret_value())
    if access := settings.store_access:
        variables["AWS_ACCESS_KEY_ID"] = access.access_key_id
        variables["AWS_SECRET_ACCESS_KEY"] = access.secret_access_key
    return variables


def prepare_home(settings: Settings) -> Path:
    """Make DAGSTER_HOME, bring its dagster.yaml up to date and set in this process's environment what it
    refers to; answers the folder. Raises SettingsError.
    """
    os.environ.update(dagster_environment(settings))
    home, wanted = settings.dagster_home, configuration(settings)
    target = home / "dagster.yaml"
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not target.exists() or target.read_text() != wanted:
            # Another process may read it at this moment: it finds the old one or the new one.
            with tempfile.NamedTemporaryFile("w", dir=home, delete=False) as fresh:
                fresh.write(wanted)
            os.replace(fresh.name, target)
    except OSError as error:
        raise SettingsError(
            f"Dagster's folder {home} cannot be used: {error.strerror}. "
            "Set CAPTIONACC_HOME to a folder you may write to."
        ) from error
    return home


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The instance of these settings, whatever the environment's DAGSTER_HOME says. Raises SettingsError."""
    home = prepare_home(settings)
    if settings.dagster_postgres_url is None:
        return dg.DagsterInstance.from_config(str(home))
    # Only production has it.
    from dagster_postgres.utils import DagsterPostgresException  # noqa: PLC0415

    try:
        return dg.DagsterInstance.from_config(str(home))
    except DagsterPostgresException as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise SettingsError(
            f"Dagster's Postgres storage cannot be used: {reason}. "
            "Check DAGSTER_POSTGRES_URL, and that this machine may connect to that server."
        ) from error


def _for_psycopg2(url: str) -> str:
    """The URL as SQLAlchemy 2.1 needs it for dagster-postgres: `postgresql://` alone means psycopg 3."""
    driver_named = re.sub(r"^postgres(ql)?(\+psycopg2)?://", "postgresql+psycopg2://", url)
    if not driver_named.startswith("postgresql+psycopg2://"):
        raise SettingsError("DAGSTER_POSTGRES_URL must look like postgresql://user:password@host:5432/name.")
    if find_spec("dagster_postgres") is None:
        raise SettingsError(
            "DAGSTER_POSTGRES_URL is set, but dagster-postgres is not installed: "
            "pip install 'captionacc-dagster[cloud]', or unset it to keep Dagster's storage in a folder."
        )
    return driver_named
