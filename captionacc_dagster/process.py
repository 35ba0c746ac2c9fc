"""A file in, subtitles out: the whole graph for one video, in this process, on the user's Dagster instance.

The same jobs the sensors start, one after the other, so that the Dagster UI shows these runs like all
others. What is current is not made again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.events import RunFailureReason  # how a run ended is not public otherwise

from captionacc_dagster import artifacts, runs
from captionacc_dagster.approval import approve
from captionacc_dagster.assets.extents import crop_and_infer_extents
from captionacc_dagster.assets.work import ANSWERED, HELD
from captionacc_dagster.automation.waiting import upload_event
from captionacc_dagster.catalog import open_catalog
from captionacc_dagster.catalog.protocol import LEASE_TTL, Catalog, CatalogError, Stage, Video, is_answered
from captionacc_dagster.definitions import build_definitions
from captionacc_dagster.export import write_captions
from captionacc_dagster.ingest import IngestError, ingest
from captionacc_dagster.instance import open_instance
from captionacc_dagster.jobs import JOB_OF_STAGE, UNLESS_ANSWERED, run_tags
from captionacc_dagster.partitions import videos
from captionacc_dagster.progress import ProgressListener
from captionacc_dagster.resources import build_resources
from captionacc_dagster.settings import Settings, open_store
from gpu_ops.captions.subtitles import Cue, cues
from gpu_ops.contract import ComputeError
from gpu_ops.extents import registry
from gpu_ops.ocr.languages import reading_warnings
from gpu_ops.regions import CropRegion
from gpu_ops.store import ObjectStore

ASSETS_OF_STAGE = {
    Stage.LAYOUT: ("full_frames", "raw_ocr_db", "layout_db"),
    Stage.EXTENTS: ("cropped_frames", "caption_frame_extents_db"),
    Stage.CAPTIONS: ("captions_db", "subtitles"),
}
LOOK_AGAIN_SECONDS = 2.0
INTERRUPTED = RunFailureReason.UNEXPECTED_TERMINATION
NO_CAPTIONS = "No captions were found. If there are some, say where with --region LEFT,TOP,RIGHT,BOTTOM."
TWO_PLACES = (
    "Captions stand at two places, and both were read: {region}. --region with one of them reads only that."
)


@dataclass(frozen=True, kw_only=True)
class ProcessOptions:
    """How to process. `region` None: the predicted one. `out` None: beside each file."""

    tenant_id: str
    region: CropRegion | None = None
    languages: str | None = None  # as in Video; None: as before, or automatic
    model_version: str | None = None  # None: the current one
    out: Path | None = None
    formats: Sequence[str] = ("srt", "vtt", "json")


@dataclass(frozen=True, kw_only=True)
class Processed:
    """What became of one file. `error` is a sentence for the user; with it, `files` is empty."""

    path: Path
    video: Video | None = None
    cues: Sequence[Cue] = ()
    files: Sequence[Path] = ()
    notes: Sequence[str] = ()
    error: str | None = None


def process_videos(
    paths: Sequence[Path], settings: Settings, options: ProcessOptions, listener: ProgressListener
) -> list[Processed]:
    """Process each file in turn; one that fails does not stop the others."""
    with open_instance(settings) as instance:
        work = _Work(settings, options, instance, listener)
        return [work.process(path) for path in paths]


class StageFailed(Exception):
    """A stage's run failed; the message is for the user."""


