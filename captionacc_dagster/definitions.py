"""The Definitions that Dagster loads. It only assembles: nothing is opened, no pixel library imported."""

from collections.abc import Iterable, Mapping
from datetime import timedelta

import dagster as dg

from captionacc_dagster import jobs
from captionacc_dagster.assets import captions, checks, extents, layout, training
from captionacc_dagster.automation.endings import build_ending_sensors
from captionacc_dagster.automation.priority import build_aging_sensor
from captionacc_dagster.automation.stuck import build_recovery_schedule
from captionacc_dagster.automation.waiting import build_waiting_sensors
from captionacc_dagster.resources import build_resources
from captionacc_dagster.settings import Settings, load_settings

ASSETS = [
    layout.video,
    layout.read_full_frames,
    extents.crop_and_infer_extents,
    captions.captions_db,
    captions.subtitles,
    training.training_data,
]
JOBS = [jobs.video_initial_processing, jobs.crop_and_infer, jobs.caption_ocr, jobs.export_training_data]


def build_definitions(settings: Settings, resources: Mapping[str, object] | None = None) -> dg.Definitions:
    """The graph for these settings; `resources` replace those of the profile by name."""
    sensors: Iterable[dg.SensorDefinition] = [
        *build_waiting_sensors(settings.sensor_interval_s),
        *build_ending_sensors(settings.sensor_interval_s),
        build_aging_sensor(settings.aging_interval_s),
    ]
    return dg.Definitions(
        assets=ASSETS,
        asset_checks=checks.CHECKS,
        jobs=JOBS,
        sensors=sensors,
        schedules=[
            build_recovery_schedule(
                timedelta(minutes=settings.stuck_after_minutes), settings.stuck_check_minutes
            )
        ],
        resources={**build_resources(settings), **(resources or {})},
        executor=dg.in_process_executor,
    )


defs = build_definitions(load_settings())
