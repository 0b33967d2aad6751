"""Labelled images of 32×32 pixels in grey: from a folder with a folder per label, or drawn from fonts."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..text import printable
from .drawing import ALPHABETS, draw
from .sources import SourceError

if TYPE_CHECKING:
    from PIL import Image

SIZE = 32
_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")


@dataclass(frozen=True)
class Images:
    """Images with a label each.

    Attributes:
        pixels: uint8, (images, 32, 32); 0 is black.
        labels: int64, (images,): numbers of `names`.
        names: the labels' names, in the order of their numbers.
        left_out: files that are not images.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    names: Sequence[str]
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    def chosen(self, rows: Sequence[int]) -> "Images":
        """Only these images."""
        return Images(self.pixels[rows], self.labels[rows], self.names, self.left_out)

    def counted_in(self, names: Sequence[str]) -> "Images":
        """With labels numbered as in `names`.

        Raises:
            ValueError: a label is not among them.
        """
        if strange := [name for name in self.names if name not in names]:
            raise ValueError(f"the label '{printable(strange[0])}' does not occur in the training images")
        places = np.array([names.index(name) for name in self.names], np.int64)
        return Images(self.pixels, places[self.labels], names, self.left_out)


def read_images(source: str, part: str, key: str, limit: int | None = None) -> Images:
    """The images of a source.

    Args:
        source: an absolute path of a folder, `drawn-digits` or `drawn-letters`.
        part: `train`, `validation` or `test`; images drawn for one part are not those of another.
        key: the recipe's key, for errors.
        limit: at most so many images; of a folder, a random choice that is always the same.

    Raises:
        SourceError: there is no such folder, or it holds what cannot be read.
    """
    if source in ALPHABETS:
        pixels, labels = draw(source, part, limit)
        return Images(pixels, labels, list(ALPHABETS[source]))
    return _read_folder(Path(source), key, limit)


def _read_folder(folder: Path, key: str, limit: int | None) -> Images:
    if not folder.is_dir():
        raise SourceError(f"{printable(str(folder))} is not a folder with a folder of images per label", key)
    names = sorted(each.name for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    files = [(file, name) for name in names for file in sorted((folder / name).rglob("*")) if file.is_file()]
    found = [(file, name) for file, name in files if file.suffix.lower() in _SUFFIXES]
    if not found:
        raise SourceError(f"{printable(str(folder))} holds no folders with images in them, one folder per label", key)
    used = sorted({name for _, name in found})
    left_out = len(files) - len(found)
    if limit is not None and limit < len(found):
        found = [found[i] for i in sorted(random.Random("images").sample(range(len(found)), limit))]
    pixels = np.stack([_read(file, key) for file, _ in found])
    return Images(pixels, np.array([used.index(name) for _, name in found], np.int64), used, left_out)


def _read(file: Path, key: str) -> NDArray[np.uint8]:
    """A file's image as (32, 32); what is transparent becomes white."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            if image.mode.startswith("I"):  # 16 bits: Pillow would cut everything above 255 off
                return _fitted(Image.fromarray((np.asarray(image) // 257).clip(0, 255).astype(np.uint8)))
            if image.has_transparency_data:
                layers = image.convert("RGBA")
                return _fitted(Image.alpha_composite(Image.new("RGBA", layers.size, "white"), layers).convert("L"))
            return _fitted(image.convert("L"))
    except Exception as error:  # Pillow's readers raise what they like
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise SourceError(f"cannot read the image {printable(str(file))}: {printable(reason)}", key) from None


def _fitted(image: "Image.Image") -> NDArray[np.uint8]:
    from PIL import Image

    return np.asarray(image if image.size == (SIZE, SIZE) else image.resize((SIZE, SIZE), Image.Resampling.BOX))
