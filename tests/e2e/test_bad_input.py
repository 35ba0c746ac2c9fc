"""Bad and odd input: one clear sentence in the catalog, the run and the output; never a retry storm."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from captionacc_dagster.catalog.protocol import Catalog
from captionacc_dagster.definitions import build_definitions
from captionacc_dagster.instance import open_instance
from captionacc_dagster.process import ProcessOptions, process_videos
from captionacc_dagster.progress import PlainProgress
from captionacc_dagster.settings import DEFAULT_TENANT_ID, Settings
from gpu_ops.regions import CropRegion
from gpu_ops.store import ObjectStore
from tests import broken_videos
from tests.e2e.conftest import Captionacc

pytestmark = pytest.mark.slow

# The pictures of these videos carry no captions, so the region is given.
OPTIONS = ProcessOptions(tenant_id=DEFAULT_TENANT_ID, region=CropRegion(0.0, 0.6, 1.0, 0.9))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (broken_videos.text_file, "not a video"),
        (broken_videos.cut_without_index, "cut short"),
        (broken_videos.cut_before_first_frame, "no video frames"),
        (broken_videos.audio_only, "no video"),
        (broken_videos.sound_with_cover, "no video"),
    ],
)
def test_a_file_that_cannot_be_read_ends_in_error_after_one_try_with_one_sentence_everywhere(
    make: Callable[[Path], Path],
    words: str,
    tmp_path: Path,
    settings: Settings,
    catalog: Catalog,
    instance: dg.DagsterInstance,
) -> None:
    (done,) = process_videos([make(tmp_path)], settings, OPTIONS, PlainProgress(io.StringIO()))

    (video,) = catalog.videos()
    assert done.error == video.error_message
    assert video.status == "error"
    assert words in str(done.error).lower()
    assert "Traceback" not in str(done.error)
    (run,) = instance.get_runs()
    starts = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_START)
    restarts = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_RESTARTED)
    assert (len(starts), len(restarts)) == (1, 0)
    failure = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)[0].dagster_event
    assert failure is not None
    assert str(done.error) in str(failure.step_failure_data.user_failure_data)
    assert catalog.waiting_for_layout(10) == []


@pytest.mark.parametrize(
    "make",
    [
        broken_videos.one_frame,
        broken_videos.three_tenths,
        broken_videos.odd_size,
        broken_videos.ten_bit_hevc,
        broken_videos.rotated_90,
        broken_videos.variable_rate,
        broken_videos.cut_in_the_middle,
        broken_videos.late_start,
        broken_videos.transport_stream,
    ],
)
def test_an_odd_but_readable_video_goes_through_every_stage(
    make: Callable[[Path], Path], tmp_path: Path, settings: Settings, catalog: Catalog
) -> None:
    (done,) = process_videos([make(tmp_path)], settings, OPTIONS, PlainProgress(io.StringIO()))
    assert done.error is None
    (video,) = catalog.videos()
    assert (video.status, video.caption_status) == ("active", "ready")
    assert [path.suffix for path in done.files] == [".srt", ".vtt", ".json"]


def test_an_empty_file_is_refused_before_it_is_taken_in(
    captionacc: Captionacc, tmp_path: Path, catalog: Catalog
) -> None:
    done = captionacc("process", broken_videos.empty_file(tmp_path))
    assert done.returncode != 0
    assert "is empty" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(catalog.videos()) == []


@pytest.mark.parametrize(
    "name", ["two words.mp4", 'it\'s "quoted".mp4', "two\nlines.mp4", "%d:1.mp4", "-o.mp4"]
)
def test_a_hostile_file_name_is_only_a_name(
    name: str, tmp_path: Path, settings: Settings, catalog: Catalog
) -> None:
    path = tmp_path / "in" / name
    path.parent.mkdir()
    shutil.move(broken_videos.three_tenths(tmp_path), path)
    (done,) = process_videos([path], settings, OPTIONS, PlainProgress(io.StringIO()))
    assert done.error is None
    assert all(file.parent == path.parent for file in done.files)
    (video,) = catalog.videos()
    assert "\n" not in video.display_path


def test_a_path_with_parent_folders_stays_where_it_points(
    captionacc: Captionacc, tmp_path: Path, catalog: Catalog
) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    shutil.move(broken_videos.three_tenths(tmp_path), tmp_path / "a" / "clip.mp4")
    done = captionacc("process", tmp_path / "a" / "b" / ".." / "clip.mp4", "--region", "0,0.5,1,1")
    assert done.returncode == 0, done.stderr
    (video,) = catalog.videos()
    assert video.display_path == "clip.mp4"
    assert ".." not in video.storage_key


def test_the_same_file_twice_is_one_video(tmp_path: Path, settings: Settings, catalog: Catalog) -> None:
    first = broken_videos.three_tenths(tmp_path)
    second = tmp_path / "copy.mp4"
    shutil.copy(first, second)
    done = process_videos([first, second], settings, OPTIONS, PlainProgress(io.StringIO()))
    assert [d.error for d in done] == [None, None]
    assert len(list(catalog.videos())) == 1
    assert second.with_suffix(".srt").exists()


def test_a_video_whose_object_is_missing_says_so(
    tmp_path: Path, settings: Settings, catalog: Catalog, store: ObjectStore, captionacc: Captionacc
) -> None:
    captionacc("ingest", broken_videos.three_tenths(tmp_path))
    (video,) = catalog.videos()
    store.delete([video.storage_key])
    definitions_run(settings, video.id)
    failed = catalog.video(video.id)
    assert failed.status == "error"
    assert f"There is no object {video.storage_key} in the store." in str(failed.error_message)


def definitions_run(settings: Settings, video_id: str) -> None:
    """The first run of a video, as the sensor would start it."""
    with open_instance(settings) as instance:
        instance.add_dynamic_partitions("videos", [video_id])
        job = build_definitions(settings).resolve_job_def("video_initial_processing")
        assert not job.execute_in_process(
            instance=instance, partition_key=video_id, raise_on_error=False
        ).success


def test_a_folder_and_a_missing_file_are_refused_with_a_sentence(
    captionacc: Captionacc, tmp_path: Path
) -> None:
    for path in (tmp_path, tmp_path / "nothing.mp4"):
        done = captionacc("process", path)
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
        assert path.name in done.stderr
