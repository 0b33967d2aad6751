"""Digits and letters drawn with the fonts that matplotlib carries: images to learn from that need no download.

They are a data set: the same images in every run, whatever its seed, so that seeds compare trainings and not data.
"""

from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..training.randomness import derived_seed

if TYPE_CHECKING:
    from PIL import ImageFont

ALPHABETS = {"drawn-digits": "0123456789", "drawn-letters": "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
"""The characters of each source; they are the labels, too."""

_COUNTS = {"train": 6000, "validation": 1000, "test": 2000}
_SIZE = 32
_CANVAS = 48
_FONTS = (
    *(f"DejaVuSans{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSansMono{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSerif{style}" for style in ("", "-Bold", "-Italic", "-BoldItalic")),
    *(f"STIXGeneral{style}" for style in ("", "Bol", "Italic", "BolIta")),
    *("cmr10", "cmb10", "cmss10", "cmtt10", "cmti10"),
)
_POINTS = (16, 30)
_TURN = 20.0
_SHIFT = 4
_INK = (140, 255)
_NOISE = (5.0, 40.0)


def draw(source: str, part: str, limit: int | None = None) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """White characters on black in random fonts, sizes, angles, places, and under noise; labels take turns.

    Args:
        source: a key of `ALPHABETS`.
        part: `train` (6,000 images), `validation` (1,000) or `test` (2,000); no image is in two of them.
        limit: only the first images.

    Returns:
        Pixels, uint8, (images, 32, 32), and the places of their characters in the alphabet, int64, (images,).
    """
    alphabet = ALPHABETS[source]
    count = min(_COUNTS[part], limit or _COUNTS[part])
    labels = np.arange(count, dtype=np.int64) % len(alphabet)
    pixels = np.stack([_character(alphabet[label], derived_seed(0, source, part, i)) for i, label in enumerate(labels)])
    return pixels, labels


def _character(character: str, seed: int) -> NDArray[np.uint8]:
    """One image, (32, 32)."""
    from PIL import Image, ImageDraw

    random = np.random.default_rng(seed)
    font = _font(_FONTS[random.integers(len(_FONTS))], int(random.integers(*_POINTS, endpoint=True)))
    ink = int(random.integers(*_INK, endpoint=True))
    canvas = Image.new("L", (_CANVAS, _CANVAS))
    ImageDraw.Draw(canvas).text(_centred(font, character), character, ink, font)
    turned = canvas.rotate(random.uniform(-_TURN, _TURN), Image.Resampling.BILINEAR)
    left, top = (_CANVAS - _SIZE) // 2 + random.integers(-_SHIFT, _SHIFT, 2, endpoint=True)
    grey = np.asarray(turned, np.float32)[top : top + _SIZE, left : left + _SIZE]
    noise = random.normal(0, random.uniform(*_NOISE), grey.shape)
    return (grey + noise).clip(0, 255).astype(np.uint8)


def _centred(font: "ImageFont.FreeTypeFont", character: str) -> tuple[float, float]:
    """Where to write a character so that its ink stands in the middle of the canvas."""
    left, top, right, bottom = font.getbbox(character)
    return (_CANVAS - left - right) / 2, (_CANVAS - top - bottom) / 2


@lru_cache(maxsize=512)
def _font(name: str, points: int) -> "ImageFont.FreeTypeFont":
    from PIL import ImageFont

    return ImageFont.truetype(BytesIO(_file(name)), points)


@lru_cache(maxsize=32)
def _file(name: str) -> bytes:
    """In memory: hundreds of sizes would be as many open files."""
    import matplotlib

    return (Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf").read_bytes()
