"""How the app talks to the model service, `service.py`, without ever waiting for it and without torch.

The service is started with the first question, and anew with the next one after it has died.
"""

import asyncio
import contextlib
import json
import signal
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ..children import process_environment
from ..errors import LmwbError, MachineError, UsageError
from ..home import Home
from ..text import printable
from ..tokens import TokenTrace
from .as_json import generation_from_dict, trace_from_dict
from .records import Generation

OnStep = Callable[[int, int], None]
"""Hears how many steps are done, of how many."""
OnNote = Callable[[str], None]
"""Hears sentences that a person should read."""

_LONGEST_LINE = 2**30
_SHORT_LINE = 10_000
_LAST_LINES = 20
_END_SECONDS = 2.0

_T = TypeVar("_T")


class ServiceDied(LmwbError):
    """The service's process is gone, and with it every answer that was under way."""


@dataclass(frozen=True)
class ModelFacts:
    """A model that the service has in memory.

    Attributes:
        name: what people call it: foreign text.
        device: where it is.
        longest: tokens that it takes at once; None if it names no bound.
        parameters: how many.
        vocabulary: a fingerprint; models with the same one understand each other's ids.
    """

    name: str
    device: str
    longest: int | None
    parameters: int
    vocabulary: str


@dataclass
class _Waiting:
    """A question under way."""

    answer: "asyncio.Future[Any]"
    on_step: OnStep | None
    on_note: OnNote | None


