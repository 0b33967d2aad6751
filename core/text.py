"""The one boundary that makes foreign text printable.

Run names, prompts, log lines, tokens and anything else that comes from data or models passes through
`printable` before it reaches a terminal. What comes out holds no control characters, no bidirectional
overrides and no half surrogates, so it can neither move the cursor nor recolour the screen; what was
there is shown, not dropped. The text is data, never markup.
"""

import json
import re
import unicodedata
from functools import lru_cache
from typing import Any

_DISPUTED_WIDTH = re.compile(
    "[\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0"  # fillers and selectors that count as letters
    "\ufe00-\ufe0f\U000e0100-\U000e01ef"  # variation selectors
    "\U0001f3fb-\U0001f3ff"  # skin tones
    "\U0001f1e6-\U0001f1ff"  # flag halves
    "\u2630-\u2637\u268a-\u268f\u4dc0-\u4dff\U0001d300-\U0001d378"  # trigrams and their like, counting rods
    "\u3248-\u324f"  # circled numbers on black squares
    "\u302e\u302f\U00016ff0\U00016ff1"  # wide marks
    "\U0001cc00-\U0001ceff\U0001fb00-\U0001fbff]"  # octants, sextants
)
_LEANING = re.compile("[\u1160-\u11ff\ud7b0-\ud7ff]")  # Hangul vowels and finals, which have no width of their own
_FOREIGN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def printable(text: str, keep_newlines: bool = False) -> str:
    """The text with every character that could steer a terminal replaced by a visible sign.

    Control characters become their pictures (``␛``, ``␊``, ``␉``); others, and characters about whose
    width terminals disagree, become ``<U+202E>``. A leading mark gets a dotted circle to stand on. Text that
    was printable comes back unchanged. Vowel signs of Indic scripts stay, though some terminals give them a
    cell of their own: without them the text could not be read.

    Args:
        text: anything, lone surrogates included.
        keep_newlines: leave line feeds as they are, for text that is shown on several lines.
    """
    if keep_newlines and "\n" in text:
        return "\n".join(map(printable, text.split("\n")))
    if text.isascii() and text.isprintable():
        return text
    shown = "".join(map(_visible, text))
    return "\u25cc" + shown if shown and _leans(shown[0]) else shown


def _leans(character: str) -> bool:
    """It needs another one before it to stand on."""
    return unicodedata.category(character)[0] == "M" or _LEANING.match(character) is not None


@lru_cache(maxsize=4096)
def _visible(character: str) -> str:
    """The character, or a harmless stand-in."""
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if unicodedata.category(character) in _FOREIGN or _DISPUTED_WIDTH.match(character):
        return f"<U+{code:04X}>"
    return character


def shorten(text: str, length: int) -> str:
    """The text cut to at most `length` characters, with ``…`` where something is missing."""
    return text if len(text) <= length else text[: max(0, length - 1)] + "…"


def duration(seconds: float) -> str:
    """A span of time, in one unit or two: ``40 s``, ``3 min``, ``2 h 05``, ``3 d 4 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours < 48:
        return f"{hours} h {minutes:02d}"
    return f"{hours // 24} d {hours % 24} h"


def json_text(document: Any, indent: int | None = None) -> str:
    """The document in ASCII, without control characters other than the line feeds of the indentation.

    Raises:
        ValueError: it holds NaN or an infinite number.
    """
    return json.dumps(document, indent=indent, allow_nan=False).replace("\x7f", "\\u007f")
