"""What each command does, once its arguments are read. Each answers the exit code."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from captionacc_dagster import tables
from captionacc_dagster.approval import approve as approve_layout
from captionacc_dagster.catalog import migrate as migrate_catalog
from captionacc_dagster.catalog import open_catalog, pending_steps
from captionacc_dagster.catalog.lookup import find_video
from captionacc_dagster.catalog.protocol import CatalogError, VideoNotFound
from captionacc_dagster.doctor import examine, is_ready
from captionacc_dagster.export import export as export_captions
from captionacc_dagster.export import safe_stem
from captionacc_dagster.ingest import Ingested, IngestError
from captionacc_dagster.ingest import ingest as ingest_file
from captionacc_dagster.progress import Display, choose_progress, printable
from captionacc_dagster.settings import SettingsError, load_settings, open_store
from gpu_ops.contract import BadRequest, ComputeError, InvalidId, StoreRefused
from gpu_ops.extents import registry
from gpu_ops.extents.registry import UnknownModel
from gpu_ops.regions import CropRegion

OK, FAILED, BAD_INPUT, NOT_READY, STOPPED = 0, 1, 2, 3, 130

SAMPLE_NAME = "sample.mp4"
# A link to the repository's workspace.yaml, so that an installed package has it too.
WORKSPACE = Path(__file__).parent / "workspace.yaml"
# Rendering imports pixel libraries, which this process must not: it happens in another one.
_RENDER_SAMPLE = """
import sys
from pathlib import Path
from gpu_ops.footage.sample import render_sample
render_sample(Path(sys.argv[1]), progress=lambda share: print(float(share), flush=True))
"""


class BadInput(Exception):
    """The arguments cannot be carried out; the message says which and why."""


def say_error(message: str) -> None:
    """Tell the user on standard error."""
    print(f"captionacc: {printable(message)}", file=sys.stderr)


def exit_code_of(error: Exception) -> int | None:
    """The exit code for an error that has a message for the user; None for one that nobody expected."""
    codes: dict[type[Exception], int] = {
        BadInput: BAD_INPUT,
        IngestError: BAD_INPUT,
        VideoNotFound: BAD_INPUT,
        BadRequest: BAD_INPUT,
        InvalidId: BAD_INPUT,
        UnknownModel: BAD_INPUT,
        SettingsError: NOT_READY,
        CatalogError: NOT_READY,
        StoreRefused: NOT_READY,
        ComputeError: FAILED,
        OSError: FAILED,
    }
    return next((code for kind, code in codes.items() if isinstance(error, kind)), None)


def process(
    files: Sequence[Path],
    *,
    out: Path | None,
    region: CropRegion | None,
    languages: str | None,
    tenant_id: str | None,
    formats: Sequence[str],
    as_json: bool,
    model_version: str | None = None,
) -> int:
    """Take the files in, run the whole graph for each and write its captions."""
    settings = load_settings()
    _check_files(files)
    _check_outputs(files, out)
    registry.model(model_version)
    with warnings.catch_warnings(), choose_progress(sys.stderr) as listener:
        # Dagster's preview notices are for those who write the graph.
        warnings.simplefilter("ignore")
        # Dagster takes over a second to import, and no other command needs it.
        from captionacc_dagster.process import ProcessOptions, process_videos  # noqa: PLC0415

        options = ProcessOptions(
            tenant_id=tenant_id or settings.tenant_id,
            region=region,
            languages=languages,
            model_version=model_version,
            out=out,
            formats=formats,
        )
        results = process_videos(files, settings, options, listener)
    if as_json:
        tables.print_json(
            [
                {
                    "file": str(each.path),
                    "video": each.video.id if each.video else None,
                    "error": each.error,
                    "notes": list(each.notes),
                    "files": [str(file) for file in each.files],
                    "captions": [dataclasses.asdict(cue) for cue in each.cues],
                }
                for each in results
            ]
        )
    for each in results:
        if each.error is not None:
            say_error(f"{each.path.name}: {each.error}")
        elif not as_json:
            tables.print_line(f"{each.path.name}: {len(each.cues)} captions")
            tables.print_cues(each.cues)
            for note in each.notes:
                tables.print_line(note)
            for file in each.files:
                tables.print_line(f"wrote {file}")
    return FAILED if any(each.error for each in results) else OK


def demo(folder: Path, *, as_json: bool) -> int:
    """Render the sample film into `folder` and process it."""
    folder.mkdir(parents=True, exist_ok=True)
    film = folder / SAMPLE_NAME
    if not film.exists():
        with choose_progress(sys.stderr) as listener:
            _render_sample(film, listener)
    code = process(
        [film],
        out=folder,
        region=None,
        languages=None,
        tenant_id=None,
        formats=("srt", "vtt", "json"),
        as_json=as_json,
    )
    if code == OK and not as_json:
        settings = load_settings()
        tables.print_line(f"The film is {film}; its artifacts are in {settings.store_place}.")
        tables.print_line("To see the asset graph: captionacc dev, then open http://127.0.0.1:3000")
    return code


def ingest(files: Sequence[Path], *, tenant_id: str | None, languages: str | None, as_json: bool) -> int:
    """Upload each file and add it to the catalog."""
    settings = load_settings()
    catalog, store = open_catalog(settings), open_store(settings)
    taken: list[Ingested] = []
    code = OK
    for file in files:
        try:
            taken.append(ingest_file(file, catalog, store, tenant_id or settings.tenant_id, languages))
        except IngestError as error:
            say_error(str(error))
            code = BAD_INPUT
    if as_json:
        tables.print_json([{**tables.video_facts(each.video), "created": each.created} for each in taken])
    else:
        for each in taken:
            known = "" if each.created else " (already in the catalog)"
            tables.print_line(f"{each.video.id}  {each.video.display_path}{known}")
    return code


def approve(wanted: str, region: CropRegion | None) -> int:
    """Approve a layout, with another region if one is given."""
    settings = load_settings()
    catalog = open_catalog(settings)
    video = approve_layout(catalog, open_store(settings), find_video(catalog, wanted), region)
    tables.print_line(f"{video.display_path}: layout approved, its captions come next.")
    return OK


def status(wanted: str | None, *, as_json: bool) -> int:
    """Show one video, or all."""
    catalog = open_catalog(load_settings())
    if wanted is None:
        videos = list(catalog.videos())
        if as_json:
            tables.print_json([tables.video_facts(video) for video in videos])
        elif videos:
            tables.print_videos(videos)
        else:
            tables.print_line("No videos yet. Take one in with: captionacc ingest FILE")
        return OK
    video = find_video(catalog, wanted)
    versions = catalog.cropped_frames_versions(video.id)
    if as_json:
        tables.print_json(
            {
                **tables.video_facts(video),
                "cropped_frames_versions": [dataclasses.asdict(each) for each in versions],
            }
        )
    else:
        tables.print_video(video, versions)
    return OK


def export(wanted: str, out: Path, formats: Sequence[str], *, as_json: bool) -> int:
    """Write a video's captions as files."""
    settings = load_settings()
    video = find_video(open_catalog(settings), wanted)
    cues, files = export_captions(open_store(settings), video, out, formats)
    if as_json:
        tables.print_json({"video": video.id, "captions": len(cues), "files": [str(file) for file in files]})
    else:
        for file in files:
            tables.print_line(f"wrote {file}")
    return OK


