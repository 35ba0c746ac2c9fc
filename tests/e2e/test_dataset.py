"""What annotators confirmed becomes training data: exported, true, kept apart by tenant, and learned from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from captionacc_dagster.catalog.protocol import Catalog
from gpu_ops.contract import VideoKeys
from gpu_ops.extents import registry
from gpu_ops.extents.examples import UNKNOWN, mixed_batches, pair_labels, shards_in
from gpu_ops.extents.model import PairModel
from gpu_ops.extents.recipe import Recipe
from gpu_ops.extents.train import train
from gpu_ops.store import ObjectStore
from tests.e2e.conftest import Captionacc
from tests.e2e.films import SCRIPT
from tests.e2e.test_annotators_work import edited

pytestmark = pytest.mark.slow

OTHER_TENANT = "00000000-0000-4000-8000-00000000beef"


def confirm(store: ObjectStore, keys: VideoKeys, scratch: Path, starts: Sequence[float]) -> None:
    """As the annotation app does when an annotator accepts the captions that begin at these seconds."""
    with edited(store, keys.captions_db, scratch) as db:
        for start in starts:
            changed = db.execute(
                "UPDATE captions SET caption_frame_extents_state = 'confirmed', "
                "caption_frame_extents_pending = 0, "
                "caption_frame_extents_updated_at = '2026-03-04T05:06:07+00:00' "
                "WHERE abs(start_frame_index - ?) <= 1",
                (round(start * 10),),
            ).rowcount
            assert changed == 1


def test_confirmed_captions_are_exported_truly_labelled_and_can_be_trained_on(
    processed: Path, captionacc: Captionacc, tmp_path: Path, catalog: Catalog, store: ObjectStore
) -> None:
    (video,) = catalog.videos()
    keys = VideoKeys(video.tenant_id, video.id)
    confirm(store, keys, tmp_path, [start for start, _, _ in SCRIPT[:3]])
    out = tmp_path / "dataset"

    done = captionacc("dataset", "export", out)
    assert done.returncode == 0, done.stderr
    assert "3 confirmed captions" in done.stdout
    again = captionacc("dataset", "export", out)
    assert again.returncode == 0, again.stderr
    late = captionacc("dataset", "export", tmp_path / "late", "--since", "2026-03-05")
    assert "No confirmed captions" in late.stdout

    (path,) = shards_in(out)
    provenance = json.loads((path.parent / "provenance.json").read_text())
    assert (provenance["tenant_id"], provenance["video_id"]) == (video.tenant_id, video.id)
    assert provenance["model_version"] == registry.current_version()
    assert [shard["name"] for shard in provenance["shards"]] == [path.name]
    assert all(info.key.split("/")[1] == "server" for info in store.list(keys.training_data))
    # Two of the three captions touch, so three captions have five ends.
    with np.load(path) as shard:
        frames, captions, letters = shard["frames"], shard["captions"], shard["letters"]
    assert len(frames) == len(captions) == len(letters) == provenance["scenes"] == 5
    assert {int(n) for n in letters[captions == 0].ravel()} == {0}
    assert {int(n) for n in letters[captions > 0].ravel()} == {UNKNOWN}
    assert agreement_with_the_current_model(frames, captions) >= 0.9

    recipe = Recipe(scenes=0, hard=0, steps=3, batch_scenes=2, learning_rate=1e-3)
    outcome = train(mixed_batches([path], [path], 0.5, recipe.batch_scenes, 1), recipe, 1)
    assert np.isfinite(outcome.loss)


def agreement_with_the_current_model(
    frames: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
    captions: np.ndarray[tuple[int, ...], np.dtype[np.int8]],
) -> float:
    """The share of neighbouring frames whose labels the shipped model, which saw the film itself, shares."""
    model = PairModel.load()
    right: list[bool] = []
    for scene, shown in zip(frames, captions, strict=True):
        embeddings = model.encode(scene)
        answers = model.compare(embeddings[:-1], embeddings[1:]).argmax(axis=1)
        right += (answers == pair_labels(shown[:-1], shown[1:])).tolist()
    return sum(right) / len(right)


def test_a_folder_with_another_tenants_frames_is_refused(
    captionacc: Captionacc, tmp_path: Path, catalog: Catalog
) -> None:
    theirs = tmp_path / "dataset" / "some-video"
    theirs.mkdir(parents=True)
    (theirs / "provenance.json").write_text(json.dumps({"tenant_id": OTHER_TENANT}))
    done = captionacc("dataset", "export", tmp_path / "dataset")
    assert done.returncode == 2
    assert "holds another tenant's frames" in done.stderr
