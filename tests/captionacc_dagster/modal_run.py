"""One run of a video's crop_and_infer in a process of its own, computing on Modal: to be killed by a test."""

import sys

from captionacc_dagster.definitions import build_definitions
from captionacc_dagster.instance import open_instance
from captionacc_dagster.jobs import crop_and_infer
from captionacc_dagster.resources.modal_compute import ModalCompute
from captionacc_dagster.settings import load_settings


def main(video_id: str) -> None:
    settings = load_settings()
    definitions = build_definitions(settings, {"compute": ModalCompute(settings)})
    with open_instance(settings) as instance:
        job = definitions.resolve_job_def(crop_and_infer.name)
        job.execute_in_process(instance=instance, partition_key=video_id)


if __name__ == "__main__":
    main(sys.argv[1])