class _Work:
    def __init__(
        self,
        settings: Settings,
        options: ProcessOptions,
        instance: dg.DagsterInstance,
        listener: ProgressListener,
    ) -> None:
        self.options = options
        self.instance = instance
        self.listener = listener
        self.catalog: Catalog = open_catalog(settings)
        self.store: ObjectStore = open_store(settings)
        self.definitions = build_definitions(settings, build_resources(settings, listener))

    def process(self, path: Path) -> Processed:
        done = Processed(path=path)
        try:
            self.listener.stage(path.name, "upload")
            # `uploading` keeps the sensors away; should this process die, recovery takes over.
            ingested = ingest(
                path,
                self.catalog,
                self.store,
                self.options.tenant_id,
                self.options.languages,
                status="uploading",
            )
            video = ingested.video
            done = replace(done, video=video)
            self._add_partition(video)
            video = self._stage(video, Stage.LAYOUT)
            if self._approve(video):
                video = self._stage(self.catalog.video(video.id), Stage.EXTENTS)
                if (wider := self._wider_region(video)) is not None:
                    self.listener.note(f"Letters reach the edge of the crop: cropping wider, {wider}.")
                    approve(self.catalog, self.store, video, wider)
                    video = self._stage(self.catalog.video(video.id), Stage.EXTENTS)
                video = self._stage(video, Stage.CAPTIONS)
                rows = artifacts.read_captions(self.store, video)
                errors = [row.ocr_error for row in rows if row.is_caption and row.text is None]
                notes = *self._two_places(video), *self._crop_warnings(video), *reading_warnings(errors)
                done = replace(done, notes=notes)
            else:
                rows = []
            if not any(row.is_caption for row in rows):
                done = replace(done, notes=(*done.notes, NO_CAPTIONS))
            files = write_captions(
                rows, self.options.out or path.parent, self.options.formats, stem=path.stem, fallback=video.id
            )
        except (IngestError, CatalogError, ComputeError, StageFailed, OSError) as error:
            return replace(done, error=str(error))
        return replace(done, video=video, cues=cues(rows), files=files)

    def _add_partition(self, video: Video) -> None:
        if not self.instance.has_dynamic_partition(str(videos.name), video.id):
            self.instance.add_dynamic_partitions(str(videos.name), [video.id])
            self.instance.report_runless_asset_event(upload_event(video))

    def _approve(self, video: Video) -> bool:
        """Approve the wanted region unless it is the approved one. False where there is none."""
        current = artifacts.layout_region(self.store, video)
        wanted = self.options.region or current
        if wanted is None:
            return False
        if video.layout_approved_at is None or (self.options.region and self.options.region != current):
            # Another terminal may have approved it since we looked: one approval, one crop.
            again = self.options.region is not None
            approve(self.catalog, self.store, video, self.options.region, again=again)
        return True

    def _stage(self, video: Video, stage: Stage) -> Video:
        self.listener.stage(video.display_path, stage)
        while True:
            # Looked for first: what a run has made by then is seen below, and nothing is made twice.
            holder = self._under_way(video, stage)
            video = self.catalog.video(video.id)
            if holder is None:
                if self._is_current(video, stage):
                    return video
                holder = self._run(video, stage)
            if holder is None:
                return self.catalog.video(video.id)
            self.listener.note(f"Another run is at work on {video.display_path}: waiting for it.")
            self._wait_for(holder)

    def _under_way(self, video: Video, stage: Stage) -> str | None:
        """A run on this machine that is carrying the stage out, in another terminal or under the daemon."""
        found = self.instance.get_runs(
            dg.RunsFilter(
                job_name=JOB_OF_STAGE[stage], tags={"dagster/partition": video.id}, statuses=runs.UNDER_WAY
            )
        )
        return next((run.run_id for run in found if runs.is_carried_out_here(run)), None)

    def _wait_for(self, run_id: str) -> None:
        """Until that run has ended; one that is not of this instance, as long as a lease lasts."""
        expiry = time.monotonic() + LEASE_TTL.total_seconds()
        while not runs.is_dead(self.instance, run_id):
            if self.instance.get_run_by_id(run_id) is None and time.monotonic() > expiry:
                return
            time.sleep(LOOK_AGAIN_SECONDS)

    def _run(self, video: Video, stage: Stage) -> str | None:
        """Carry the stage out. None when done, the id of the run that holds it if another does.

        Raises StageFailed, and KeyboardInterrupt where the user stopped it.
        """
        job = self.definitions.resolve_job_def(JOB_OF_STAGE[stage])
        now = datetime.now(UTC)
        tier = self.catalog.tier(video.tenant_id)
        tags = run_tags(video, stage, tier=tier, trigger="cli", waiting_since=now, now=now)
        result = job.execute_in_process(
            instance=self.instance,
            partition_key=video.id,
            raise_on_error=False,
            run_config=self._run_config(stage),
            tags=tags if is_answered(video, stage) else UNLESS_ANSWERED | tags,
        )
        if result.success:
            return None
        for event in result.all_events:
            if event.is_run_failure and event.job_failure_data.failure_reason is INTERRUPTED:
                raise KeyboardInterrupt
        for event in result.all_events:
            failure = event.step_failure_data if event.is_step_failure else None
            if failure is not None and failure.user_failure_data is not None:
                metadata = failure.user_failure_data.metadata
                if ANSWERED in metadata:
                    return None
                holder = metadata.get(HELD)
                if holder is not None:
                    return str(holder.value)
                raise StageFailed(str(failure.user_failure_data.description))
            if failure is not None and failure.error is not None:
                raise StageFailed(f"Unexpected failure in {stage}: {failure.error.message.strip()}")
        raise StageFailed(f"The {stage} run did not finish; see run {result.run_id} in the Dagster UI.")

    def _run_config(self, stage: Stage) -> dict[str, Any]:
        quiet: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        if stage != Stage.EXTENTS or self.options.model_version is None:
            return quiet
        config = {"model_version": self.options.model_version}
        return {**quiet, "ops": {crop_and_infer_extents.op.name: {"config": config}}}

    def _is_current(self, video: Video, stage: Stage) -> bool:
        """Whether the stage's artifacts exist, answer the latest request, and come from today's code and the
        model that is wanted."""
        return (
            is_answered(video, stage)
            and all(self._code_is_current(video, name) for name in ASSETS_OF_STAGE[stage])
            and (stage != Stage.EXTENTS or self._model_is_wanted(video))
        )

    def _code_is_current(self, video: Video, asset: str) -> bool:
        made = self._last_made(video, asset)
        spec = self.definitions.resolve_asset_graph().get(dg.AssetKey(asset))
        return made is not None and _code_of((made.tags or {}).get("dagster/code_version")) == _code_of(
            spec.code_version
        )

    def _model_is_wanted(self, video: Video) -> bool:
        made = self._last_made(video, "caption_frame_extents_db")
        wanted = registry.model(self.options.model_version).version
        return made is not None and made.metadata["model_version"].value == wanted

    def _wider_region(self, video: Video) -> CropRegion | None:
        """A wider region where letters reach the edge of the one that the software itself proposed."""
        layout = self._last_made(video, "layout_db")
        region = artifacts.layout_region(self.store, video)
        if self.options.region or layout is None or region is None or not self._crop_warnings(video):
            return None
        return region.widened() if layout.metadata["crop_region"].value == str(region) else None

    def _crop_warnings(self, video: Video) -> Sequence[str]:
        made = self._last_made(video, "caption_frame_extents_db")
        return (str(made.metadata["warnings"].value),) if made and "warnings" in made.metadata else ()

    def _two_places(self, video: Video) -> Sequence[str]:
        """Says so where the software itself decided to read two places of the picture."""
        region = artifacts.layout_region(self.store, video)
        decided = self.options.region is None and region is not None and len(region.parts) > 1
        return (TWO_PLACES.format(region=region),) if decided else ()

    def _last_made(self, video: Video, asset: str) -> dg.AssetMaterialization | None:
        records = self.instance.fetch_materializations(
            dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=[video.id]), limit=1
        ).records
        return records[0].asset_materialization if records else None


def _code_of(version: str | None) -> str | None:
    """A code version without the model that was current beside it."""
    return version and version.partition("+")[0]
