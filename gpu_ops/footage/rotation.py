"""Marks an MP4 or MOV file as to be shown turned, as telephones do, by writing its track's display matrix."""

from __future__ import annotations

import struct
from pathlib import Path

_ONE = 1 << 16
_TURNS = {
    90: (0, _ONE, -_ONE, 0),
    180: (-_ONE, 0, 0, -_ONE),
    270: (0, -_ONE, _ONE, 0),
}


def write_rotation(path: Path, degrees: int) -> None:
    """Tell players to turn the picture of the file at `path` clockwise by `degrees` (90, 180 or 270).

    Overwrites the transformation matrix in every track header ("tkhd" box) of ISO/IEC 14496-12, in place.
    Raises ValueError if the file has none.
    """
    a, b, c, d = _TURNS[degrees]
    content = bytearray(path.read_bytes())
    # The boxes' bytes could also occur inside the media data; headers lie behind the movie box.
    at = content.find(b"tkhd", max(content.rfind(b"moov"), 0))
    if at < 0 or b"moov" not in content:
        raise ValueError(
            f"{path.name} has no MP4 track header: only MP4 and MOV files can be marked as rotated"
        )
    version = content[at + 4]
    matrix = at + 4 + 4 + (32 if version else 20) + 16
    struct.pack_into(">9i", content, matrix, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
