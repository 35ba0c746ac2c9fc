"""On a GPU as on the CPU: the same captions within the tolerances stated here, and the same pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from av.error import FFmpegError

from gpu_ops import gpu
from gpu_ops.extents.model import GPU_BATCH, PairModel
from gpu_ops.extents.predict import ExtentPredictor, Prediction
from gpu_ops.regions import CropRegion
from gpu_ops.video.crop import CroppedFrame, cropped_frames
from tests.e2e.films import render_film

# How far half precision may move a probability; decisions are made at 0.5 and above.
PROBABILITY_TOLERANCE = 0.005
REGION = CropRegion(0.1, 0.72, 0.9, 0.98)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    render_film(path, duration=4.0, script=((0.6, 1.8, "Is it the same?"), (1.8, 3.2, "Nearly so.")))
    return path


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(onnxruntime, "get_available_providers", lambda: [gpu.CPU])
        patch.setattr(gpu, "video_decoder", lambda: None)
        yield


@pytest.mark.usefixtures("no_gpu")
def test_half_precision_in_large_batches_finds_the_same_captions(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = list(cropped_frames(film, REGION, native=True))
    monkeypatch.setattr(PairModel, "on_gpu", True)  # every frame is encoded
    exact = prediction(PairModel.load(), frames)
    monkeypatch.setattr(
        gpu,
        "open_session",
        lambda path, threads: onnxruntime.InferenceSession(gpu.in_half_precision(path), providers=[gpu.CPU]),
    )
    assert_same(prediction(PairModel.load(), frames, GPU_BATCH), exact)


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("count", [1, GPU_BATCH, GPU_BATCH + 1])
def test_a_gpu_is_given_batches_of_one_size(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    strips = np.random.default_rng(count).integers(0, 255, (count, 64, 64), np.uint8)
    model = PairModel.load()
    embeddings = model.encode(strips)
    probabilities = model.compare(embeddings, embeddings[::-1])
    batches: list[int] = []
    run = onnxruntime.InferenceSession.run

    def noted(session: onnxruntime.InferenceSession, names: None, inputs: dict[str, np.ndarray]) -> object:
        batches.extend(len(rows) for rows in inputs.values())
        return run(session, names, inputs)

    monkeypatch.setattr(gpu, "is_on_gpu", lambda session: True)
    monkeypatch.setattr(onnxruntime.InferenceSession, "run", noted)
    assert np.allclose(model.encode(strips), embeddings, atol=1e-3)
    assert np.allclose(model.compare(embeddings, embeddings[::-1]), probabilities, atol=1e-5)
    assert set(batches) <= {GPU_BATCH}


def test_a_gpu_finds_the_same_captions_in_the_same_pictures(
    film: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = PairModel.load()
    if not model.on_gpu or gpu.video_decoder() is None:
        pytest.skip("this machine has no NVIDIA GPU that decodes and runs onnxruntime's CUDA provider")
    frames = list(cropped_frames(film, REGION, native=True))
    on_gpu = prediction(model, frames, GPU_BATCH)
    request.getfixturevalue("no_gpu")
    monkeypatch.setattr(PairModel, "on_gpu", True)  # every frame is encoded, as it was on the GPU
    expected = list(cropped_frames(film, REGION, native=True))
    assert [frame.time for frame in frames] == [frame.time for frame in expected]
    for seen, wanted in zip(frames, expected, strict=True):
        for name in ("y", "u", "v"):
            assert np.array_equal(getattr(seen, name), getattr(wanted, name))
    assert_same(on_gpu, prediction(PairModel.load(), expected))


@pytest.mark.parametrize("fault", ["absent", "wrong", "none"])
def test_a_decoder_is_used_only_if_it_shows_the_same_pictures(
    fault: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Decoder:
        def __init__(self, *_: object, **__: object) -> None: ...

        def create(self, codec: object) -> None:
            if fault == "absent":
                raise FFmpegError(1, "Operation not permitted")

    def decoded(clip: bytes, decoder: Decoder | None) -> str:
        return "other pictures" if fault == "wrong" and decoder else "the pictures"

    monkeypatch.setattr(gpu, "HWAccel", Decoder)
    monkeypatch.setattr(gpu, "_decoded", decoded)
    monkeypatch.setattr(gpu, "video_decoder", gpu.video_decoder.__wrapped__)
    assert (gpu.video_decoder() is not None) == (fault == "none")
    assert ("other pictures than the CPU" in caplog.text) == (fault == "wrong")
    assert gpu.computed_on(False) == f"CPU, decoded by {'NVDEC' if fault == 'none' else 'CPU'}"


def prediction(model: PairModel, frames: list[CroppedFrame], batch: int = 16) -> Prediction:
    predictor = ExtentPredictor(model, batch)
    for frame in frames:
        predictor.add(frame)
    return predictor.finish()


def assert_same(found: Prediction, expected: Prediction) -> None:
    assert [extent.state for extent in expected.extents].count("predicted") == 2
    assert [replace(extent, confidence=0) for extent in found.extents] == [
        replace(extent, confidence=0) for extent in expected.extents
    ]
    for probabilities, wanted in ((found.forward, expected.forward), (found.backward, expected.backward)):
        assert np.abs(probabilities - wanted).max() < PROBABILITY_TOLERANCE
