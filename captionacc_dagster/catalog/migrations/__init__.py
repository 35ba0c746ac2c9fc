"""The catalog's schema as numbered SQL files, each applied once, in order: a folder a kind of database."""

from __future__ import annotations

from importlib import resources
from typing import Literal, NamedTuple

from captionacc_dagster.catalog.protocol import CatalogError


class Step(NamedTuple):
    """One file. A database has all steps up to its schema version."""

    number: int
    name: str
    script: str


def steps(kind: Literal["sqlite", "postgres"]) -> list[Step]:
    """Every step of that kind of database, in order."""
    folder = resources.files(f"{__name__}.{kind}")
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda f: f.name)
    return [Step(int(file.name.split("_")[0]), file.name, file.read_text("utf-8")) for file in files]


def missing_steps(known: list[Step], applied: int, remedy: str) -> list[Step]:
    """Those of the `known` steps that a database of schema version `applied` lacks.

    Raises CatalogError, with the remedy, for one that a newer version of captionacc has brought further.
    """
    newest = known[-1].number
    if applied > newest:
        raise CatalogError(
            f"The catalog was written by a newer captionacc (its schema is {applied}, this version knows "
            f"{newest}). Upgrade captionacc, or {remedy}."
        )
    return [step for step in known if step.number > applied]
