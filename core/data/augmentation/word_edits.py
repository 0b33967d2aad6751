"""New texts by small changes of words: synonyms, swaps, omissions. Needs no model.

After "EDA: Easy Data Augmentation Techniques" (Wei & Zou 2019, arXiv 1901.11196), without its random insertion. Each
new text comes from one of the edits, drawn from the seed and the row's number.
"""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ...recipe.schema import WordEdits
from ...text import printable
from ..sources import SourceError, read_text
from .augmenter import Around

_WORD = re.compile(r"\w+(?:['’-]\w+)*")

_Edit = Callable[["_Text", random.Random], str]


class WordEditor:
    """Changes some words of each text."""

    def __init__(self, settings: WordEdits, around: Around, key: str = "augmenter"):
        """Reads the dictionary; `key` is the recipe's key of the table, for messages.

        Raises:
            SourceError: the dictionary cannot be read, or is none.
        """
        self._settings = settings
        self._seed = around.seed
        path = settings.synonyms
        self._synonyms = {} if path is None else read_synonyms(Path(path), f"{key}.synonyms")
        if path is not None:
            around.tell(f"{settings.name}: {len(self._synonyms):,} words have synonyms in {path}")

    @property
    def name(self) -> str:
        """The recipe's."""
        return self._settings.name

    def augment(self, texts: Sequence[str], rows: Sequence[int]) -> list[list[str]]:
        """As many texts for each as the settings say; the row's number decides which edits and where."""
        return [[self._edit(text, row, variant) for variant in range(self._settings.variants)]
                for text, row in zip(texts, rows, strict=True)]  # fmt: skip

    def _edit(self, text: str, row: int, variant: int) -> str:
        drawn = random.Random(repr((self._seed, self.name, row, variant)))
        parts = _Text(text)
        edits: list[_Edit] = []
        if self._settings.replace and any(word.lower() in self._synonyms for word in parts.words):
            edits.append(self._replaced)
        if self._settings.swap and len(parts.words) > 1:
            edits.append(self._swapped)
        if self._settings.delete and len(parts.words) > 1:
            edits.append(self._shortened)
        return drawn.choice(edits)(parts, drawn) if edits else text

    def _replaced(self, text: "_Text", drawn: random.Random) -> str:
        known = [place for place, word in enumerate(text.words) if word.lower() in self._synonyms]
        words = list(text.words)
        for place in drawn.sample(known, min(len(known), _at_least_one(self._settings.replace, len(words)))):
            words[place] = _cased(drawn.choice(self._synonyms[words[place].lower()]), words[place])
        return text.with_words(words)

    def _swapped(self, text: "_Text", drawn: random.Random) -> str:
        words = list(text.words)
        for _ in range(_at_least_one(self._settings.swap, len(words))):
            one, other = drawn.sample(range(len(words)), 2)
            words[one], words[other] = words[other], words[one]
        return text.with_words(words)

    def _shortened(self, text: "_Text", drawn: random.Random) -> str:
        words = [None if drawn.random() < self._settings.delete else word for word in text.words]
        if not any(words):
            place = drawn.randrange(len(words))
            words[place] = text.words[place]
        return text.with_words(words)


def read_synonyms(path: Path, key: str) -> Mapping[str, Sequence[str]]:
    """By word in small letters, what may stand in for it: a line for each word, then its synonyms, commas between.

    Raises:
        SourceError: the file cannot be read, or a line has no synonyms.
    """
    found: dict[str, list[str]] = {}
    try:
        lines = read_text(path).split("\n")
    except SourceError as error:
        raise SourceError(str(error), key) from None
    for number, line in enumerate(lines, 1):
        word, *others = [part.strip() for part in line.split(",")]
        others = [other for other in others if other and other.lower() != word.lower()]
        if word and not others:
            sentence = f"{printable(str(path))}: line {number} has no synonyms; write: word, synonym, synonym"
            raise SourceError(sentence, key)
        if word:
            found.setdefault(word.lower(), []).extend(others)
    if not found:
        raise SourceError(f"{printable(str(path))} holds no words", key)
    return found


class _Text:
    """A text as words and what stands between them."""

    def __init__(self, text: str):
        self.words: Sequence[str] = _WORD.findall(text)
        self._between = _WORD.split(text)

    def with_words(self, words: Sequence[str | None]) -> str:
        """The text with other words; a word that is None goes with the space before it."""
        made = self._between[0]
        for word, after in zip(words, self._between[1:], strict=True):
            made = made.rstrip(" ") + after if word is None else made + word + after
        return made.strip()


def _at_least_one(share: float, count: int) -> int:
    return max(1, round(share * count))


def _cased(word: str, like: str) -> str:
    """The word with a capital, or all in capitals, if the other one has them."""
    if like.isupper() and len(like) > 1:
        return word.upper()
    return word[:1].upper() + word[1:] if like[:1].isupper() else word
