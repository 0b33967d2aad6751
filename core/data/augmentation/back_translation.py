"""New texts by translating there and back again.

After "Improving Neural Machine Translation Models with Monolingual Data" (Sennrich et al. 2016, arXiv 1511.06709), here
used to say the same in other words.
"""

from collections.abc import Callable, Sequence

from .augmenter import Around
from .memory import Remembering


class BackTranslator:
    """Translates each text into another language, and what comes out back, in one or several ways."""

    def __init__(self, name: str, there: Remembering, back: Remembering, around: Around):
        """`there` writes one text for each, `back` as many as are wanted."""
        self._name = name
        self._there = there
        self._back = back
        self._around = around

    @property
    def name(self) -> str:
        """The recipe's."""
        return self._name

    def augment(self, texts: Sequence[str], rows: Sequence[int]) -> list[list[str]]:  # noqa: ARG002 - the text decides
        """All texts are translated there before the first is translated back, so that one model is needed at a time."""
        between = [answer[0] if answer else "" for answer in self._there(texts, self._after("translated"))]
        speaking = [text for text in between if text.strip()]
        back = iter(self._back(speaking, self._after("translated back")))
        return [next(back) if text.strip() else [] for text in between]

    def _after(self, what: str) -> Callable[[int, int], None]:
        def after(done: int, total: int) -> None:
            self._around.progress(done, total, f"{self._name}: {what}")
            self._around.stop()

        return after
