"""`captionacc …` on the command line: arguments and help. What the commands do stands in commands.py.

That module is imported by the command that runs, so that `--help` answers at once.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from gpu_ops.contract import InvalidId, checked_id
from gpu_ops.regions import CropRegion

FORMATS = ("srt", "vtt", "json")

EXIT_CODES = (
    "Exit codes: 0 all is done; 1 a video failed; 2 wrong arguments or bad input; "
    "3 the installation or its settings are not ready (see captionacc doctor); 130 stopped with Ctrl-C."
)

# These have their own way to the user.
_TOLD_BY_TYPER = (TyperException, typer.Exit, typer.Abort, BrokenPipeError)


class Commands(TyperGroup):
    """Turns errors into a sentence on standard error and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            from captionacc_dagster import commands  # noqa: PLC0415

            commands.say_error("Stopped. The same command again goes on from here.")
            raise typer.Exit(commands.STOPPED) from None
        except Exception as error:
            if ctx.params.get("debug") or isinstance(error, _TOLD_BY_TYPER):
                raise
            from captionacc_dagster import commands  # noqa: PLC0415

            code = commands.exit_code_of(error)
            if code is None:
                commands.say_error(f"Unexpected {type(error).__name__}: {error}. --debug shows where.")
            else:
                commands.say_error(str(error))
            raise typer.Exit(code or commands.FAILED) from None


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _example(*lines: str) -> str:
    return "Examples: " + "; ".join(f"[bold]{line}[/bold]" for line in lines) + f"\n\n{EXIT_CODES}"


def _region(text: str) -> CropRegion:
    try:
        return CropRegion.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _languages(text: str | None) -> str | None:
    """BCP 47 tags separated by commas; empty for `auto`, None where nothing was said."""
    if text is None:
        return None
    if text == "auto":
        return ""
    tags = [tag.strip() for tag in text.split(",")]
    for tag in tags:
        if not re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*", tag):
            raise typer.BadParameter(f"{tag!r} is not a language such as en, zh, zh-Hant; or auto")
    return ",".join(tags)


def _tenant(text: str) -> str:
    try:
        return checked_id(text, "tenant")
    except InvalidId as error:
        raise typer.BadParameter(str(error)) from None


def _moment(text: str | None) -> str | None:
    """A date, or a date and time, as ISO-8601 UTC without a zone; None where nothing was said."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a date such as 2026-01-31 or 2026-01-31T12:00") from None
    utc = moment if moment.tzinfo is None else moment.astimezone(UTC)
    return utc.replace(tzinfo=None).isoformat(timespec="seconds")


def _formats(text: str) -> str:
    chosen = list(dict.fromkeys(part.strip() for part in text.split(",")))
    unknown = [part for part in chosen if part not in FORMATS]
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown) or 'nothing'}: choose from {', '.join(FORMATS)}")
    return ",".join(chosen)


Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Video files.", show_default=False)]
Wanted = Annotated[
    str,
    typer.Argument(metavar="VIDEO", help="A video's id, the beginning of it, or its file name."),
]
Region = Annotated[
    CropRegion | None,
    typer.Option(
        metavar="L,T,R,B[+L,T,R,B]",
        parser=_region,
        help="Where the captions are, as fractions of the frame from its top left corner; two places joined "
        "by +.",
    ),
]
Languages = Annotated[
    str | None,
    typer.Option(
        "--lang",
        metavar="zh|en|…|auto",
        callback=_languages,
        help="Languages of the captions, separated by commas; default: as said before, or auto.",
    ),
]
Tenant = Annotated[
    str | None,
    typer.Option(metavar="ID", parser=_tenant, help="Whose video it is (a UUID); default: the local tenant."),
]
Formats = Annotated[
    str,
    typer.Option("--format", metavar="srt,vtt,json", callback=_formats, help="Which files to write."),
]
Model = Annotated[
    str | None,
    typer.Option(
        metavar="VERSION", help="Find the captions with this model of `captionacc models`; default: current."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"captionacc {installed_version('captionacc-dagster')}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and end."),
    ] = False,
) -> None:
    """Captions burnt into videos become subtitles and annotated data.

    Everything lives below CAPTIONACC_HOME (default ~/.captionacc).
    """


@app.command(epilog=_example("captionacc process film.mp4", "captionacc process *.mkv --out subs --lang zh"))
def process(
    files: Files,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to write; default: beside each file.")
    ] = None,
    region: Region = None,
    lang: Languages = None,
    tenant: Tenant = None,
    model: Model = None,
    formats: Formats = "srt,vtt,json",
    as_json: AsJson = False,
) -> None:
    """Videos in, subtitles out: take in, run the whole graph here, write the files.

    What is current is not computed again.
    """
    from captionacc_dagster import commands  # noqa: PLC0415

    raise typer.Exit(
        commands.process(
            files,
            out=out,
            region=region,
            languages=lang,
            tenant_id=tenant,
            model_version=model,
            formats=formats.split(","),
            as_json=as_json,
        )
    )


@app.command(epilog=_example("captionacc ingest film.mp4", "captionacc ingest *.mp4 --lang en,zh"))
def ingest(files: Files, lang: Languages = None, tenant: Tenant = None, as_json: AsJson = False) -> None:
    """Upload videos and add them to the catalog; a running Dagster takes it from there."""
    from captionacc_dagster import commands  # noqa: PLC0415

    raise typer.Exit(commands.ingest(files, tenant_id=tenant, languages=lang, as_json=as_json))


@app.command(
    epilog=_example("captionacc approve film.mp4", "captionacc approve 3fa8 --region 0.1,0.8,0.9,0.98")
)
def approve(video: Wanted, region: Region = None) -> None:
    """Approve the region that was found, or another one; approving again crops anew."""
    from captionacc_dagster import commands  # noqa: PLC0415

    raise typer.Exit(commands.approve(video, region))


@app.command(epilog=_example("captionacc status", "captionacc status film.mp4", "captionacc status --json"))
def status(
    video: Annotated[
        str | None, typer.Argument(metavar="[VIDEO]", help="Show everything about this one.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """How far the videos are."""
    from captionacc_dagster import commands  # noqa: PLC0415

    raise typer.Exit(commands.status(video, as_json=as_json))


@app.command(epilog=_example("captionacc export film.mp4", "captionacc export 3fa8 --out subs --format srt"))
def export(
    video: Wanted,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where to write.")] = Path("."),
    formats: Formats = "srt,vtt,json",
    as_json: AsJson = False,
) -> None:
    """Write a video's captions as files, named after the video."""
    from captionacc_dagster import commands  # noqa: PLC0415

    raise typer.Exit(commands.export(video, out, formats.split(","), as_json=as_json))


