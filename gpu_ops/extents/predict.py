"""From a stream of cropped frames to extents: encodes each frame once, compares, decodes, refines.

Memory does not grow with the video but for about 100 bytes a grid frame (its probabilities): strips and embeddings are
kept only for the frames lately seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gpu_ops.contract import GRID_HZ
from gpu_ops.extents.decode import Extent, PairEvidence, State, best_steps, extents_of_steps, single_frame
from gpu_ops.extents.labels import DIFFERENT, EMPTY_EMPTY, LABELS, REVERSED, SAME
from gpu_ops.extents.model import Embeddings, PairModel
from gpu_ops.extents.refine import Change, find_change
from gpu_ops.extents.strips import model_size, normalised

BATCH = 16
WIDEST = 3  # frames apart of the widest pair looked at
CLEAR = 0.9  # a neighbouring pair this surely unchanged holds no boundary
CLEAR_WIDE = 0.6


class LumaFrame(Protocol):
    """What the predictor needs of a cropped frame: its grid index (None for a native frame between grid positions),
    its source time in seconds, and its luma plane, uint8 (H, W)."""

    @property
    def index(self) -> int | None: ...
    @property
    def time(self) -> float: ...
    @property
    def y(self) -> NDArray[np.uint8]: ...


@dataclass(frozen=True)
class TimedExtent(Extent):
    """An extent with its times in seconds: `end_s` is exclusive, the first moment that no longer shows it. Exact source
    frame times where native frames were seen, grid times (index / 10) elsewhere."""

    start_s: float
    end_s: float


@dataclass(frozen=True)
class Prediction:
    """All that was found in a sequence of `frame_count` grid frames.

    `forward` and `backward`, float32 (frame_count - 1, 5): label probabilities of the pairs (i, i+1) and (i+1, i), in the
    order of labels.LABELS. `label_counts` counts the forward labels. `extents` partition the grid.
    """

    frame_count: int
    forward: NDArray[np.float32]
    backward: NDArray[np.float32]
    extents: list[TimedExtent]
    label_counts: dict[str, int]
    model_version: str
    model_checkpoint_path: str


@dataclass
class _Pending:
    """A grid frame not yet encoded, and the native frames seen after it: normalised strips and their times."""

    strip: NDArray[np.uint8]
    time: float
    later_strips: list[NDArray[np.uint8]] = field(default_factory=list)
    later_times: list[float] = field(default_factory=list)


class ExtentPredictor:
    """Feed it every cropped frame of a video in order, then ask for the prediction.

    Args:
        model: the pair model.
        batch: grid frames encoded at once.
    """

    def __init__(self, model: PairModel, batch: int = BATCH) -> None:
        self._model = model
        self._batch = batch
        self._size: tuple[int, int] | None = None
        self._count = 0
        self._waiting: list[_Pending] = []
        self._recent: list[tuple[_Pending, Embeddings]] = []  # the newest encoded frames, oldest first
        self._encoded = 0
        self._forward: list[NDArray[np.float32]] = []
        self._backward: list[NDArray[np.float32]] = []
        self._wider: tuple[list[NDArray[np.float32]], ...] = ([], [])
        self._changes: dict[int, Change] = {}

    def add(self, frame: LumaFrame) -> None:
        """Take the next frame. Raises ValueError if a grid index is missing or comes twice."""
        if self._size is None:
            self._size = model_size(*frame.y.shape)
        strip = normalised(frame.y, self._size)
        if strip is frame.y:
            strip = strip.copy()
        if frame.index is None:
            if self._waiting:
                self._waiting[-1].later_strips.append(strip)
                self._waiting[-1].later_times.append(frame.time)
            return
        if frame.index != self._count:
            raise ValueError(f"grid frame {frame.index} came where {self._count} was expected")
        self._count += 1
        # One waits always: native frames after it are still to come.
        if len(self._waiting) > self._batch:
            self._advance(self._batch)
        self._waiting.append(_Pending(strip, frame.time))

    def finish(self) -> Prediction:
        """Decode everything seen. Without any grid frame there are no extents."""
        self._advance(len(self._waiting))
        forward, backward = _joined(self._forward), _joined(self._backward)
        evidence = PairEvidence(
            (forward + backward[:, REVERSED]) / 2, *(_joined(rows) for rows in self._wider)
        )
        if self._count < 2:
            extents, steps = self._without_pairs(), np.zeros(0, np.int8)
        else:
            steps = best_steps(evidence)
            extents = extents_of_steps(steps, evidence)
        counts = (
            np.bincount(forward.argmax(axis=1), minlength=len(LABELS)) if len(forward) else np.zeros(5, int)
        )
        return Prediction(
            frame_count=self._count,
            forward=forward,
            backward=backward,
            extents=_timed(extents, steps, self._changes),
            label_counts={label: int(count) for label, count in zip(LABELS, counts, strict=True)},
            model_version=self._model.version,
            model_checkpoint_path=self._model.checkpoint_path,
        )

    def _without_pairs(self) -> list[Extent]:
        if self._count == 0:
            return []
        only = self._recent[-1][1][None]
        return single_frame(self._model.compare(only, only)[0])

    def _advance(self, count: int) -> None:
        """Encode the `count` oldest waiting frames and compare them with those before."""
        if count == 0:
            return
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        embeddings = self._model.encode([pending.strip for pending in taken])
        known = len(self._recent)
        self._recent += list(zip(taken, embeddings, strict=True))
        stack = np.stack([embedding for _, embedding in self._recent])
        for apart in (1, 2, 3):
            first = max(0, known - apart)
            a, b = stack[first : len(stack) - apart], stack[first + apart :]
            if len(b) == 0:
                continue
            if apart == 1:
                self._forward.append(self._model.compare(a, b))
                self._backward.append(self._model.compare(b, a))
            else:
                self._wider[apart - 2].append(self._model.compare(a, b))
        self._encoded += count
        self._refine(max(0, known - 1 - WIDEST), len(self._recent) - 1)
        self._recent = self._recent[-(WIDEST + 2) :]

    def _refine(self, first: int, last: int) -> None:
        """Look at the native frames inside the pairs (k, k + 1), first <= k < last, of the recent frames that may hold
        a boundary."""
        oldest = self._encoded - len(self._recent)
        for k in range(first, last):
            pair = oldest + k
            pending, before = self._recent[k]
            if pair in self._changes or not pending.later_strips or not self._may_change(pair):
                continue
            following, after = self._recent[k + 1]
            between = self._model.encode(pending.later_strips)
            self._changes[pair] = find_change(
                self._model, before, after, between, [*pending.later_times, following.time]
            )

    def _may_change(self, pair: int) -> bool:
        if _unchanged(self._forward, pair) < CLEAR or _unchanged(self._backward, pair) < CLEAR:
            return True
        around = (_unchanged(self._wider[0], pair - 1), _unchanged(self._wider[0], pair))
        return min(around) < CLEAR_WIDE


def _unchanged(blocks: Sequence[NDArray[np.float32]], row: int) -> float:
    """Probability that row `row` of the joined blocks shows no change; 1 where there is no such row (yet)."""
    end = sum(len(block) for block in blocks)
    if not 0 <= row < end:
        return 1.0
    for block in reversed(blocks):
        end -= len(block)
        if row >= end:
            return float(block[row - end, [SAME, EMPTY_EMPTY]].max())
    return 1.0


def _joined(blocks: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.concatenate(blocks) if blocks else np.zeros((0, len(LABELS)), np.float32)


def _timed(
    extents: Sequence[Extent], steps: NDArray[np.int8], changes: dict[int, Change]
) -> list[TimedExtent]:
    timed: list[TimedExtent] = []
    for extent in extents:
        start_s, end_s = extent.start_frame_index / GRID_HZ, (extent.end_frame_index + 1) / GRID_HZ
        before, after = extent.start_frame_index - 1, extent.end_frame_index
        if before in changes:
            change = changes[before]
            start_s = change.entered if steps[before] == DIFFERENT else change.at
        if after in changes:
            change = changes[after]
            end_s = change.left if steps[after] == DIFFERENT else change.at
        state: State = extent.state
        timed.append(
            TimedExtent(
                extent.start_frame_index,
                extent.end_frame_index,
                state,
                extent.confidence,
                start_s,
                max(start_s, end_s),
            )
        )
    return timed
