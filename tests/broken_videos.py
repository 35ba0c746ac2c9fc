"""Odd and broken video files, made on the spot, for every test that needs one.

Each picture carries its frame number as a row of black and white squares, so that a test can tell which frame
it got. All encoding is done by the FFmpeg libraries inside PyAV; the pictures depend on nothing but the frame
number.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

REALTIME_VP9 = {"cpu-used": "8", "deadline": "realtime"}
SQUARE_PX = 16
BITS = 10


@functools.lru_cache(maxsize=512)
def numbered_luma(number: int, width: int, height: int) -> NDArray[np.uint8]:
    """A luma picture (height x width, 16-235), drifting, with `number` written in the top left corner."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    pattern = 110 + 50 * np.sin((x + 3 * number) / 23) + 30 * np.cos((y - 2 * number) / 17)
    noise = np.random.default_rng(number // 4).integers(-12, 13, (height, width))
    luma = np.clip(pattern + noise, 16, 235).astype(np.uint8)
    for bit in range(BITS):
        left = bit * SQUARE_PX
        luma[:SQUARE_PX, left : left + SQUARE_PX] = 235 if number >> bit & 1 else 16
    return luma


def number_of(luma: NDArray[np.uint8]) -> int:
    """The number in a luma or grey picture whose top left corner is the frame's."""
    middle = SQUARE_PX // 2
    squares = [luma[4 : SQUARE_PX - 4, b * SQUARE_PX + 4 : b * SQUARE_PX + middle + 4] for b in range(BITS)]
    return sum(1 << bit for bit, square in enumerate(squares) if square.mean() > 128)


def numbered_frame(number: int, width: int, height: int, pixel_format: str = "yuv420p") -> av.VideoFrame:
    """The numbered picture in mild, position-dependent colour."""
    luma = numbered_luma(number, width + width % 2, height + height % 2)
    half = luma[::2, ::2]
    planes = np.concatenate([luma.ravel(), (64 + half // 2).ravel(), (190 - half // 2).ravel()])
    frame = av.VideoFrame.from_ndarray(planes.reshape(-1, luma.shape[1]), format="yuv420p")
    return frame.reformat(width=width, height=height, format=pixel_format)


def write_video(
    path: Path,
    *,
    frames: int = 60,
    rate: Fraction | int = 30,
    size: tuple[int, int] = (320, 240),
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    times: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    sample_aspect_ratio: Fraction | None = None,
    container: str | None = None,
    muxing: Mapping[str, str] | None = None,
    stream_setup: Callable[[Any], None] | None = None,
    **encoding: str,
) -> Path:
    """Write numbered frames; frame k is shown at times[k] ticks of `time_base`, by default evenly."""
    if codec == "libx264":
        encoding = {"preset": "veryfast", **encoding}
    with av.open(f"file:{path}", "w", format=container, options=dict(muxing or {})) as output:
        stream: Any = output.add_stream(codec, rate=rate, options=dict(encoding))
        stream.width, stream.height = size
        stream.pix_fmt = pixel_format
        stream.codec_context.time_base = time_base or 1 / Fraction(rate)
        if sample_aspect_ratio:
            stream.codec_context.sample_aspect_ratio = sample_aspect_ratio
        if stream_setup:
            stream_setup(stream)
        for number in range(frames):
            frame = numbered_frame(number, *size, pixel_format)
            frame.pts = times[number] if times else number
            frame.time_base = stream.codec_context.time_base
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


# --- Files nothing can be had from ---


def empty_file(folder: Path) -> Path:
    path = folder / "empty.mp4"
    path.write_bytes(b"")
    return path


def text_file(folder: Path) -> Path:
    path = folder / "notes.mp4"
    path.write_text("Remember the milk.\n" * 200)
    return path


def playlist_file(folder: Path) -> Path:
    """A playlist that would have a careless reader open another file."""
    write_video(folder / "other.ts")
    path = folder / "playlist.mp4"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nother.ts\n#EXT-X-ENDLIST\n")
    return path


def cut_without_index(folder: Path) -> Path:
    """An MP4 whose index stood at the end, which is gone."""
    path = write_video(folder / "cut-without-index.mp4")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path


def cut_before_first_frame(folder: Path) -> Path:
    """An MP4 with its index in front and not one byte of pictures behind it."""
    path = write_video(folder / "cut-before-first-frame.mp4", muxing={"movflags": "+faststart"})
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"mdat") + 4])
    return path


def audio_only(folder: Path) -> Path:
    path = folder / "audio-only.mp4"
    with av.open(str(path), "w") as output:
        add_tone(output, seconds=1)
    return path


def sound_with_cover(folder: Path) -> Path:
    """Sound with an attached picture: one image, but no video."""
    path = folder / "sound-with-cover.mp4"
    with av.open(str(path), "w") as output:
        cover: Any = output.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 320, 240, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        picture = numbered_frame(0, 320, 240, "yuvj420p")
        picture.pts = 0
        cover_packets = [*cover.encode(picture), *cover.encode(None)]
        add_tone(output, seconds=1, first_packets=cover_packets)
    return path


def add_tone(output: Any, seconds: int, first_packets: Sequence[Any] = ()) -> None:
    """Add a 440 Hz tone to the open container, after muxing `first_packets`."""
    stream = output.add_stream("aac", rate=44100)
    output.mux(first_packets)
    wave = (8000 * np.sin(np.arange(44100 * seconds) * 440 * 2 * np.pi / 44100)).astype(np.int16)
    sound = av.AudioFrame.from_ndarray(wave[None, :], format="s16", layout="mono")
    sound.sample_rate = 44100
    output.mux(stream.encode(sound))
    output.mux(stream.encode(None))


UNUSABLE: Mapping[str, Callable[[Path], Path]] = {
    maker.__name__: maker
    for maker in (
        empty_file,
        text_file,
        playlist_file,
        cut_without_index,
        cut_before_first_frame,
        audio_only,
        sound_with_cover,
    )
}

# --- Files that are unusual, but show a video ---


def plain(folder: Path) -> Path:
    return write_video(folder / "plain.mp4", frames=90, g="25", bf="3")


def cut_in_the_middle(folder: Path) -> Path:
    """An MP4 with its index in front and the second half of its pictures missing."""
    path = write_video(
        folder / "cut-in-the-middle.mp4", frames=90, muxing={"movflags": "+faststart"}, g="15", bf="2"
    )
    data = path.read_bytes()
    path.write_bytes(data[: (data.index(b"mdat") + len(data)) // 2])
    return path


def one_frame(folder: Path) -> Path:
    return write_video(folder / "one-frame.mp4", frames=1)


def three_tenths(folder: Path) -> Path:
    """Nine frames: 0.3 seconds."""
    return write_video(folder / "three-tenths.mp4", frames=9)


def odd_size(folder: Path) -> Path:
    """321 x 241 pixels, as 4:4:4 allows."""
    return write_video(folder / "odd-size.mp4", size=(321, 241), pixel_format="yuv444p", bf="2")


def odd_size_vp9(folder: Path) -> Path:
    """321 x 241 pixels in 4:2:0."""
    return write_video(folder / "odd-size.webm", size=(321, 241), codec="libvpx-vp9", **REALTIME_VP9)


def ten_bit_hevc(folder: Path) -> Path:
    """HEVC Main 10, by libx265."""
    return write_video(
        folder / "ten-bit-hevc.mp4",
        codec="libx265",
        pixel_format="yuv420p10le",
        **{"preset": "ultrafast", "x265-params": "log-level=none:bframes=3:keyint=20:pools=1"},
    )


def hdr(folder: Path) -> Path:
    """HEVC Main 10 tagged as BT.2020 with the PQ transfer curve."""
    params = "log-level=none:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:keyint=20:pools=1"
    return write_video(
        folder / "hdr.mp4",
        frames=15,
        codec="libx265",
        pixel_format="yuv420p10le",
        **{"preset": "ultrafast", "x265-params": params},
    )


def full_range(folder: Path) -> Path:
    """Luma from 0 to 255, as screen recorders and phones write it."""
    return write_video(folder / "full-range.mp4", pixel_format="yuvj420p")


def rotated_90(folder: Path) -> Path:
    return _rotate(write_video(folder / "rotated-90.mp4", bf="2"), (0, 1, -1, 0))


def rotated_180(folder: Path) -> Path:
    return _rotate(write_video(folder / "rotated-180.mp4", bf="2"), (-1, 0, 0, -1))


def rotated_270(folder: Path) -> Path:
    return _rotate(write_video(folder / "rotated-270.mp4", bf="2"), (0, -1, 1, 0))


def _rotate(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    a, b, c, d = (value << 16 for value in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


VARIABLE_RATE_TIMES_MS = [
    t for start in (0, 2000, 4000) for t in (*range(start, start + 1000, 40), start + 1730)
]


def variable_rate(folder: Path) -> Path:
    """25 frames a second with two long freezes in between; times in VARIABLE_RATE_TIMES_MS."""
    return write_video(
        folder / "variable-rate.mp4",
        frames=len(VARIABLE_RATE_TIMES_MS),
        times=VARIABLE_RATE_TIMES_MS,
        time_base=Fraction(1, 1000),
        bf="2",
    )


def slow_rate(folder: Path) -> Path:
    """Four frames a second: fewer than the grid has positions."""
    return write_video(folder / "slow-rate.mp4", frames=12, rate=4)


def late_start(folder: Path) -> Path:
    """The first frame's PTS is 5 s."""
    return write_video(folder / "late-start.mkv", times=[150 + k for k in range(60)], bf="2", g="15")


def transport_stream(folder: Path) -> Path:
    """MPEG-TS, whose clock never starts at 0."""
    return write_video(folder / "stream.ts", bf="2", g="15")


def cut_transport_stream(folder: Path) -> Path:
    """MPEG-TS that begins in the middle of a group of pictures, as a recording of a broadcast does."""
    path = write_video(folder / "cut-stream.ts", frames=90, bf="2", g="30")
    data = path.read_bytes()
    path.write_bytes(data[len(data) // 188 // 6 * 188 :])
    return path


EDIT_LIST_FIRST_FRAME = 20


def edit_list(folder: Path) -> Path:
    """An MP4 whose edit list hides its first 20 frames; a key frame only at the very start."""
    path = write_video(folder / "edit-list.mp4", bf="2", g="250")
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 12
    duration, media_time = struct.unpack(">ii", data[at : at + 8])
    timescale_at = data.index(b"mdhd") + 16
    (timescale,) = struct.unpack(">i", data[timescale_at : timescale_at + 4])
    hidden_s = Fraction(EDIT_LIST_FIRST_FRAME, 30)
    (movie_timescale,) = struct.unpack(">i", data[data.index(b"mvhd") + 16 :][:4])
    struct.pack_into(
        ">ii", data, at, duration - int(hidden_s * movie_timescale), media_time + int(hidden_s * timescale)
    )
    path.write_bytes(data)
    return path


def anamorphic(folder: Path) -> Path:
    """320 x 240 pixels twice as wide as high: shown 640 x 240."""
    return write_video(folder / "anamorphic.mp4", sample_aspect_ratio=Fraction(2, 1))


def interlaced(folder: Path) -> Path:
    """H.264 coded as fields, in MPEG-TS."""

    def as_fields(stream: Any) -> None:
        stream.codec_context.flags |= av.codec.context.Flags.interlaced_dct

    return write_video(
        folder / "interlaced.ts",
        rate=25,
        bf="2",
        stream_setup=as_fields,
        **{"x264-params": "tff=1:keyint=15"},
    )


def open_groups(folder: Path) -> Path:
    """H.264 with open groups of pictures and B-pyramids."""
    params = "open-gop=1:keyint=20:min-keyint=20:bframes=4:b-pyramid=normal:scenecut=0"
    return write_video(folder / "open-groups.mkv", frames=90, **{"x264-params": params})


def intra_refresh(folder: Path) -> Path:
    """H.264 without key frames after the first."""
    params = "intra-refresh=1:keyint=30:bframes=0"
    return write_video(folder / "intra-refresh.ts", frames=90, **{"x264-params": params})


def vp9_webm(folder: Path) -> Path:
    return write_video(folder / "vp9.webm", codec="libvpx-vp9", g="20", **REALTIME_VP9)


def mpeg4_avi(folder: Path) -> Path:
    """MPEG-4 with B-frames in AVI, which stores no presentation times."""
    return write_video(folder / "mpeg4.avi", codec="mpeg4", bf="2", g="15", b="2M")


def mpeg2_program_stream(folder: Path) -> Path:
    return write_video(folder / "mpeg2.mpg", codec="mpeg2video", bf="2", g="15", b="4M")


def sound_outlasts_picture(folder: Path) -> Path:
    """Two seconds of pictures beside five of sound; the header says five."""
    path = folder / "sound-outlasts-picture.mp4"
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        coded: list[Any] = []
        for number in range(60):
            coded += stream.encode(numbered_frame(number, 320, 240))
        coded += stream.encode(None)
        add_tone(output, seconds=5, first_packets=coded)
    return path


HOSTILE_NAMES = (
    "spaces and 'quotes' \"both\".mp4",
    "new\nline.mp4",
    "100% %d %03d.mp4",
    "http:colon.mp4",
    "-dash.mp4",
    "café 字幕.mp4",
    "no suffix",
    "concat|pipe?.mp4",
)

ODD: Mapping[str, Callable[[Path], Path]] = {
    maker.__name__: maker
    for maker in (
        plain,
        cut_in_the_middle,
        one_frame,
        three_tenths,
        odd_size,
        odd_size_vp9,
        ten_bit_hevc,
        hdr,
        full_range,
        rotated_90,
        rotated_180,
        rotated_270,
        variable_rate,
        slow_rate,
        late_start,
        transport_stream,
        cut_transport_stream,
        edit_list,
        anamorphic,
        interlaced,
        open_groups,
        intra_refresh,
        vp9_webm,
        mpeg4_avi,
        mpeg2_program_stream,
        sound_outlasts_picture,
    )
}
