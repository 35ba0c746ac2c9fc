"""When a caption that fades in or out is on screen, from how opaque its letters are in each frame.

The letters of a caption's middle frames are a matched filter (Turin, 1960): what a frame holds of them,
beside what the picture behind adds by chance, is their opacity. A ramp fitted to it says when they begin to
be seen, to a fraction of the grid, and what merely looks like letters does not mislead it. Letters that rise
or sink while they fade are followed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpu_ops.extents.letters import Seen, strokes_of, without_areas

SHORTEST = 5  # frames of a caption that is looked at
MOST_AVERAGED = 7  # frames that make the filter
FEWEST_PIXELS = 300
REACH = 6  # frames beyond a decoded end in which letters are looked for
UNSEEN, SEEN = 0.3, 0.5  # opacity of frames that do not show the caption, and that do
CERTAINLY_UNSEEN = 3  # frames in a row
VISIBLE = 0.1  # opacity from which a caption counts as on screen
FAINT = (0.1, 0.55)  # opacity that a fade passes through; what a cut shows may only lose some of its contrast
FITTED = (14, 8)  # frames before the letters are gone; fewer where the picture behind them changes
FITTED_AFTER = 5  # frames from then on: the faint end of a long fade is among them
MOST_MISFIT = 0.06  # root mean square, of opacity
FAR_BETTER = 0.6  # of the misfit that a cut has
STILL_SEEN = 0.8  # of the opacity before
CERTAIN = 1  # frame by which a cut decoded from neighbouring frames is not called in question
SHORTEST_FADE_S, LONGEST_FADE_S = 0.12, 1.2
SLIDES = 40  # pixels above or below their place at which letters are looked for; beside it are other words
SLIDING = 0.3  # opacity that letters show above or below their place more than in it
STEP_S = 0.02  # between the ramps that are tried


@dataclass(frozen=True)
class FadedEnds:
    """When a caption that fades begins and ceases to be visible, in seconds; None for an end that is cut, or
    does not look like a fade."""

    entered: float | None = None
    left: float | None = None


def faded_ends(frames: Sequence[Seen], start: int, end: int) -> FadedEnds:
    """When the caption decoded in `frames` `start` to `end` (inclusive) is visible."""
    if end - start + 1 < SHORTEST:
        return FadedEnds()
    quarter = (end - start) // 4
    core = range(start + quarter, end - quarter + 1)
    averaged = np.unique(np.linspace(core[0], core[-1], MOST_AVERAGED, dtype=int))
    letters = _filter([frames[at] for at in averaged])
    if letters is None:
        return FadedEnds()
    first, last = max(0, start - REACH), min(len(frames) - 1, end + REACH)
    times = np.array([frames[at].time for at in range(first, last + 1)])
    opacities = np.array([_opacity(letters, frames[at]) for at in range(first, last + 1)])
    usual = float(np.median(opacities[core[0] - first : core[-1] - first + 1]))
    if usual < SEEN:
        return FadedEnds()
    opacities /= usual
    letters /= np.float32(usual)
    middle = (start + end) // 2 - first
    back, on = slice(middle, None, -1), slice(middle, None)
    shown = frames[first : last + 1]
    entered = _visible(-times[back], opacities[back], shown[back], letters, middle - (start - first))
    left = _visible(times[on], opacities[on], shown[on], letters, end - first - middle)
    # What is visible from some moment on, or until then, is so from or until the next frame of the video.
    late = float(np.median([frames[at].lasts for at in core])) / 2
    return FadedEnds(None if entered is None else late - entered, None if left is None else late + left)


def _filter(core: Sequence[Seen]) -> NDArray[np.float32] | None:
    """What to multiply a strip with, pixel by pixel, so that the sum is the opacity of the letters of these
    frames; None where they are too few."""
    mean = np.stack([frame.strip for frame in core]).mean(axis=0).astype(np.float32)
    letters = strokes_of(mean, np.stack([frame.cells for frame in core]).mean(axis=0).astype(np.float32))
    pixels = letters != 0
    if pixels.sum() < FEWEST_PIXELS:
        return None
    # All lines of writing are brightest half-way up.
    rows = letters.sum(axis=1, keepdims=True) / np.maximum(pixels.sum(axis=1, keepdims=True), 1)
    letters = np.where(pixels, letters - rows, 0).astype(np.float32)
    strength = float(np.square(letters).sum())
    return None if strength == 0 else without_areas(letters) / np.float32(strength)


def _opacity(letters: NDArray[np.float32], frame: Seen) -> float:
    return float(np.vdot(letters, frame.strip.astype(np.float32)))


def _followed(
    letters: NDArray[np.float32], frames: Sequence[Seen], opacities: NDArray[np.floating]
) -> NDArray[np.floating]:
    """The opacities of letters that rise or sink as they go: in frames that do not show them in their place,
    wherever they are above or below it, until they are nowhere."""
    followed = opacities.copy()
    for at, frame in enumerate(frames):
        if opacities[at] < SEEN:
            followed[at] = max(opacities[at], _opacity_off_place(letters, frame))
        if followed[at] < UNSEEN:
            break
    return followed


def _opacity_off_place(letters: NDArray[np.float32], frame: Seen) -> float:
    strip = frame.strip - np.float32(frame.strip.mean())
    rows = len(strip)
    return max(
        float(np.vdot(letters[max(0, -down) : rows - down], strip[max(0, down) : rows + down]))
        for down in range(-SLIDES, SLIDES + 1)
    )


def _visible(
    times: NDArray[np.floating],
    opacities: NDArray[np.floating],
    frames: Sequence[Seen],
    letters: NDArray[np.float32],
    decoded: int,
) -> float | None:
    """The time until which letters are visible, if they fade or go at another frame than was decoded.

    Args:
        times, opacities, frames: from a caption's middle outwards.
        letters: what to multiply a strip with, so that the sum is their opacity.
        decoded: number of the last frame of these that was decoded as the caption.
    """
    followed = _followed(letters, frames, opacities)
    if (followed - np.abs(opacities)).max() > SLIDING:
        gone = _gone(followed, decoded)
        faded = _faded(times, followed, gone)
        if faded is not None:
            return faded
        if (followed[decoded + 1 : gone] > SEEN).any():
            return float(times[gone - 1 : gone + 1].mean())
    gone = _gone(opacities, decoded)
    faded = _faded(times, opacities, gone)
    # Where letters seem to go sooner, it may be that only what is behind them does.
    later = opacities[decoded + 1 : gone]
    if faded is not None or len(later) <= CERTAIN or later.min() < STILL_SEEN * opacities[decoded]:
        return faded
    return float(times[gone - 1 : gone + 1].mean())


def _gone(opacities: NDArray[np.floating], decoded: int) -> int:
    """The first of three frames without the letters; 0 if there are none, or not where they were decoded."""
    # Letters darker than what is behind them count as well as brighter ones.
    unseen = np.abs(opacities) < UNSEEN
    gone = next((at for at in range(len(unseen)) if unseen[at : at + CERTAINLY_UNSEEN].all()), 0)
    return 0 if (opacities[gone : decoded + 1] > SEEN).any() else gone


def _faded(times: NDArray[np.floating], opacities: NDArray[np.floating], gone: int) -> float | None:
    """When letters that are gone from frame `gone` on fall below VISIBLE; None where they do not fade."""
    if gone == 0:
        return None
    for first in sorted({max(0, gone - fitted) for fitted in FITTED}):
        shown = slice(first, gone + FITTED_AFTER)
        faded = _fade(times[shown], opacities[shown])
        if faded is not None:
            return faded
    return None


def _fade(times: NDArray[np.floating], opacities: NDArray[np.floating]) -> float | None:
    """When the ramp that fits best falls below VISIBLE; None where it is no fade."""
    # Grid: when the letters are gone, and how long they took.
    gone = np.arange(times[0] + STEP_S, times[-1] + STEP_S, STEP_S)[:, None, None]
    took = np.arange(STEP_S, LONGEST_FADE_S, STEP_S)[None, :, None]
    ramps = np.clip((gone - times) / took, 0, 1)
    # The picture behind changes how much the letters stand out, and adds something of its own.
    centred = ramps - ramps.mean(axis=2, keepdims=True)
    spread = np.square(centred).sum(axis=2)
    height = (centred * opacities).sum(axis=2) / np.maximum(spread, 1e-6)
    variance = float(np.square(opacities - opacities.mean()).sum())
    misfits = np.sqrt(np.maximum(0, variance - height**2 * spread) / len(times)) / np.maximum(height, 1e-6)
    # A ramp that was never full, or never gone, may be as high as it likes.
    misfits[((gone - took) < times[1])[:, :, 0] | (gone > times[-2])[:, :, 0]] = np.inf
    row, column = np.unravel_index(misfits.argmin(), misfits.shape)
    if misfits[row, column] > min(MOST_MISFIT, FAR_BETTER * misfits[:, 0].min()):
        return None
    if height[row, column] < SEEN or took[0, column, 0] < SHORTEST_FADE_S:
        return None
    base = opacities.mean() - height[row, column] * ramps[row, column].mean()
    risen = (opacities - base) / height[row, column]
    if not ((risen > FAINT[0]) & (risen < FAINT[1])).any():
        return None
    return float(gone[row, 0, 0] - VISIBLE * took[0, column, 0])
