"""Made-up rows in the form that a recipe expects, for trying it without its data.

They can be learned from: the label, the ending or the answer follows from the words.
"""

import csv
import hashlib
import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_THINGS = ("film", "book", "meal", "song", "room", "trip", "game", "coat")
_JUDGEMENTS = (
    ("awful", "dull", "cold"),
    ("wonderful", "clever", "warm"),
    ("long", "plain", "quiet"),
    ("new", "strange", "loud"),
    ("old", "small", "bright"),
)
STAND_IN_TEXTS = "python-reference"
"""What stands in for texts: the corpus that every Python carries."""

_COUNTS = {"train": 96, "validation": 32, "test": 32, "predict": 8, "source": 24}


def write_stand_in(objective: str, data: dict[str, Any], part: str, folder: Path) -> str:
    """Write rows that stand in for a source; returns the file's path, or the name of a built-in source.

    Args:
        objective: of the stage.
        data: the stage's table, which names the columns.
        part: `train`, `validation`, `test`, `predict`, `source` or `objective`.
        folder: where to write.
    """
    if objective == "information-gain" and part == "objective":  # none of its texts may stand among those to train on
        return _write(_made_up_articles(), f"{objective}-{part}", ".txt", folder)
    if objective in ("causal-lm", "masked-lm", "information-gain") or (
        objective == "evaluate" and data.get("examples") != "pairs"
    ):
        return STAND_IN_TEXTS
    if objective == "image-classification":
        return "drawn-digits"
    rows = list(itertools.islice(_ROWS[objective](data, labelled=part not in ("predict", "source")), _COUNTS[part]))
    if objective == "instruction-tuning":
        return _write("".join(json.dumps(row) + "\n" for row in rows), f"{objective}-{part}", ".jsonl", folder)
    table = io.StringIO()
    writer = csv.DictWriter(table, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return _write(table.getvalue(), f"{data.get('task', objective)}-{part}", ".csv", folder)


def _write(content: str, name: str, suffix: str, folder: Path) -> str:
    """Named by what is in it: recipes with other columns have files of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:8]}{suffix}"
    path.write_text(content, encoding="utf-8")
    return str(path)


def _made_up_articles() -> str:
    """A few articles with headings, each a paragraph without blank lines."""
    articles: list[str] = []
    for number, (thing, other) in enumerate(itertools.pairwise(_THINGS)):
        words = itertools.chain.from_iterable(_JUDGEMENTS)
        said = " ".join(f"Guest {number} found the {thing} {word} , and the {other} as well ." for word in words)
        articles.append(f" = The {thing} = \n {said} \n")
    return "\n".join(articles)


def _labelled(data: dict[str, Any], labelled: bool) -> Iterator[dict[str, Any]]:
    text, pair, label, names = _columns(data)
    for number in itertools.count():
        kind = number % len(names)
        word = _JUDGEMENTS[kind % len(_JUDGEMENTS)][number // len(names) % 3]
        row: dict[str, Any] = {text: f"It was a {word} {_THINGS[number * 7 % len(_THINGS)]}, said guest {number}."}
        if pair:
            row[pair] = f"The guest found it {word}."
        if labelled:
            row[label] = names[kind]
        yield row


def _scored(data: dict[str, Any], labelled: bool) -> Iterator[dict[str, Any]]:
    text, pair, label, _ = _columns(data)
    for number in itertools.count():
        score = number % 6
        words = [_THINGS[(number + i) % len(_THINGS)] for i in range(5)]
        row: dict[str, Any] = {text: "We saw a " + ", a ".join(words) + "."}
        if pair:
            row[pair] = "We saw a " + ", a ".join(words[:score] or ["stone"]) + "."
        if labelled:
            row[label] = float(score)
        yield row


_GLUE = {
    "cola": ("sentence", None),
    "sst2": ("sentence", None),
    "mrpc": ("sentence1", "sentence2"),
    "stsb": ("sentence1", "sentence2"),
    "qqp": ("question1", "question2"),
    "mnli": ("premise", "hypothesis"),
    "qnli": ("question", "sentence"),
    "rte": ("sentence1", "sentence2"),
    "wnli": ("sentence1", "sentence2"),
}


def _columns(data: dict[str, Any]) -> tuple[str, str | None, str, list[Any]]:
    """Columns of text, pair and label, and the labels."""
    text, pair = _GLUE.get(str(data.get("task")), (data.get("text", "text"), data.get("pair")))
    labels: list[Any] = data.get("labels") or list(range(3 if data.get("task") == "mnli" else 2))
    return text, pair, data.get("label", "label"), labels


def _choices(data: dict[str, Any], labelled: bool) -> Iterator[dict[str, Any]]:
    endings = data.get("endings", ["ending0", "ending1", "ending2", "ending3"])
    for number in itertools.count():
        right = number % len(endings)
        thing = _THINGS[number * 3 % len(_THINGS)]
        row: dict[str, Any] = {data.get("context", "sent1"): f"Guest {number} looks for the {thing}."}
        if start := data.get("start"):
            row[start] = "The guest"
        for place, column in enumerate(endings):
            found = thing if place == right else _THINGS[(number * 3 + 1 + place) % len(_THINGS)]
            row[column] = f"finds the {found}."
        if labelled:
            row[data.get("label", "label")] = right
        yield row


def _continuations(data: dict[str, Any], labelled: bool) -> Iterator[dict[str, Any]]:  # noqa: ARG001
    for number in itertools.count():
        thing, word = _THINGS[number % len(_THINGS)], _JUDGEMENTS[number % 5][number % 3]
        yield {
            data.get("prefix", "prefix"): f"Guest {number} looked at the {thing}.",
            data.get("continuation", "continuation"): f" The {thing} was {word}.",
        }


def _conversations(data: dict[str, Any], labelled: bool) -> Iterator[dict[str, Any]]:  # noqa: ARG001
    for number in itertools.count():
        thing, word = _THINGS[number % len(_THINGS)], _JUDGEMENTS[number % 5][number % 3]
        question, answer = f"What was the {thing} like?", f"It was {word}."
        match data.get("format", "dialogue"):
            case "alpaca":
                yield {"instruction": "Answer in a few words.", "input": question, "output": answer}
            case "messages":
                turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
                yield {data.get("messages", "messages"): turns}
            case "pairs":
                yield {data.get("prompt", "prompt"): question + " ", data.get("completion", "completion"): answer}
            case _:
                marks = data.get("human", "### Human:"), data.get("assistant", "### Assistant:")
                yield {data.get("text", "text"): f"{marks[0]} {question}{marks[1]} {answer}"}


_ROWS = {
    "classification": _labelled,
    "regression": _scored,
    "multiple-choice": _choices,
    "instruction-tuning": _conversations,
    "evaluate": _continuations,
    "generate": _labelled,
}