class ModelService:
    """The service, as one event loop sees it. To cancel a question, cancel the task that waits for its answer."""

    def __init__(
        self,
        home: Home,
        device: str = "auto",
        on_death: Callable[[str], None] = lambda _: None,
        program: Sequence[str] | None = None,
    ):
        """Nothing is started yet.

        Args:
            home: whose runs are meant by references.
            device: as in a recipe.
            on_death: hears a sentence when the process has ended without being asked to.
            program: the command to start; this module's neighbour by default.
        """
        service = (sys.executable, "-P", "-m", f"{__package__}.service", str(home.root), device)
        self._program = tuple(program or service)
        self._on_death = on_death
        self._process: asyncio.subprocess.Process | None = None
        self._listener: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._waiting: dict[int, _Waiting] = {}
        self._count = 0

    @property
    def pid(self) -> int | None:
        """The number of its process; None if there is none."""
        return self._process.pid if self._process else None

    async def load(self, model: str, on_note: OnNote | None = None) -> ModelFacts:
        """Bring a model into memory; again if the reference leads elsewhere by now.

        Args:
            model: a reference as `loading.load` takes it.
            on_note: hears what a person should know, such as that a run has only a checkpoint yet.

        Raises:
            UsageError: there is no such model, or it cannot be used.
            ServiceDied: the process ended before it answered.
        """
        return await self._ask({"do": "load", "model": model}, lambda facts: ModelFacts(**facts), None, on_note)

    async def generate(
        self,
        model: str,
        prompt: str | Sequence[int],
        settings: Mapping[str, Any],
        on_step: OnStep | None = None,
        on_note: OnNote | None = None,
    ) -> Generation:
        """Let a model go on from a prompt, or from the ids of one.

        Args:
            model: a reference; the model is loaded if it is not in memory.
            prompt: the beginning.
            settings: keys of the table `decoding`.
            on_step: hears of every step.
            on_note: as in `load`.

        Raises:
            UsageError: model, prompt or settings do not fit.
            ServiceDied: the process ended before it answered.
        """
        given = prompt if isinstance(prompt, str) else list(prompt)
        question = {"do": "generate", "model": model, "prompt": given, "settings": dict(settings)}
        return await self._ask(question, generation_from_dict, on_step, on_note)

    async def score(
        self, model: str, text: str | Sequence[int], alternatives: int = 8, on_note: OnNote | None = None
    ) -> TokenTrace:
        """What a model thinks of every token of a text, or of the ids of one.

        Raises:
            UsageError: the model cannot be used, or there is nothing to score.
            ServiceDied: the process ended before it answered.
        """
        given = text if isinstance(text, str) else list(text)
        question = {"do": "score", "model": model, "text": given, "alternatives": alternatives}
        return await self._ask(question, trace_from_dict, None, on_note)

    async def close(self) -> None:
        """Let the process end; whoever waits for an answer waits no longer."""
        process, self._process = self._process, None
        for waiting in self._waiting.values():
            waiting.answer.cancel()
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), _END_SECONDS)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        if self._listener is not None:
            await asyncio.wait([self._listener])

    # -- inside -----------------------------------------------------------------------------------

    async def _ask(
        self, question: dict[str, Any], read: Callable[[Any], _T], on_step: OnStep | None, on_note: OnNote | None
    ) -> _T:
        process = await self._running()
        self._count += 1
        number = self._count
        waiting = _Waiting(asyncio.get_running_loop().create_future(), on_step, on_note)
        self._waiting[number] = waiting
        try:
            await _send(process, {"id": number, **question})
            document = await waiting.answer
        except asyncio.CancelledError:
            await asyncio.shield(_send(process, {"id": 0, "do": "cancel", "job": number}))
            raise
        finally:
            self._waiting.pop(number, None)
        return await asyncio.to_thread(read, document)

    async def _running(self) -> asyncio.subprocess.Process:
        async with self._starting:
            if self._process is None:
                try:
                    self._process = await asyncio.create_subprocess_exec(
                        *self._program,
                        stdin=asyncio.subprocess.PIPE,
                        stdout=asyncio.subprocess.PIPE,
                        stderr=asyncio.subprocess.PIPE,
                        limit=_LONGEST_LINE,
                        start_new_session=True,
                        env=process_environment(),
                    )
                except OSError as error:
                    raise MachineError(f"the model service cannot be started: {error.strerror}") from None
                self._listener = asyncio.create_task(self._listen(self._process))
            return self._process

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        """Pass answers on until the process ends; then tell everybody who waits."""
        assert process.stdout is not None
        assert process.stderr is not None
        complaints: deque[str] = deque(maxlen=_LAST_LINES)
        reader = asyncio.create_task(_keep_last(process.stderr, complaints))
        while line := await process.stdout.readline():
            self._hear(json.loads(line) if len(line) < _SHORT_LINE else await asyncio.to_thread(json.loads, line))
        await reader
        code = await process.wait()
        if self._process is process:
            self._process = None
            self._bury(_sentence(code, complaints))

    def _hear(self, message: dict[str, Any]) -> None:
        waiting = self._waiting.get(message["id"])
        if waiting is None or waiting.answer.done():
            return  # nobody waits any more
        if "step" in message:
            if waiting.on_step is not None:
                waiting.on_step(message["step"], message["of"])
        elif "note" in message:
            if waiting.on_note is not None:
                waiting.on_note(message["note"])
        elif "error" in message:
            waiting.answer.set_exception(UsageError(message["error"]))
        elif "done" in message:
            waiting.answer.set_result(message["done"])

    def _bury(self, sentence: str) -> None:
        for waiting in self._waiting.values():
            if not waiting.answer.done():
                waiting.answer.set_exception(ServiceDied(sentence))
        self._on_death(sentence)


def _send(process: asyncio.subprocess.Process, message: dict[str, Any]) -> Awaitable[None]:
    """Write a line; if the process is gone, `_listen` will say so."""

    async def write() -> None:
        assert process.stdin is not None
        with contextlib.suppress(ConnectionError):
            process.stdin.write(json.dumps(message).encode() + b"\n")
            await process.stdin.drain()

    return asyncio.ensure_future(write())


async def _keep_last(stream: asyncio.StreamReader, lines: deque[str]) -> None:
    while line := await stream.readline():
        lines.append(line.decode("utf-8", "replace").strip())


def _sentence(code: int, complaints: Sequence[str]) -> str:
    """What the end of a process means."""
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        why = f"it was killed by {name}" + (" (out of memory?)" if -code == signal.SIGKILL else "")
    else:
        told = next((line for line in reversed(complaints) if line), "")
        why = f"it ended with exit code {code}" + (f": {printable(told)}" if told else "")
    return f"The model service is gone: {why}. The next question starts it again."
