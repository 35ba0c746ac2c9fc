"""Fonts and photographs to draw strips with, split so that what the benchmark uses is never trained on.

Everything comes from installed Debian packages; what is missing is simply not used.
"""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Split = Literal["train", "held-out"]

HELD_OUT_FAMILIES = (
    "Roboto",
    "EB Garamond",
    "Comic Neue",
    "Cantarell",
    "Noto Serif CJK",
    "WenQuanYi Micro Hei",
    "AR PL UKai",
)
HELD_OUT_IMAGE_PACKAGES = ("gnome-backgrounds", "ukui-wallpapers", "lomiri-wallpapers-16.04")
IMAGE_FOLDERS = ("/usr/share/wallpapers", "/usr/share/backgrounds")
MAX_IMAGE_SIDE = 1600

# Families per script: enough to be varied, and known to hold the script's letters.
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "latin": (
        "DejaVu Sans",
        "DejaVu Serif",
        "Liberation",
        "Carlito",
        "FreeSans",
        "FreeSerif",
        "FreeMono",
        "Inter",
        "Lato",
        "Linux Libertine O",
        "Linux Biolinum O",
        "Noto Sans Display",
        "Noto Serif Display",
        "Open Sans",
        "Fira Code",
        "Roboto",
        "EB Garamond",
        "Comic Neue",
        "Cantarell",
    ),
    "cyrillic": (
        "DejaVu Sans",
        "DejaVu Serif",
        "Liberation",
        "Carlito",
        "FreeSans",
        "FreeSerif",
        "Inter",
        "Linux Libertine O",
        "Noto Sans Display",
        "Noto Serif Display",
        "Open Sans",
        "Roboto",
        "EB Garamond",
    ),
    "greek": ("DejaVu Sans", "DejaVu Serif", "Liberation", "FreeSans", "Linux Libertine O", "Roboto"),
    "chinese": (
        "Noto Sans CJK SC",
        "Noto Sans CJK TC",
        "WenQuanYi Zen Hei",
        "AR PL UMing",
        "Noto Serif CJK SC",
        "WenQuanYi Micro Hei",
        "AR PL UKai",
    ),
    "japanese": ("Noto Sans CJK JP", "Noto Serif CJK JP"),
    "korean": ("Noto Sans CJK KR", "Noto Serif CJK KR"),
    "arabic": ("Noto Naskh Arabic", "Noto Sans Arabic", "Noto Kufi Arabic", "DejaVu Sans"),
    "hebrew": ("Noto Sans Hebrew", "Noto Serif Hebrew", "DejaVu Sans"),
    "devanagari": ("Noto Sans Devanagari", "Noto Serif Devanagari"),
    "thai": ("Noto Sans Thai", "Noto Looped Thai"),
    "bengali": ("Noto Sans Bengali", "Noto Serif Bengali"),
    "tamil": ("Noto Sans Tamil", "Noto Serif Tamil"),
    "georgian": ("DejaVu Sans", "DejaVu Serif", "Noto Sans Georgian"),
    "ethiopic": ("Noto Sans Ethiopic", "Noto Serif Ethiopic"),
}

# A letter of each script, to leave out faces that would draw boxes instead.
SAMPLE_LETTERS: Mapping[str, str] = {
    "latin": "ể",
    "cyrillic": "щї",
    "greek": "ώ",
    "chinese": "侧",
    "japanese": "ゑヴ",
    "korean": "뷁",
    "arabic": "ض",
    "hebrew": "ש",
    "devanagari": "झ",
    "thai": "ฬ",
    "bengali": "ঞ",
    "tamil": "ழ",
    "georgian": "ჯ",
    "ethiopic": "ቃ",
}


@dataclass(frozen=True)
class FontFile:
    """A font face: its file and the face's number inside it."""

    path: str
    face: int
    family: str


def _held_out(family: str) -> bool:
    return family.startswith(HELD_OUT_FAMILIES)


@functools.cache
def _installed_fonts() -> tuple[FontFile, ...]:
    listing = subprocess.run(
        ["fc-list", "--format", "%{file}|%{index}|%{family[0]}|%{style[0]}\n"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    fonts: set[FontFile] = set()
    for line in listing.splitlines():
        path, face, family, style = line.split("|")
        plain = "Thin" not in style and "Hairline" not in style and "Initials" not in family
        if plain and path.endswith((".ttf", ".otf", ".ttc")) and int(face) < 64:
            fonts.add(FontFile(path, int(face), family))
    return tuple(sorted(fonts, key=lambda font: (font.family, font.path, font.face)))


@functools.cache
def fonts(script: str, split: Split) -> tuple[FontFile, ...]:
    """Faces of this split for `script` (a key of FAMILIES); empty if none is installed."""
    wanted = tuple(family for family in FAMILIES[script] if _held_out(family) == (split == "held-out"))
    candidates = (font for font in _installed_fonts() if wanted and font.family.startswith(wanted))
    return tuple(font for font in candidates if draws(font, SAMPLE_LETTERS[script]))


def draws(font: FontFile, letters: str) -> bool:
    """Whether the face has all of `letters`."""
    face = ImageFont.truetype(font.path, 24, index=font.face)

    def pixels(letter: str) -> bytes:
        image = Image.new("L", (48, 48))
        ImageDraw.Draw(image).text((8, 4), letter, fill=255, font=face)
        return image.tobytes()

    missing = pixels("\U0010fffe")
    return all(pixels(letter) != missing for letter in letters)


@functools.cache
def scripts(split: Split) -> tuple[str, ...]:
    """Scripts that can be drawn in this split."""
    return tuple(script for script in FAMILIES if fonts(script, split))


def _package_files(package: str) -> set[str]:
    listing = subprocess.run(["dpkg", "-L", package], capture_output=True, text=True).stdout
    return set(listing.splitlines())


@functools.cache
def photographs(split: Split) -> tuple[NDArray[np.uint8], ...]:
    """Luma of every usable image of this split, longest side at most MAX_IMAGE_SIDE pixels."""
    held_out = set[str]().union(*(_package_files(package) for package in HELD_OUT_IMAGE_PACKAGES))
    images: list[NDArray[np.uint8]] = []
    for folder in IMAGE_FOLDERS:
        for path in sorted(Path(folder).rglob("*")):
            if path.is_symlink() or path.suffix.lower() not in (".jpg", ".jpeg", ".png", ".webp"):
                continue
            if (str(path) in held_out) != (split == "held-out"):
                continue
            image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            if image is None or min(image.shape) < 500:
                continue
            scale = min(1.0, MAX_IMAGE_SIDE / max(image.shape))
            size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
            images.append(cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8))
    return tuple(images)
