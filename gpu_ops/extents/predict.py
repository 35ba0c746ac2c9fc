"""From a stream of cropped frames to extents: encodes each frame once if at all, compares, decodes, refines.

Memory does not grow with the video but for about 100 bytes a grid frame (its probabilities): strips and
embeddings are kept only for the frames lately seen.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_ops.extents.corrections import Correction, corrected
from gpu_ops.extents.decode import Extent, PairEvidence, best_steps, decode, extents_of_steps, single_frame
from gpu_ops.extents.fades import FadedEnds, faded_ends
from gpu_ops.extents.labels import LABELS, REVERSED
from gpu_ops.extents.letters import LETTERS, Seen
from gpu_ops.extents.model import Embeddings, PairModel, Probabilities
from gpu_ops.extents.motion import links_between, switches_within
from gpu_ops.extents.pieces import Link, Rest, cut_at, joined
from gpu_ops.extents.refine import Change, find_change
from gpu_ops.extents.rows import ProbabilityRows
from gpu_ops.extents.second_look import look_again, picture_stir
from gpu_ops.extents.strips import model_size, normalised
from gpu_ops.extents.thinning import encode_thinned, surely_unchanged, unchanged
from gpu_ops.extents.timing import TimedExtent, timed, with_faded_ends
from gpu_ops.stages import stage

BATCH = 32
WIDEST = 3  # frames apart of the widest pair looked at
CLEAR = 0.8  # a neighbouring pair this surely unchanged holds no boundary
CLEAR_WIDE = 0.6
LOOK_EVERY = 128  # frames between second looks
UNSETTLED = 12  # frames at the end whose decoding may still change
AT_THE_EDGE = 2  # cells; letters that near the left or right edge may go on beyond it
KEPT = 900  # frames in memory at most, about 100 kB each


class LumaFrame(Protocol):
    """What the predictor needs of a cropped frame: its grid index (None for a native frame between grid
    positions), when it and the next frame of the video appear, in seconds, and its luma plane, uint8 (H, W).
    """

    @property
    def index(self) -> int | None: ...
    @property
    def time(self) -> float: ...
    @property
    def until(self) -> float: ...
    @property
    def y(self) -> NDArray[np.uint8]: ...


@dataclass(frozen=True)
class Prediction:
    """All that was found in a sequence of `frame_count` grid frames.

    `forward` and `backward`, float32 (frame_count - 1, 5): label probabilities of the pairs (i, i+1) and
    (i+1, i), in the order of labels.LABELS; where the first surely shows no change, it stands for both.
    `label_counts` counts the forward labels. `extents` partition the grid; `rests` are where those captions
    that come or go in motion are at rest. `cut_off_count`: captions whose letters reach the left or right
    edge of the strip.
    """

    frame_count: int
    forward: NDArray[np.float32]
    backward: NDArray[np.float32]
    extents: list[TimedExtent]
    label_counts: dict[str, int]
    model_version: str
    model_checkpoint_path: str
    rests: Sequence[Rest] = ()
    cut_off_count: int = 0


@dataclass
class _Pending:
    """A grid frame not yet encoded, and the native frames seen after it: normalised strips, and the seconds
    at which what each of them shows came on screen. The grid frame `lasts` seconds until the next frame."""

    strip: NDArray[np.uint8]
    time: float
    lasts: float
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
        self._until = 0.0  # when the last frame seen left the screen
        self._waiting: list[_Pending] = []
        self._lately: list[_Pending] = []  # the last encoded frames, while natives after them may be wanted
        self._seen: list[Seen] = []  # the frames before the next to be encoded, oldest first
        self._encoded = 0
        self._looked_at = 0  # embeddings there were at the last second look
        self._forward, self._backward = ProbabilityRows(), ProbabilityRows()
        self._two_apart, self._three_apart = ProbabilityRows(), ProbabilityRows()
        self._stir = array("f")  # of every pair so far: how much the picture behind the letters changes
        self._last_cells: NDArray[np.uint8] | None = None
        self._at_the_edge = bytearray()  # of every frame so far: whether letters reach an edge
        self._amounts = array("f")  # of every frame so far: how many cells hold letters
        self._links: list[Link] = []
        self._switches: list[int] = []
        self._changes: dict[int, Change] = {}
        self._faded: dict[tuple[int, int], FadedEnds] = {}  # by first and last frame of a caption
        self._corrections: list[Correction] = []

    def add(self, frame: LumaFrame) -> None:
        """Take the next frame. Raises ValueError if a grid index is missing or comes twice."""
        if self._size is None:
            self._size = model_size(*frame.y.shape)
        strip = normalised(frame.y, self._size)
        # Frames that nobody decoded may lie between: what changed did so halfway through them.
        changed = (min(self._until, frame.time) + frame.time) / 2
        self._until = frame.until
        if frame.index is None:
            if self._waiting:
                self._waiting[-1].later_strips.append(strip)
                self._waiting[-1].later_times.append(changed)
            return
        if frame.index != self._count:
            raise ValueError(f"grid frame {frame.index} came where {self._count} was expected")
        self._count += 1
        # The newest frame waits for the native frames after it.
        if len(self._waiting) > self._batch:
            self._advance(self._batch)
        self._waiting.append(_Pending(strip, changed, frame.until - frame.time))

    def finish(self) -> Prediction:
        """Decode everything seen. Without any grid frame there are no extents."""
        self._advance(len(self._waiting))
        steps = np.zeros(0, np.int8)
        if self._count < 2:
            extents, rests = self._without_pairs(), []
        else:
            self._second_look(settled=True)
            evidence = corrected(self._evidence(0), self._corrections)
            steps = best_steps(evidence)
            pieces = cut_at(extents_of_steps(steps, evidence), self._switches)
            extents, rests = joined(pieces, self._links, self._amounts)
        forward = self._forward.part()
        return Prediction(
            frame_count=self._count,
            forward=forward,
            backward=self._backward.part(),
            extents=with_faded_ends(timed(extents, steps, self._changes), self._faded),
            label_counts=counted_labels(forward),
            model_version=self._model.version,
            model_checkpoint_path=self._model.checkpoint_path,
            rests=rests,
            cut_off_count=sum(self._is_cut_off(extent) for extent in extents if extent.state == "predicted"),
        )

    def _is_cut_off(self, extent: Extent) -> bool:
        frames = self._at_the_edge[extent.start_frame_index : extent.end_frame_index + 1]
        return 2 * sum(frames) > len(frames)

    def _without_pairs(self) -> list[Extent]:
        if self._count == 0:
            return []
        only = self._seen[-1].embedding[None]
        return single_frame(self._model.compare(only, only)[0])

    def _evidence(self, start: int) -> PairEvidence:
        """Evidence on the frames from `start` on that have been encoded."""
        near = (self._forward.part(start) + self._backward.part(start)[:, REVERSED]) / 2
        return PairEvidence(near, self._two_apart.part(start), self._three_apart.part(start))

    def _advance(self, count: int) -> None:
        """Encode the `count` oldest waiting frames and compare them with those before."""
        if count == 0:
            return
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        before = self._seen[-1] if self._seen else None
        calm = bool(surely_unchanged(self._two_apart.part()[-1:]).all())
        thinned = encode_thinned(self._model, before, [pending.strip for pending in taken], calm)
        encoded = thinned.embeddings
        self._seen += [
            Seen(pending.strip, pending.time, pending.lasts, embedding)
            for pending, embedding in zip(taken, encoded, strict=True)
        ]
        edges = np.concatenate([encoded[:, -1, :, :AT_THE_EDGE], encoded[:, -1, :, -AT_THE_EDGE:]], axis=2)
        self._at_the_edge += (edges > LETTERS).any(axis=(1, 2)).tobytes()
        self._amounts.extend((encoded[:, -1] > LETTERS).sum(axis=(1, 2)))
        self._measure_stir([pending.strip for pending in taken])
        self._encoded += count
        self._lately += taken
        stack = np.stack([seen.embedding for seen in self._seen[-(count + WIDEST) :]])
        known = len(stack) - count
        passed_over = {known + at: answer for at, answer in thinned.passed_over.items()}
        self._compare_neighbours(stack, max(0, known - 1), passed_over)
        for apart, rows in ((2, self._two_apart), (3, self._three_apart)):
            self._compare_apart(stack, max(0, known - apart), apart, rows)
        with stage("refine times"):
            self._refine()
        if len(self._seen) - self._looked_at >= LOOK_EVERY:
            self._second_look(settled=False)

    def _measure_stir(self, strips: Sequence[NDArray[np.uint8]]) -> None:
        for strip, after in zip(strips, range(-len(strips), 0), strict=True):
            embedding = self._seen[after].embedding
            rows, columns = embedding.shape[-2:]
            cells = cv2.resize(strip, (columns, rows), interpolation=cv2.INTER_AREA).astype(
                np.uint8, copy=False
            )
            if self._last_cells is not None:
                before = self._seen[after - 1].embedding
                self._stir.append(picture_stir(before, embedding, self._last_cells, cells))
            self._last_cells = cells

    def _compare_neighbours(
        self, stack: Embeddings, first: int, passed_over: Mapping[int, Probabilities]
    ) -> None:
        """Add the pairs (k, k + 1) of the newest frames `stack`, k >= first. Both pairs with a frame that was
        passed over show what the frames around it do; what surely shows no change is not asked backwards."""
        a, b = stack[first:-1], stack[first + 1 :]
        forward = np.zeros((len(a), len(LABELS)), np.float32)
        asked = np.ones(len(a), bool)
        for at, answer in passed_over.items():
            both = slice(at - 1 - first, at + 1 - first)
            forward[both], asked[both] = answer, False
        if asked.any():
            forward[asked] = self._model.compare(a[asked], b[asked])
        backward = forward[:, REVERSED]
        unsure = ~surely_unchanged(forward)
        if unsure.any():
            backward[unsure] = self._model.compare(b[unsure], a[unsure])
        self._forward.append(forward)
        self._backward.append(backward)

    def _compare_apart(self, stack: Embeddings, first: int, apart: int, rows: ProbabilityRows) -> None:
        """Add the pairs (k, k + apart), k >= first. Where all neighbours between them are surely unchanged,
        their mean answers for the pair: most of a film needs no wider look."""
        count = len(stack) - apart - first
        if count <= 0:
            return
        oldest = self._encoded - len(stack) + first
        near = self._evidence(oldest).near
        windows = [near[step : step + count] for step in range(apart)]
        block = np.asarray(np.mean(windows, axis=0), np.float32)
        sure = np.all([surely_unchanged(window) for window in windows], axis=0)
        asked = np.flatnonzero(~sure) + first
        if len(asked):
            block[asked - first] = self._model.compare(stack[asked], stack[asked + apart])
        rows.append(block)

    def _refine(self) -> None:
        """Look at the native frames inside the late pairs that may hold a boundary."""
        oldest = self._encoded - len(self._lately)
        for place, pending in enumerate(self._lately[:-1]):
            pair = oldest + place
            if pair in self._changes or not self._may_change(pair):
                continue
            at = pair - self._encoded
            before, after = self._seen[at].embedding, self._seen[at + 1].embedding
            between = self._model.encode(pending.later_strips) if pending.later_strips else before[None][:0]
            times = [*pending.later_times, self._lately[place + 1].time]
            self._changes[pair] = find_change(self._model, before, after, between, times)
        self._lately = self._lately[-(WIDEST + 1) :]

    def _may_change(self, pair: int) -> bool:
        near = [_unchanged(rows, pair) for rows in (self._forward, self._backward)]
        wide = [_unchanged(self._two_apart, row) for row in (pair - 1, pair)]
        return min(near) < CLEAR or min(wide) < CLEAR_WIDE

    def _second_look(self, settled: bool) -> None:
        """Check the decoded extents whose embeddings are at hand, then let go of them.

        Unless `settled` (no more frames will come), the last extents wait, for what follows may still change
        them.
        """
        offset = self._encoded - len(self._seen)
        evidence = self._evidence(offset)
        extents = decode(evidence)
        done = len(extents)
        if not settled:
            done = sum(e.end_frame_index + offset < self._encoded - UNSETTLED for e in extents)
        corrections = look_again(self._model, self._seen, evidence, self._stir[offset:], extents[:done])
        self._corrections += [correction.moved(offset) for correction in corrections]
        if done:
            mended = decode(corrected(evidence, corrections)) if corrections else extents
            self._look_at_ends(mended, offset, extents[done - 1].end_frame_index + offset)
        # The last checked extent stays, for its end has not been checked; one longer than memory is cut.
        keep_from = extents[max(0, done - 1)].start_frame_index + offset
        keep_from = max(keep_from, self._encoded - KEPT)
        self._seen = self._seen[keep_from - offset :]
        self._looked_at = len(self._seen)

    def _look_at_ends(self, extents: Sequence[Extent], offset: int, last: int) -> None:
        """See how captions up to grid frame `last` come and go; `extents` number the frames at hand."""
        checked = [extent for extent in extents if extent.end_frame_index + offset <= last]
        changes = {pair - offset: change for pair, change in self._changes.items() if pair >= offset}
        links = links_between(self._seen, checked, changes)
        self._links += [link.moved(offset) for link in links]
        switches = switches_within(self._seen, checked, links)
        self._switches += [at + offset for at in switches]
        captions, rests = joined(cut_at(checked, switches), links, self._amounts[offset:])
        for caption in captions:
            place = caption.start_frame_index + offset, caption.end_frame_index + offset
            # The first frames at hand were looked at before, with those before them.
            if caption.state == "predicted" and place not in self._faded:
                self._faded[place] = self._ends_of(caption, rests)

    def _ends_of(self, caption: Extent, rests: Sequence[Rest]) -> FadedEnds:
        """How a caption of the frames at hand fades, if it does not move."""
        start, end = caption.start_frame_index, caption.end_frame_index
        first, last = next(((r.first, r.last) for r in rests if start <= r.first <= end), (start, end))
        ends = faded_ends(self._seen, first, last)
        return FadedEnds(ends.entered if first == start else None, ends.left if last == end else None)


def counted_labels(forward: NDArray[np.float32]) -> dict[str, int]:
    """How many of the pairs, label probabilities (N, 5), most likely have each label."""
    counts = np.bincount(forward.argmax(axis=1), minlength=len(LABELS))
    return {label: int(count) for label, count in zip(LABELS, counts, strict=True)}


def _unchanged(rows: ProbabilityRows, row: int) -> float:
    """Probability that this row shows no change; 1 where there is no such row (yet)."""
    if not 0 <= row < len(rows):
        return 1.0
    return float(unchanged(rows.part(row, row + 1))[0])
