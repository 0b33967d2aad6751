"""The first and the second sentence of stories, as pairs of a beginning and what follows it.

A sentence ends with ``.``, ``!``, ``?`` or ``…``, closing quotes and brackets included, where white space and then
anything but a small letter follow, or where the story ends; not after initials and common abbreviations. ``。``, ``！``
and ``？`` need nothing after them. White space between the two sentences belongs to the second, so that both together
are the story's beginning.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_CLOSING = "\"'”’»)\\]」』）"
_END = re.compile(
    rf"[.!?…]+[{_CLOSING}]*(?=\s+[^\sa-zà-ÿ])"  # something follows that may begin a sentence
    rf"|[。！？]+[{_CLOSING}]*"
    rf"|[.!?…]+[{_CLOSING}]*$"
)
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\"'“‘])(?:[A-Z]|Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|vs|etc|e\.g|i\.e|No|Gen|Col|Capt|Lt|Rev)\.$"
)


@dataclass(frozen=True)
class SentencePairs:
    """What was cut from stories.

    Attributes:
        pairs: first and second sentence of each story that has two.
        skipped: numbers of the stories that have not, from 0.
    """

    pairs: tuple[tuple[str, str], ...]
    skipped: tuple[int, ...]


def sentence_pairs(stories: Iterable[str]) -> SentencePairs:
    """Cut the first two sentences from each story."""
    pairs: list[tuple[str, str]] = []
    skipped: list[int] = []
    for number, story in enumerate(stories):
        found = first_two(story)
        if found is None:
            skipped.append(number)
        else:
            pairs.append(found)
    return SentencePairs(tuple(pairs), tuple(skipped))


def first_two(story: str) -> tuple[str, str] | None:
    """The first and the second sentence of a story; None if it has no second one, or one of them does not end."""
    text = story.strip()
    ends: list[int] = []
    for match in _END.finditer(text):
        if match[0] == "." and _ABBREVIATION.search(text[: match.end()]):
            continue
        ends.append(match.end())
        if len(ends) == 2:
            return text[: ends[0]], text[ends[0] : ends[1]]
    return None
