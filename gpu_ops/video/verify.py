"""Does a version's set of chunks hold what its manifest promises?

That each file is the one that was written is proven by its hash, so only its first frame is decoded: decoding
all of them would take 0.02 CPU-seconds a second of video.
"""

from __future__ import annotations

import hashlib
from collections import Counter

from gpu_ops.contract import GRID_HZ, ComputeError, MissingObject
from gpu_ops.store import ObjectStore
from gpu_ops.video.encode import decode_chunk, open_chunk
from gpu_ops.video.grid import chunk_path, indices_in_chunk
from gpu_ops.video.manifest import Chunk, Manifest


def verify_chunks(store: ObjectStore, prefix: str, manifest: Manifest) -> list[str]:
    """One sentence for each problem; empty when each grid frame is in one chunk and all chunks are whole.

    `prefix` is a VideoKeys.cropped_frames(version).
    """
    problems = _misplaced_frames(manifest)
    expected = {chunk.path for chunk in manifest.chunks}
    stored = {info.key.removeprefix(f"{prefix}/") for info in store.list(prefix)}
    problems += [
        f"{path} is not in the manifest." for path in sorted(stored - expected) if path.endswith(".webm")
    ]
    for chunk in manifest.chunks:
        problems += _chunk_problems(store, f"{prefix}/{chunk.path}", chunk, manifest)
    return problems


def _misplaced_frames(manifest: Manifest) -> list[str]:
    held = Counter(index for chunk in manifest.chunks for index in chunk.frame_indices)
    grid = range(manifest.frame_count)
    problems = [f"Frame {index} is in no chunk." for index in grid if index not in held]
    problems += [f"Frame {index} is in {count} chunks." for index, count in sorted(held.items()) if count > 1]
    problems += [f"Frame {index} is beyond the grid." for index in sorted(held) if index not in grid]
    for chunk in manifest.chunks:
        indices = indices_in_chunk(chunk.modulo, chunk.start, manifest.frame_count)
        if list(chunk.frame_indices) != indices or chunk.path != chunk_path(chunk.modulo, chunk.start):
            problems.append(f"{chunk.path} does not hold the frames of its window.")
    return problems


def _chunk_problems(store: ObjectStore, key: str, chunk: Chunk, manifest: Manifest) -> list[str]:
    try:
        data = store.get(key)
    except MissingObject:
        return [f"{chunk.path} is missing."]
    if len(data) != chunk.bytes or hashlib.sha256(data).hexdigest() != chunk.sha256:
        return [f"{chunk.path} is not the file that was written."]
    size = manifest.crop.width, manifest.crop.height
    problems: list[str] = []
    times: list[float] = []
    try:
        with open_chunk(data, key) as container:
            packets = [packet for packet in container.demux(video=0) if packet.size]
            times = [float((packet.pts or 0) * packet.time_base) for packet in packets]
            if not packets or not packets[0].is_keyframe:
                problems.append(f"{chunk.path} does not begin with a key frame.")
            container.seek(0)
            first = next(decode_chunk(container, key))
            if (first.width, first.height) != size:
                problems.append(f"{chunk.path}: its frames are {first.width}x{first.height}, not {size}.")
    except (ComputeError, StopIteration):
        problems.append(f"{chunk.path} does not decode.")
    problems += [
        f"{chunk.path}: frame {place} is shown at {time:.3f} s."
        for place, time in enumerate(times)
        if round(time * GRID_HZ) != place
    ]
    if len(times) != len(chunk.frame_indices):
        problems.append(f"{chunk.path} holds {len(times)} frames, not {len(chunk.frame_indices)}.")
    return problems
