"""The three jobs of a video's life, and the tags by which the run queue limits and orders them.

Steps of one run share one process: an asset of these jobs only waits for compute elsewhere.
"""

from collections.abc import Mapping
from datetime import datetime

import dagster as dg

from captionacc_dagster.automation.priority import effective_priority
from captionacc_dagster.catalog.protocol import Stage, Video

video_initial_processing = dg.define_asset_job(
    "video_initial_processing",
    selection=dg.AssetSelection.assets("full_frames", "raw_ocr_db", "layout_db"),
    tags={"stage": "initial"},
    description="A new video: sample full frames, read them, propose the caption region.",
)

crop_and_infer = dg.define_asset_job(
    "crop_and_infer",
    selection=dg.AssetSelection.assets("cropped_frames", "caption_frame_extents_db"),
    tags={"stage": "crop_and_infer"},
    description="An approved region: crop and encode it at 10 Hz, find where captions begin and end.",
)

caption_ocr = dg.define_asset_job(
    "caption_ocr",
    selection=dg.AssetSelection.assets("captions_db", "subtitles"),
    tags={"stage": "caption_ocr"},
    description="New extents or an annotator's request: read the captions, keep what annotators did.",
)

export_training_data = dg.define_asset_job(
    "export_training_data",
    selection=dg.AssetSelection.assets("training_data"),
    tags={"stage": "training_data"},
    description="Asked for by an operator: what annotators confirmed, as labelled frames for training.",
)

JOB_OF_STAGE: Mapping[Stage, str] = {
    Stage.LAYOUT: video_initial_processing.name,
    Stage.EXTENTS: crop_and_infer.name,
    Stage.CAPTIONS: caption_ocr.name,
}


# On runs that were started because something waits: should another run make it first, they do nothing.
UNLESS_ANSWERED = {"unless_answered": "on"}


def run_tags(
    video: Video, stage: Stage, *, tier: str, trigger: str, waiting_since: datetime, now: datetime
) -> dict[str, str]:
    """Who a run is for, why it runs, and how urgent it is. `trigger`: sensor | recovery | cli."""
    return {
        "tenant": video.tenant_id,
        f"tenant/{stage}": video.tenant_id,
        "tier": tier,
        "trigger": trigger,
        "age_boosting": "on",
        "waiting_since": waiting_since.isoformat(),
        "dagster/priority": str(effective_priority(tier, waiting_since, now)),
    }
