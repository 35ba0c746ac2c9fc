from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from gpu_ops.extents import predict
from gpu_ops.extents.labels import LABELS
from gpu_ops.extents.predict import ExtentPredictor, Prediction
from tests.gpu_ops.extents.plain_model import Frame, PlainModel, strip


def native_frames(seconds: float, fps: float, caption_at: Callable[[float], int]) -> Iterator[Frame]:
    """Every source frame of a video, those on screen at k / 10 s with their grid index."""
    count = round(seconds * fps)
    index = 0
    for number in range(count):
        time, until = number / fps, (number + 1) / fps
        picture = strip(caption_at(time))
        if index / 10 < (number + 1) / fps - 1e-9:
            yield Frame(index, time, until, picture)
            index += 1
        else:
            yield Frame(None, time, until, picture)


def predicted(frames: Iterator[Frame], batch: int = 16, model: PlainModel | None = None) -> Prediction:
    predictor = ExtentPredictor(model or PlainModel(), batch)
    for frame in frames:
        predictor.add(frame)
    return predictor.finish()


def two_captions(time: float) -> int:
    return 1 if 1.03 <= time < 2.51 else 2 if 2.51 <= time < 4.01 else 0


def test_native_frames_give_each_caption_its_exact_source_times() -> None:
    prediction = predicted(native_frames(6, 30, two_captions))
    captions = [e for e in prediction.extents if e.state == "predicted"]
    assert [(round(e.start_s, 4), round(e.end_s, 4)) for e in captions] == [
        (round(31 / 30, 4), round(76 / 30, 4)),
        (round(76 / 30, 4), round(121 / 30, 4)),
    ]
    assert [(e.start_frame_index, e.end_frame_index) for e in captions] == [(11, 25), (26, 40)]


def test_an_empty_native_frame_between_two_captions_ends_the_first_early() -> None:
    prediction = predicted(native_frames(4, 60, lambda time: 1 if time < 2.02 else 0 if time < 2.06 else 2))
    first, second = prediction.extents
    assert first.end_s == pytest.approx(122 / 60)
    assert second.start_s == pytest.approx(124 / 60)


def test_without_native_frames_times_lie_on_the_grid() -> None:
    frames = (Frame(i, i / 10, (i + 1) / 10, strip(two_captions(i / 10))) for i in range(60))
    captions = [e for e in predicted(frames).extents if e.state == "predicted"]
    assert [(e.start_s, e.end_s) for e in captions] == [(1.1, 2.6), (2.6, 4.1)]


def test_a_change_beside_a_frame_that_was_not_decoded_lies_halfway_through_what_that_leaves_open() -> None:
    seen = [frame for place, frame in enumerate(native_frames(6, 30, two_captions)) if place % 3 != 1]
    captions = [e for e in predicted(iter(seen)).extents if e.state == "predicted"]
    true_starts, true_ends = (31 / 30, 76 / 30), (76 / 30, 121 / 30)
    for caption, start, end in zip(captions, true_starts, true_ends, strict=True):
        assert abs(caption.start_s - start) <= 1 / 60 + 1e-9
        assert abs(caption.end_s - end) <= 1 / 60 + 1e-9


@pytest.mark.parametrize("batch", [1, 5, 64])
def test_the_batch_size_changes_nothing_that_is_found(batch: int) -> None:
    expected = predicted(native_frames(9, 25, lambda t: int(t * 1.3) % 4))
    other = predicted(native_frames(9, 25, lambda t: int(t * 1.3) % 4), batch)
    assert other.extents == expected.extents
    assert other.label_counts == expected.label_counts
    np.testing.assert_array_equal(other.forward, expected.forward)


def test_every_grid_frame_is_encoded_once_and_natives_only_at_boundaries() -> None:
    model = PlainModel()
    prediction = predicted(native_frames(20, 50, two_captions), model=model)
    assert prediction.frame_count == 200
    assert model.frames_encoded <= 200 + 3 * 3 * 4
    assert prediction.label_counts == {
        "same": 28,
        "different": 1,
        "empty_empty": 168,
        "empty_valid": 1,
        "valid_empty": 1,
    }


def test_pairs_are_answered_in_both_directions() -> None:
    prediction = predicted(Frame(i, i / 10, (i + 1) / 10, strip(1 if i >= 5 else 0)) for i in range(10))
    assert LABELS[int(prediction.forward[4].argmax())] == "empty_valid"
    assert LABELS[int(prediction.backward[4].argmax())] == "valid_empty"


def test_memory_holds_a_bounded_stretch_of_a_long_video(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "KEPT", 200)
    predictor = ExtentPredictor(PlainModel())
    most = 0
    picture = [np.full((64, 912), caption * 10, np.uint8) for caption in (0, 1)]
    for i in range(2500):  # one caption far longer than what is kept, then ordinary ones
        caption = 1 if i < 1500 else i // 20 % 2
        predictor.add(Frame(i, i / 10, (i + 1) / 10, picture[caption]))
        most = max(most, len(predictor._seen) + len(predictor._waiting) + len(predictor._lately))  # pyright: ignore[reportPrivateUsage]
    prediction = predictor.finish()
    assert most <= 200 + predict.LOOK_EVERY + 3 * 16 + 8
    assert (prediction.extents[0].start_frame_index, prediction.extents[0].end_frame_index) == (0, 1519)
    assert sum(e.state == "predicted" for e in prediction.extents) == 25


def test_a_video_of_one_frame_has_one_extent_and_one_of_none_has_none() -> None:
    assert [e.state for e in predicted(iter([Frame(0, 0.0, 0.1, strip(1))])).extents] == ["predicted"]
    assert [e.state for e in predicted(iter([Frame(0, 0.0, 0.1, strip(0))])).extents] == ["gap"]
    nothing = predicted(iter([]))
    assert (nothing.extents, nothing.frame_count, nothing.forward.shape) == ([], 0, (0, 5))


def test_a_missing_grid_frame_is_refused() -> None:
    predictor = ExtentPredictor(PlainModel())
    predictor.add(Frame(0, 0.0, 0.1, strip(0)))
    with pytest.raises(ValueError, match="grid frame 2 came where 1 was expected"):
        predictor.add(Frame(2, 0.2, 0.3, strip(0)))
