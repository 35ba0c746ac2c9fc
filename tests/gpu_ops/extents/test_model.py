"""The shipped weights on strips drawn with OpenCV's own letters, and the export of freshly made ones."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gpu_ops.extents import registry
from gpu_ops.extents.export import export
from gpu_ops.extents.model import PairModel
from gpu_ops.extents.network import EMBEDDING, PairNetwork
from gpu_ops.extents.predict import ExtentPredictor, Prediction
from gpu_ops.extents.strips import model_size
from tests.gpu_ops.extents.plain_model import Frame

HEIGHT, WIDTH = 90, 960


@pytest.fixture(scope="module")
def shipped() -> PairModel:
    return PairModel.load()


def clouds(seed: int) -> NDArray[np.uint8]:
    """A soft picture wider than the strip, to move behind it."""
    grid = np.random.default_rng(seed).uniform(20, 150, (6, 40)).astype(np.float32)
    return (
        cv2.resize(grid, (WIDTH + 400, HEIGHT), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)
    )


def drawn(background: NDArray[np.uint8], i: int, text: str) -> NDArray[np.uint8]:
    """The strip at grid frame `i`: background moved by 3 pixels a frame, white outlined text over it."""
    strip = np.ascontiguousarray(background[:, 3 * i : 3 * i + WIDTH])
    (length, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, 1.3, 2)
    place = ((WIDTH - length) // 2, 60)
    cv2.putText(strip, text, place, cv2.FONT_HERSHEY_DUPLEX, 1.3, 0, 7, cv2.LINE_AA)
    cv2.putText(strip, text, place, cv2.FONT_HERSHEY_DUPLEX, 1.3, 240, 2, cv2.LINE_AA)
    return strip


def predicted(model: PairModel, texts: list[str]) -> Prediction:
    background = clouds(1)
    predictor = ExtentPredictor(model)
    for i, text in enumerate(texts):
        predictor.add(Frame(i, i / 10, (i + 1) / 10, drawn(background, i, text)))
    return predictor.finish()


def captions_found(model: PairModel, texts: list[str]) -> list[tuple[int, int]]:
    extents = predicted(model, texts).extents
    return [(e.start_frame_index, e.end_frame_index) for e in extents if e.state == "predicted"]


def test_captions_are_found_over_a_moving_picture(shipped: PairModel) -> None:
    texts = [""] * 10 + ["Where have you been?"] * 20 + [""] * 12 + ["I was at home all day."] * 15 + [""] * 8
    assert captions_found(shipped, texts) == [(10, 29), (42, 56)]


def test_captions_back_to_back_are_told_apart(shipped: PairModel) -> None:
    texts = [""] * 6 + ["Where have you been?"] * 15 + ["At home, all day."] * 15 + [""] * 6
    assert captions_found(shipped, texts) == [(6, 20), (21, 35)]


def test_the_same_caption_after_a_gap_is_found_twice(shipped: PairModel) -> None:
    texts = ["No!"] * 12 + [""] * 8 + ["No!"] * 12
    assert captions_found(shipped, texts) == [(0, 11), (20, 31)]


def test_nothing_is_invented_where_nothing_is_written(shipped: PairModel) -> None:
    assert captions_found(shipped, [""] * 60) == []


def test_captions_wider_than_the_strip_are_counted(shipped: PairModel) -> None:
    fits, too_wide = "Where have you been all day?", "Where have you been all day, and why did you go?"
    texts = [""] * 10 + [fits] * 20 + [""] * 8 + [too_wide] * 20 + [fits] * 15 + [""] * 8
    assert predicted(shipped, texts).cut_off_count == 1


@pytest.mark.parametrize(
    ("height", "width"), [(120, 1700), (220, 1700), (60, 400), (30, 1900), (400, 700), (16, 16)]
)
def test_strips_of_any_shape_are_encoded(shipped: PairModel, height: int, width: int) -> None:
    size = model_size(height, width)
    assert size[0] % 16 == size[1] % 16 == 0
    predictor = ExtentPredictor(shipped)
    for i in range(5):
        predictor.add(Frame(i, i / 10, (i + 1) / 10, np.full((height, width), 90, np.uint8)))
    assert [e.state for e in predictor.finish().extents] == ["gap"]


def test_an_exported_model_answers_as_the_trained_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(5)
    network = PairNetwork().eval()
    folder = export(network, tmp_path, {})
    monkeypatch.setattr(registry, "MODELS_FOLDER", tmp_path)
    assert registry.content_version(folder) == folder.name
    model = PairModel.load()
    strips = np.random.default_rng(2).integers(0, 256, (3, 64, 256), dtype=np.uint8)
    embeddings = model.encode(strips)
    assert embeddings.shape == (3, EMBEDDING, 8, 32)
    with torch.no_grad():
        expected = torch.softmax(
            network.head(*(torch.from_numpy(embeddings[rows]) for rows in ([0, 1], [1, 2]))), dim=1
        )
        encoded = network.encoder(torch.from_numpy(strips))
    np.testing.assert_allclose(embeddings.astype(np.float32), encoded.numpy(), atol=2e-2, rtol=2e-2)
    np.testing.assert_allclose(
        model.compare(embeddings[[0, 1]], embeddings[[1, 2]]), expected.numpy(), atol=1e-3
    )