def retry(wanted: Sequence[str]) -> int:
    """Put failed videos back in line."""
    catalog = open_catalog(load_settings())
    for video in [find_video(catalog, each) for each in wanted]:
        if "error" not in (video.status, video.caption_status):
            tables.print_line(f"{video.display_path} has not failed; nothing to do.")
            continue
        stage = video.failed_stage or "work"
        catalog.retry(video.id)
        tables.print_line(f"{video.display_path}: its {stage} will be tried again.")
    return OK


def export_dataset(
    out: Path, *, tenant_id: str | None, all_tenants: bool, since: str | None, as_json: bool
) -> int:
    """Write what annotators confirmed as training data."""
    if all_tenants and tenant_id is not None:
        raise BadInput("Either --tenant or --all-tenants.")
    settings = load_settings()
    with warnings.catch_warnings(), choose_progress(sys.stderr) as listener:
        warnings.simplefilter("ignore")
        # As in process.
        from captionacc_dagster import dataset  # noqa: PLC0415

        tenant = None if all_tenants else tenant_id or settings.tenant_id
        exported = dataset.export_dataset(out, settings, tenant, since, listener)
    if as_json:
        tables.print_json([dataclasses.asdict(each) for each in exported])
    for each in exported:
        if each.error is not None:
            say_error(f"{each.video.display_path}: {each.error}")
        elif not as_json:
            counts = f"{each.captions} confirmed captions, {each.scenes} scenes"
            tables.print_line(f"{each.video.display_path}: {counts} in {each.folder}")
    if not exported and not as_json:
        tables.print_line("No confirmed captions were found.")
    tenants = {each.video.tenant_id for each in exported if each.error is None}
    if len(tenants) > 1:
        say_error(f"{out} holds frames of {len(tenants)} tenants: each provenance.json says whose.")
    return FAILED if any(each.error for each in exported) else OK