@app.command(epilog=_example("captionacc retry film.mp4", "captionacc retry 3fa8 77b1"))
def retry(videos: Annotated[list[str], typer.Argument(metavar="VIDEO...", help="As in status.")]) -> None:
    """Put failed videos back in line; a running Dagster takes it from there."""
    from captionacc_dagster import commands  # noqa: PLC0415

    raise typer.Exit(commands.retry(videos))


@app.command(epilog=_example("captionacc dev", "captionacc dev --port 3001"))
def dev(port: Annotated[int, typer.Option(help="Where the web page listens, on 127.0.0.1.")] = 3000) -> None:
    """Open Dagster's web page on this machine and let its sensors do the work, until Ctrl-C."""
    from captionacc_dagster import commands  # noqa: PLC0415

    commands.dev(port)


dataset = typer.Typer(
    no_args_is_help=True, help="What annotators confirmed, as training data for the pair model."
)
app.add_typer(dataset, name="dataset")


@dataset.command(
    name="export",
    epilog=_example(
        "captionacc dataset export confirmed", "captionacc dataset export new --since 2026-01-31"
    ),
)
def dataset_export(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write into.", show_default=False)],
    tenant: Tenant = None,
    all_tenants: Annotated[
        bool, typer.Option("--all-tenants", help="The videos of every tenant, in one folder.")
    ] = False,
    since: Annotated[
        str | None,
        typer.Option(metavar="DATE", callback=_moment, help="Only captions confirmed since (UTC)."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Frames around confirmed captions, labelled, a folder for each video that has some.

    Train with them: python -m gpu_ops.extents.train --data OUT
    """
    from captionacc_dagster import commands  # noqa: PLC0415

    raise typer.Exit(
        commands.export_dataset(out, tenant_id=tenant, all_tenants=all_tenants, since=since, as_json=as_json)
    )


@app.command(epilog=_example("captionacc models", "captionacc process film.mp4 --model 0d5aab09e904"))
def models(as_json: AsJson = False) -> None:
    """The pair models that find where captions begin and end, newest first: the first is the current one."""
    from captionacc_dagster import commands  # noqa: PLC0415

    raise typer.Exit(commands.models(as_json=as_json))


@app.command(epilog=_example("captionacc migrate --dry-run", "captionacc migrate"))
def migrate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be applied.")] = False,
) -> None:
    """Bring the catalog to the schema of this version; a local one does so by itself.

    Supabase is migrated over the direct connection SUPABASE_DB_URL.
    """
    from captionacc_dagster import commands  # noqa: PLC0415

    raise typer.Exit(commands.migrate(dry_run=dry_run))


@app.command(epilog=_example("captionacc serve", "captionacc serve --no-webserver"))
def serve(
    host: Annotated[
        str, typer.Option(help="Where the web page listens. It has no login: not for the open internet.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="CAPTIONACC_PORT", help="The web page's port.")] = 3000,
    webserver: Annotated[
        bool, typer.Option("--webserver/--no-webserver", help="Without it, a smaller machine will do.")
    ] = True,
) -> None:
    """Run the control plane as a server, until SIGTERM: web page, daemon, code server."""
    from captionacc_dagster import commands  # noqa: PLC0415

    commands.serve(host=host, port=port, web=webserver)


@app.command(epilog=_example("captionacc health", "captionacc health --json"))
def health(as_json: AsJson = False) -> None:
    """Whether the server started by captionacc serve works; exit code 1 where it does not."""
    from captionacc_dagster import commands  # noqa: PLC0415

    raise typer.Exit(commands.health(as_json=as_json))


@app.command(epilog=_example("captionacc doctor", "captionacc doctor --json"))
def doctor(as_json: AsJson = False) -> None:
    """What is configured, what is missing, and what to do about it."""
    from captionacc_dagster import commands  # noqa: PLC0415

    raise typer.Exit(commands.doctor(as_json=as_json))


@app.command(epilog=_example("captionacc demo", "captionacc demo --out /tmp/demo"))
def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where to write film and subtitles.")] = Path(
        "demo"
    ),
    as_json: AsJson = False,
) -> None:
    """Render a short captioned film and process it."""
    from captionacc_dagster import commands  # noqa: PLC0415

    raise typer.Exit(commands.demo(out, as_json=as_json))


def main() -> None:
    """Entry point of the `captionacc` command."""
    app(prog_name="captionacc")


if __name__ == "__main__":
    main()
