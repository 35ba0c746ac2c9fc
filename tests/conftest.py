"""Servers started once for all tests that ask for them, and an environment that no test leaves changed."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from captionacc_dagster.catalog import migrate
from tests.servers.s3 import S3Server, s3_server
from tests.servers.supabase import Supabase, supabase_project

# Two tests run at a time: PyTorch's second thread would wait, at full speed, for a core that is taken.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def _restored_environment() -> Iterator[None]:
    """Opening an instance sets variables for Dagster's own parts in the process that does so."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


# Also around what a module's own fixtures set.
restored_after_module = pytest.fixture(scope="module", autouse=True)(_restored_environment)
restored_after_test = pytest.fixture(autouse=True)(_restored_environment)


@pytest.fixture(scope="session")
def supabase() -> Iterator[Supabase]:
    """A Supabase project with a migrated catalog; a test that writes into it empties it afterwards.

    Its limit on rows is low, to show what would be cut off.
    """
    with supabase_project(most_rows=100) as project:
        migrate(project.settings())
        # PostgREST would learn of the functions by itself, but only a moment later.
        project.restart_rest()
        yield project


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """An S3 endpoint over HTTP, with no bucket yet."""
    with s3_server() as server:
        yield server
