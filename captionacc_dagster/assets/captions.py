"""Captions: extents become rows, each new row is read once, annotators' work stays, subtitles are written."""

import html
from collections.abc import Sequence
from typing import Any

import dagster as dg

from captionacc_dagster import artifacts
from captionacc_dagster.artifacts import keys_of
from captionacc_dagster.assets.work import MOST_RETRIES, RETRY_DELAY_S, picture, stage_work
from captionacc_dagster.catalog.lease import HeldWork
from captionacc_dagster.catalog.protocol import Catalog, Stage
from captionacc_dagster.partitions import videos
from captionacc_dagster.resources.compute import Compute
from gpu_ops.captions import subtitles as formats
from gpu_ops.captions.rows import CaptionRow, apply_readings, frames_to_read, merge_same_text
from gpu_ops.contract import (
    CODE_VERSIONS,
    CaptionOcrBatch,
    CaptionOcrRequest,
    CaptionOcrResult,
)
from gpu_ops.store import ObjectStore

# So many that one call pays for its start and fills the pages that Google Vision is paid by, so few that it
# ends well within its time limit.
CAPTIONS_PER_CALL = 800
CAPTIONS_SHOWN = 50


@dg.asset(
    deps=["cropped_frames", "caption_frame_extents_db"],
    partitions_def=videos,
    group_name="captions",
    kinds={"sqlite"},
    code_version=CODE_VERSIONS["captions"],
    description="Every caption with its range and text, for annotators to correct. What they confirmed, "
    "wrote or noted survives every re-run.",
)
def captions_db(
    context: dg.AssetExecutionContext,
    catalog: dg.ResourceParam[Catalog],
    store: dg.ResourceParam[ObjectStore],
    compute: dg.ResourceParam[Compute],
) -> dg.MaterializeResult[Any]:
    with stage_work(context, catalog, Stage.CAPTIONS) as held:
        video, run_id = held.video, context.run.run_id
        extents = artifacts.read_extents(store, video)
        planned = artifacts.merged_captions(store, video, extents, artifacts.timestamp())
        unread = [row for row in planned.rows if row.needs_reading]
        gaps = [row for row in planned.rows if row.state == "gap"]
        batches = _read(context, compute, held, extents, unread, gaps)
        readings = {
            (row.start_frame_index, row.end_frame_index): result
            for row, result in zip(unread, _results(batches), strict=True)
        }
        # Reading took a while: merge into what an annotator may have written meanwhile.
        now = artifacts.timestamp()
        latest = artifacts.merged_captions(store, video, extents, now)
        captions = merge_same_text(apply_readings(latest.rows, readings, now), latest.seams, now)
        catalog.renew(video.id, Stage.CAPTIONS, run_id)
        artifacts.publish_captions(store, video, captions, extents)
        key = keys_of(video).captions_db
        catalog.finish_captions(video.id, run_id, key, requested_at=video.captions_requested_at)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(artifacts.digest(_content(captions.rows))),
        metadata={
            **_counts(captions.rows),
            "newly_read": len(unread),
            "model_version": extents.model_version,
            "key": key,
            "texts": _table(captions.rows),
            **_pictures(batches),
        },
    )


@dg.asset(
    deps=[captions_db],
    partitions_def=videos,
    group_name="captions",
    kinds={"srt"},
    code_version=CODE_VERSIONS["captions"],
    retry_policy=dg.RetryPolicy(max_retries=MOST_RETRIES, delay=RETRY_DELAY_S),
    description="captions.srt and captions.vtt, with annotators' corrections where there are any.",
)
def subtitles(
    context: dg.AssetExecutionContext,
    catalog: dg.ResourceParam[Catalog],
    store: dg.ResourceParam[ObjectStore],
) -> dg.MaterializeResult[Any]:
    video = catalog.video(context.partition_key)
    rows = artifacts.read_captions(store, video)
    srt, vtt = formats.srt_of(rows), formats.vtt_of(rows)
    store.put(keys_of(video).subtitles("srt"), srt.encode())
    store.put(keys_of(video).subtitles("vtt"), vtt.encode())
    first = "\n".join(srt.splitlines()[:60])
    return dg.MaterializeResult(
        data_version=dg.DataVersion(artifacts.digest(srt)),
        metadata={
            "dagster/row_count": len(formats.cues(rows)),
            "key": keys_of(video).subtitles("srt"),
            "beginning": dg.MetadataValue.md(f"```\n{first}\n```"),
        },
    )


def _read(
    context: dg.AssetExecutionContext,
    compute: Compute,
    held: HeldWork,
    extents: artifacts.StoredExtents,
    rows: Sequence[CaptionRow],
    gaps: Sequence[CaptionRow],
) -> list[CaptionOcrBatch]:
    captions = [frames_to_read(row, extents.rests) for row in rows]
    return [
        compute.generate_caption_ocr(
            context,
            CaptionOcrRequest(
                chunks_prefix=keys_of(held.video).cropped_frames(extents.cropped_frames_version),
                captions=tuple(captions[first : first + CAPTIONS_PER_CALL]),
                languages=tuple(filter(None, held.video.languages.split(","))),
                gaps=tuple(gap.frames for gap in gaps),
            ),
            held,
        )
        for first in range(0, len(captions), CAPTIONS_PER_CALL)
    ]


def _results(batches: Sequence[CaptionOcrBatch]) -> list[CaptionOcrResult]:
    return [result for batch in batches for result in batch.captions]


def _content(rows: Sequence[CaptionRow]) -> str:
    """What a reader of the captions sees, without the times at which it was written."""
    return repr(
        [(row.start_frame_index, row.end_frame_index, row.state, row.text, row.caption_ocr) for row in rows]
    )


def _counts(rows: Sequence[CaptionRow]) -> dict[str, Any]:
    return {
        "dagster/row_count": len(rows),
        "captions": sum(row.is_caption for row in rows),
        "confirmed": sum(row.state == "confirmed" for row in rows),
        "gaps": sum(row.state == "gap" for row in rows),
        "issues": sum(row.state == "issue" for row in rows),
        "doubtful_texts": sum(row.text_pending for row in rows),
        "failed_readings": sum(row.ocr_status == "error" for row in rows),
    }


def _table(rows: Sequence[CaptionRow]) -> dg.MarkdownMetadataValue:
    """The first captions as text, for scripts that the picture's font cannot show."""
    lines = [
        f"| {cue.start_s:.1f} | {cue.end_s:.1f} | {_escaped(cue.text)} | {cue.confidence or 0:.2f} |"
        for cue in formats.cues(rows)[:CAPTIONS_SHOWN]
    ]
    return dg.MetadataValue.md(
        "\n".join(["| start s | end s | text | confidence |", "|---|---|---|---|", *lines])
    )


def _escaped(text: str) -> str:
    """Text as a cell of a Markdown table shows it literally; Dagster shows no line breaks in one."""
    return html.escape(text).replace("|", "&#124;").replace("\n", " / ")


def _pictures(batches: Sequence[CaptionOcrBatch]) -> dict[str, Any]:
    if not batches:
        return {}
    first = batches[0]
    facts: dict[str, Any] = {
        "ocr_engine": first.ocr_engine,
        "billed_images": sum(batch.billed_images for batch in batches),
        "ocr_seconds": round(sum(batch.processing_duration_seconds for batch in batches), 2),
    }
    warnings = dict.fromkeys(warning for batch in batches for warning in batch.warnings)
    if warnings:
        facts["warnings"] = dg.MetadataValue.md("\n\n".join(warnings))
    if first.preview_jpeg:
        facts["captions beside their text"] = picture(first.preview_jpeg)
    return facts
