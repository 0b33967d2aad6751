"""The model service: a process of its own that keeps models in memory and lets them speak for the app.

Questions come as JSON lines on stdin, answers go as JSON lines to stdout; nothing else ever does, whatever libraries
print. It ends when stdin closes.

    {"id": 1, "do": "load", "model": REFERENCE}
    {"id": 2, "do": "generate", "model": REFERENCE, "prompt": TEXT or IDS, "settings": {table `decoding`}}
    {"id": 3, "do": "score", "model": REFERENCE, "text": TEXT or IDS, "alternatives": 8}
    {"id": 4, "do": "cancel", "job": 2}

Answers carry the id of their question: any number of {"note": sentence} and {"step": 3, "of": 32}, then one of
{"done": document}, {"error": sentence} and {"cancelled": true}. Questions are answered one after the other; only
`cancel` overtakes, and has no answer of its own. A model that is not in memory is loaded first.
"""

import contextlib
import hashlib
import json
import os
import queue
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ..errors import LmwbError
from ..home import Home
from ..text import json_text
from .as_json import generation_as_dict, trace_as_dict

if TYPE_CHECKING:
    from .generate import Progress
    from .loading import Loaded

MOST_MODELS = 2
"""So many are kept in memory; the one that was not asked for longest makes room."""

_NICENESS = 5
"""The screen comes first."""

Question = dict[str, Any]
Say = Callable[[dict[str, Any]], None]


class _Cancelled(Exception):
    """Nobody waits for the answer any more."""


@dataclass(frozen=True)
class _Kept:
    """A model in memory, and where its reference led when it was loaded."""

    source: str
    loaded: "Loaded"


class Service:
    """Answers questions, one after the other, in a thread of its own."""

    def __init__(self, home: Home, device: str, answers: TextIO):
        self._home = home
        self._device = device
        self._answers = answers
        self._writing = threading.Lock()
        self._questions: queue.SimpleQueue[Question] = queue.SimpleQueue()
        self._cancelled: set[int] = set()
        self._models: OrderedDict[str, _Kept] = OrderedDict()

    def listen(self, lines: Iterable[str]) -> None:
        """Take questions until there are no more; what is not answered by then never will be."""
        threading.Thread(target=self._work, daemon=True).start()
        for line in lines:
            question: Question = json.loads(line)
            if question["do"] == "cancel":
                self._cancelled.add(question["job"])
            else:
                self._questions.put(question)

    def _work(self) -> None:
        while True:
            question = self._questions.get()
            self._say(question, self._answer(question))
            self._cancelled.discard(question["id"])

    def _say(self, question: Question, answer: dict[str, Any]) -> None:
        with self._writing:
            self._answers.write(json_text({"id": question["id"], **answer}) + "\n")
            self._answers.flush()

    def _answer(self, question: Question) -> dict[str, Any]:
        try:
            self._heed(question)
            return {"done": _DEEDS[question["do"]](self, question)}
        except _Cancelled:
            return {"cancelled": True}
        except LmwbError as error:
            return {"error": str(error)}
        except Exception as error:
            import traceback

            traceback.print_exc()
            first = (str(error).strip() or "no message").splitlines()[0]
            return {"error": f"the model service failed: {type(error).__name__}: {first}"}

    def _heed(self, question: Question) -> None:
        if question["id"] in self._cancelled:
            raise _Cancelled

    # -- deeds ------------------------------------------------------------------------------------

    def _load(self, question: Question) -> dict[str, Any]:
        """Read a model; again if its reference leads elsewhere by now, as that of a running training does."""
        from ..models.loading import longest_context
        from .loading import find

        known = self._models.get(question["model"])
        if known is not None and find(question["model"], self._home).source != known.source:
            del self._models[question["model"]]
        loaded = self._model(question)
        return {
            "name": loaded.name,
            "device": str(loaded.device),
            "longest": longest_context(loaded.model),
            "parameters": sum(weight.numel() for weight in loaded.model.parameters()),
            "vocabulary": _fingerprint(loaded.tokenizer.get_vocab()),
        }

    def _generate(self, question: Question) -> dict[str, Any]:
        from ..recipe.decoding import decoding_of
        from .generate import generate

        settings = decoding_of(question["settings"])
        loaded = self._model(question)

        def on_step(progress: "Progress") -> None:
            self._heed(question)
            self._say(question, {"step": progress.step, "of": progress.steps})

        (generation,) = generate(loaded, [question["prompt"]], settings, on_step)
        return generation_as_dict(generation)

    def _score(self, question: Question) -> dict[str, Any]:
        from .scoring import score_ids, score_texts

        text, loaded = question["text"], self._model(question)
        alternatives = question["alternatives"]
        if isinstance(text, str):
            (trace,) = score_texts(loaded, [text], alternatives)
        else:
            (trace,) = score_ids(loaded, [text], alternatives)
        return trace_as_dict(trace)

    def _model(self, question: Question) -> "Loaded":
        reference = question["model"]
        if reference not in self._models:
            from .loading import find, load

            source = find(reference, self._home).source
            while len(self._models) >= MOST_MODELS:
                self._models.popitem(last=False)
            loaded = load(reference, self._home, self._device, tell=lambda note: self._say(question, {"note": note}))
            self._models[reference] = _Kept(source, loaded)
        self._models.move_to_end(reference)
        self._heed(question)
        return self._models[reference].loaded


_DEEDS: dict[str, Callable[[Service, Question], dict[str, Any]]] = {
    "load": Service._load,
    "generate": Service._generate,
    "score": Service._score,
}


def _fingerprint(vocabulary: dict[str, int]) -> str:
    """The same for vocabularies in which the same ids stand for the same tokens."""
    document = json.dumps(sorted(vocabulary.items()))
    return hashlib.blake2b(document.encode(), digest_size=8).hexdigest()


def main(arguments: list[str]) -> None:
    """Serve a home (first argument) on a device (second) until stdin closes."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever else is printed goes where errors go
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)
    Service(Home(Path(arguments[0])), arguments[1], answers).listen(sys.stdin)
    os._exit(0)  # in the middle of a step, if need be


if __name__ == "__main__":
    main(sys.argv[1:])
