"""Labels of small images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from ..data.images import SIZE, Images, read_images
from ..data.split import draw_rows
from ..errors import ValueInRecipeError
from ..models.loading import Head
from ..recipe.schema import ImageStage
from ..training.objectives.images import ImageClassification
from .task import Material, Surroundings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from ..tokens import TokenTrace


class ImageTask:
    """Images of 32×32 pixels in grey, with a label each."""

    head: ClassVar[Head] = "image-classification"

    def __init__(self, stage: ImageStage, surroundings: Surroundings):
        """Nothing is read yet."""
        self._stage = stage
        self._around = surroundings
        self._train: Images

    def read(self) -> Material:
        """Read or draw the images; labels are numbered as in the training images."""
        data = self._stage.data
        images = self._read(data.train, "train")
        names = list(images.names)
        if len(names) < 2:
            raise ValueInRecipeError("data.train", f"all training images have the same label, '{names[0]}'")
        parts: dict[str, Images] = {}
        if isinstance(data.validation, str):
            parts["validation"] = self._read(data.validation, "validation", names)
        elif data.validation:
            if len(images) < 2:
                raise ValueInRecipeError("data.validation", "one image cannot be split; give a source, or 0")
            learned, aside = draw_rows(len(images), data.validation, self._around.seed)
            images, parts["validation"] = images.chosen(learned), images.chosen(aside)
        if data.test is not None:
            parts["test"] = self._read(data.test, "test", names)
        self._train = images
        counts = {"train": len(images)} | {name: len(part) for name, part in parts.items()}
        self._around.tell(
            f"images: {', '.join(f'{count:,} in {name}' for name, count in counts.items())}; {len(names)} labels"
        )
        objectives = {name: ImageClassification(part) for name, part in parts.items()}
        return Material(
            tokenizer=None,
            train=ImageClassification(images),
            validation={name: part for name, part in objectives.items() if name == "validation"},
            test={name: part for name, part in objectives.items() if name == "test"},
            fields={
                "num_labels": len(names),
                "id2label": dict(enumerate(names)),
                "label2id": {name: number for number, name in enumerate(names)},
            },
            counts={"images": counts},
        )

    def check_model(self, model: "PreTrainedModel") -> None:
        """The model must take small images in grey."""
        size, channels = getattr(model.config, "image_size", SIZE), getattr(model.config, "num_channels", 1)
        if (size, channels) != (SIZE, 1):
            raise ValueInRecipeError(
                "model.from",
                f"the model takes images of {size}×{size} with {channels} channels, not {SIZE}×{SIZE} in grey",
            )

    def example(self, row: int) -> str:
        """The image's label."""
        return f"an image of '{self._train.names[self._train.labels[row]]}'"

    @property
    def prompts(self) -> Sequence[str]:
        """Nothing is asked meanwhile."""
        return ()

    def speak(self, model: nn.Module, prompt: str, seed: int) -> "TokenTrace":  # noqa: ARG002 - part of the protocol
        """A classifier says nothing."""
        raise ValueError("a classifier of images writes no text")

    def finish(self, model: nn.Module, folder: Path) -> Mapping[str, Any]:  # noqa: ARG002 - part of the protocol
        """There is nothing more to write."""
        return {}

    def _read(self, source: str, part: str, names: Sequence[str] | None = None) -> Images:
        """The images of a part, with labels numbered as in `names`; tells what was left out."""
        key = f"data.{part}"
        images = read_images(source, part, key, self._stage.data.max_rows)
        if images.left_out:
            self._around.tell(f"{key}: {images.left_out:,} files are not images and were left out")
        if names is None:
            return images
        try:
            return images.counted_in(names)
        except ValueError as error:
            raise ValueInRecipeError(key, str(error)) from None
