"""Text as pictures: each caption is set once and then only laid over the frames that show it."""

from __future__ import annotations

import functools
import unicodedata
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

from gpu_ops.footage.film import Colour, Image, Style, Typeface

Coverage = NDArray[np.float32]  # hxw, 0-1

_WIDE = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL")


@dataclass(frozen=True)
class Strip:
    """Set text: `colour` hxwx3 BGR premultiplied by `alpha` hxw (both uint8), its corner at (`left`, `top`)
    pixels."""

    left: int
    top: int
    colour: Image
    alpha: Image

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of the ink in pixels, right and bottom exclusive."""
        rows, columns = np.flatnonzero(self.alpha.any(1)), np.flatnonzero(self.alpha.any(0))
        if not len(rows):
            return self.left, self.top, self.left, self.top
        return (
            self.left + int(columns[0]),
            self.top + int(rows[0]),
            self.left + int(columns[-1]) + 1,
            self.top + int(rows[-1]) + 1,
        )

    def lay_over(self, image: Image, opacity: float = 1.0, *, columns: int | None = None) -> None:
        """Composite onto `image` (HxWx3 BGR) in place, only the left `columns` of the strip if given."""
        blend(image, self.colour[:, :columns], self.alpha[:, :columns], self.left, self.top, opacity)


def blend(image: Image, colour: Image, alpha: Image, left: int, top: int, opacity: float = 1.0) -> None:
    """Lay premultiplied `colour` over `image` at (`left`, `top`), clipped to the image."""
    height, width = image.shape[:2]
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + alpha.shape[1], width), min(top + alpha.shape[0], height)
    if x0 >= x1 or y0 >= y1:
        return
    here = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    under = image[y0:y1, x0:x1]
    keep = 255 - cv2.convertScaleAbs(alpha[here], alpha=opacity)
    kept = cv2.multiply(under, cv2.merge([keep, keep, keep]), scale=1 / 255)
    cv2.addWeighted(kept, 1.0, colour[here], opacity, 0.0, dst=kept)
    under[:] = kept


@functools.cache
def font(typeface: Typeface, pixels: int) -> ImageFont.FreeTypeFont:
    """The face at a size in pixels. Raises OSError naming the file if it cannot be read."""
    if typeface.path is None:
        builtin = ImageFont.load_default(pixels)
        if not isinstance(builtin, ImageFont.FreeTypeFont):
            raise OSError("this Pillow was built without FreeType, so it cannot set text")
        return builtin
    try:
        return ImageFont.truetype(str(typeface.path), pixels, index=typeface.index)
    except OSError as error:
        raise OSError(f"cannot read the font {typeface.path}: {error}") from error


def has_cjk(text: str) -> bool:
    """Whether `text` holds a Chinese, Japanese or Korean character."""
    return any(unicodedata.name(character, "").startswith(_WIDE) for character in text)


def set_text(text: str, style: Style, width: int, height: int, colour: Colour | None = None) -> Strip:
    """Set `text` for a frame of `width` x `height` pixels, in `colour` instead of the style's if given."""
    pixels = max(6, round(style.size * height))
    outline, shadow = round(style.outline * height), round(style.shadow * height)
    padding = round(style.padding * height) if style.box else 0
    margin = outline + shadow + padding + 2
    advance = round(pixels * style.line_spacing)
    lines = text.split("\n")
    fonts = [
        font(style.cjk_typeface if style.cjk_typeface and has_cjk(line) else style.typeface, pixels)
        for line in lines
    ]
    lengths = [round(face.getlength(line)) for face, line in zip(fonts, lines, strict=True)]
    block, descent = max(lengths), max(face.getmetrics()[1] for face in fonts)
    size = (block + 2 * margin, advance * (len(lines) - 1) + pixels + descent + 2 * margin)
    share = {"left": 0.0, "center": 0.5, "right": 1.0}[style.align]

    def mask(offset: int, stroke: int) -> Coverage:
        ink = Picture.new("L", size)
        draw = ImageDraw.Draw(ink)
        for number, (face, line, length) in enumerate(zip(fonts, lines, lengths, strict=True)):
            x = margin + (block - length) * share + offset
            y = margin + pixels + number * advance + offset
            draw.text((x, y), line, fill=255, font=face, anchor="ls", stroke_width=stroke)
        return (np.asarray(ink, np.float32) / 255).astype(np.float32)

    red_green_blue = np.zeros((size[1], size[0], 3), np.float32)
    alpha = np.zeros((size[1], size[0]), np.float32)

    def paint(coverage: Coverage, ink: Colour) -> None:
        nonlocal red_green_blue, alpha
        cover = coverage[..., None]
        red_green_blue = red_green_blue * (1 - cover) + cover * np.array(ink, np.float32)
        alpha = alpha * (1 - coverage) + coverage

    if style.box:
        *box_colour, box_opacity = style.box
        inset = margin - padding
        filled = np.zeros_like(alpha)
        filled[inset : size[1] - inset, inset : size[0] - inset] = box_opacity / 255
        paint(filled, (box_colour[0], box_colour[1], box_colour[2]))
    if shadow:
        blurred = cv2.GaussianBlur(mask(shadow, outline), (0, 0), max(0.6, shadow / 2))
        paint(np.asarray(blurred, np.float32) * 0.8, (0, 0, 0))
    if outline:
        paint(mask(0, outline), style.outline_colour)
    paint(mask(0, 0), colour or style.colour)

    x = round(style.x * width - margin - block * share)
    if style.top is not None:
        y = round(style.top * height) - margin
    else:
        y = round(style.bottom * height) - size[1] + margin
    opaque = style.opacity
    return Strip(
        x,
        y,
        np.round(red_green_blue[..., ::-1] * opaque).astype(np.uint8),
        np.round(alpha * 255 * opaque).astype(np.uint8),
    )