def models(*, as_json: bool) -> int:
    """List the pair models."""
    records = registry.models()
    if as_json:
        tables.print_json([{**record.facts, "current": record == records[0]} for record in records])
    else:
        tables.print_models(records)
    return OK


def migrate(*, dry_run: bool) -> int:
    """Apply the catalog's missing migrations, or only list them."""
    settings = load_settings()
    found = pending_steps(settings) if dry_run else migrate_catalog(settings)
    for step in found:
        tables.print_line(f"{'would apply' if dry_run else 'applied'} {step.name}")
    if not found:
        tables.print_line("The catalog has the schema of this version; nothing to do.")
    return OK


def doctor(*, as_json: bool) -> int:
    """Look at the installation."""
    findings = examine(load_settings())
    if as_json:
        tables.print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        tables.print_findings(findings)
    return OK if is_ready(findings) else NOT_READY


def dev(port: int) -> NoReturn:
    """Become `dagster dev`, on the instance that the other commands use."""
    from captionacc_dagster.instance import prepare_home  # noqa: PLC0415

    os.environ["DAGSTER_HOME"] = str(prepare_home(load_settings()))
    dagster = Path(sys.executable).parent / "dagster"
    os.execv(dagster, [dagster, "dev", "-w", WORKSPACE, "-h", "127.0.0.1", "-p", str(port)])


def serve(*, host: str, port: int, web: bool) -> NoReturn:
    """Become the server of captionacc_dagster.serve, on the instance that the other commands use."""
    from captionacc_dagster.instance import prepare_home  # noqa: PLC0415

    os.environ["DAGSTER_HOME"] = str(prepare_home(load_settings()))
    listen = ["--host", host, "--port", str(port)] if web else ["--no-webserver"]
    os.execv(sys.executable, [sys.executable, "-m", "captionacc_dagster.serve", *listen])


def health(*, as_json: bool) -> int:
    """Look at the server that runs on this machine."""
    from captionacc_dagster.health import examine_server  # noqa: PLC0415

    findings = examine_server(load_settings())
    if as_json:
        tables.print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        tables.print_findings(findings)
    return OK if is_ready(findings) else FAILED


def _check_files(files: Sequence[Path]) -> None:
    for file in files:
        if not file.is_file():
            raise BadInput(f"There is no file {file}.")


def _check_outputs(files: Sequence[Path], out: Path | None) -> None:
    if out is not None and out.exists() and not out.is_dir():
        raise BadInput(f"{out} is not a folder.")
    for folder in dict.fromkeys(out or file.parent for file in files):
        nearest = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
        if not os.access(nearest, os.W_OK):
            raise BadInput(f"Nothing can be written into {folder}. Choose another folder with --out.")
    taken: dict[Path, Path] = {}
    for file in files:
        target = (out or file.parent).resolve() / safe_stem(file.stem, fallback="captions")
        other = taken.setdefault(target, file)
        if other != file:
            raise BadInput(
                f"{other} and {file} would both become {target.name}.srt. "
                "Process them apart, with different --out."
            )


def _render_sample(film: Path, listener: Display) -> None:
    listener.stage(film.name, "render")
    with (
        tempfile.TemporaryDirectory(dir=film.parent, prefix=".rendering-") as scratch,
        tempfile.TemporaryFile("w+") as trouble,
        subprocess.Popen(
            [sys.executable, "-c", _RENDER_SAMPLE, str(Path(scratch) / film.name)],
            stdout=subprocess.PIPE,
            stderr=trouble,
            text=True,
        ) as renderer,
    ):
        for line in renderer.stdout or ():
            listener.progress("drawing frames", float(line), 1.0)
        renderer.wait()
        trouble.seek(0)
        if renderer.returncode != 0:
            _cannot_render(trouble.read())
        # The film comes last: once it is there, everything is.
        for made in sorted(Path(scratch).iterdir(), key=lambda path: path.name == film.name):
            made.replace(film.with_name(made.name))


def _cannot_render(said: str) -> NoReturn:
    reason = said.strip().splitlines()[-1:] or ["no reason given"]
    raise SettingsError(f"The sample film could not be rendered ({reason[0]}). Run `captionacc doctor`.")
