"""Translation models for a stage: loaded when they are needed, their answers remembered in the cache."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..data.augmentation.augmenter import Around
from ..data.augmentation.back_translation import BackTranslator
from ..data.augmentation.memory import Memory, Remembering, Rewrite
from ..decoding.loading import load
from ..decoding.rewriting import Languages, Rewriter, Shortfall
from ..errors import ValueInRecipeError
from ..home import Home
from ..models.identity import identity_of
from ..recipe.schema import BackTranslation

MEMORY = "rewritten.db"
"""In the cache: what translation models have written."""

_DECIDING = {"search", "beams", "variants", "tokens", "temperature", "top_k", "top_p", "length_penalty"}
"""Settings that what is written depends on."""


@dataclass(frozen=True)
class _Way:
    """There, or back.

    Attributes:
        key: the recipe's key that names the model.
        source: the model.
        settings: how to write.
        languages: from which to which.
        language_keys: how the recipe calls them.
    """

    key: str
    source: str
    settings: BackTranslation
    languages: Languages
    language_keys: tuple[str, str]


class Translations:
    """All translations of a job."""

    def __init__(self, around: Around, device: str, home: Home):
        """Nothing is loaded yet."""
        self._around = around
        self._device = device
        self._home = home
        self._memory = Memory(home.cache / MEMORY, around.tell)
        self._shortfalls: list[tuple[BackTranslation, Shortfall]] = []

    def augmenter(self, settings: BackTranslation, key: str) -> BackTranslator:
        """The augmenter that a recipe's table describes; `key` is the table's.

        Raises:
            ValueInRecipeError: a model is not there.
        """
        one = settings.model_copy(update={"variants": 1})
        home, abroad = settings.language, settings.pivot
        there = _Way(f"{key}.there", settings.there, one, Languages(home, abroad), (f"{key}.language", f"{key}.pivot"))
        source = (f"{key}.back", settings.back) if settings.back else (f"{key}.there", settings.there)
        back = _Way(*source, settings, Languages(abroad, home), (f"{key}.pivot", f"{key}.language"))
        return BackTranslator(settings.name, self._remembering(there), self._remembering(back), self._around)

    def shortfalls(self) -> list[str]:
        """What was left out and cut off, sentences."""
        return [
            f"{settings.name}: {sentence}"
            for settings, shortfall in self._shortfalls
            for sentence in shortfall.sentences(settings.tokens)
        ]

    def _remembering(self, way: _Way) -> Remembering:
        key = {
            "version": 1,
            "model": identity_of(way.source, way.key, self._home.cache / "hashes"),
            "languages": [way.languages.source, way.languages.target],
            "seed": self._seed(way),
            **way.settings.model_dump(include=_DECIDING),
        }
        return Remembering(lambda: self._load(way), key, self._memory, way.settings.batch_size)

    def _load(self, way: _Way) -> Rewrite:
        self._around.tell(f"{way.settings.name}: loading {way.source}")
        reference = way.source if Path(way.source).is_dir() else f"hub:{way.source}"
        try:
            loaded = load(reference, self._home, self._device, "seq2seq", self._around.tell)
        except ValueInRecipeError as error:
            raise ValueInRecipeError(way.key, str(error)) from None
        rewriter = Rewriter(loaded, way.settings, way.languages, self._seed(way), way.language_keys)
        self._shortfalls.append((way.settings, rewriter.shortfall))

        def rewrite(texts: Sequence[str]) -> list[list[str]]:
            return [[answer.text for answer in answers] for answers in rewriter(texts)]

        return rewrite

    def _seed(self, way: _Way) -> int:
        """Beam search draws nothing: what one seed has found serves all."""
        return self._around.seed if way.settings.search == "sample" else 0
