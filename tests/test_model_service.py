"""The model service and its client: a real process with a tiny model, and made-up processes for the rest."""

import asyncio
import io
import json
import os
import signal
import sys
import threading
from pathlib import Path

import pytest
import small_models
from lmwb.core.decoding.client import ModelService, ServiceDied
from lmwb.core.decoding.service import MOST_MODELS, Service
from lmwb.core.errors import MachineError, UsageError
from lmwb.core.home import Home


class Lines(io.StringIO):
    """What a service writes."""

    def answers(self):
        return [json.loads(line) for line in self.getvalue().splitlines()]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_models.gpt2(tmp_path_factory.mktemp("models") / "gpt2")


def answers_to(home: Path, *questions: dict) -> list[dict]:
    """Everything that a service answers, in this process."""
    written = Lines()
    service = Service(Home(home), "cpu", written)
    numbered = [{"id": number, **question} for number, question in enumerate(questions, start=1)]
    for question in numbered:
        service._say(question, service._answer(question))
    return written.answers()


def made_up(code: str, **options) -> ModelService:
    """A client of a process that runs this code; `say(id=…, …)` answers, `lines` are the questions."""
    head = "import json, os, sys, time\n"
    head += "def say(**a): print(json.dumps(a), flush=True)\n"
    head += "lines = (json.loads(line) for line in sys.stdin)\n"
    return ModelService(Home(Path("/nonexistent")), program=(sys.executable, "-c", head + code), **options)


FACTS = '{"name": "m", "device": "cpu", "longest": 8, "parameters": 1, "vocabulary": "v"}'


# -- the service --------------------------------------------------------------------------------------


async def test_a_real_process_loads_speaks_branches_and_scores_and_its_death_is_a_sentence(
    model: str, tmp_path: Path
) -> None:
    deaths: list[str] = []
    service = ModelService(Home(tmp_path), "cpu", on_death=deaths.append)
    assert service.pid is None
    facts = await service.load(model)
    assert (facts.device, facts.longest) == ("cpu", 64)
    steps: list[tuple[int, int]] = []
    settings = {"beams": 3, "tokens": 4}
    said = await service.generate(model, "The cat", settings, lambda done, of: steps.append((done, of)))
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert len(said.hypotheses) == 3
    assert len(said.steps) == 4
    best = said.hypotheses[0].trace
    ids = [*map(int, best.ids[: best.prompt_length + 2])]
    branch = await service.generate(model, ids, {"search": "greedy", "tokens": 2})
    assert [*map(int, branch.hypotheses[0].trace.ids[: len(ids)])] == ids
    trace = await service.score(model, "The cat sat.")
    assert trace.text() == "The cat sat."
    again = await service.score(model, trace.ids.tolist())
    assert (again.ids == trace.ids).all()
    assert (again.logprob[1:] == trace.logprob[1:]).all()
    with pytest.raises(UsageError, match="tokens and 4000 are to follow"):
        await service.generate(model, "The cat", {"tokens": 4000})
    waiting = asyncio.create_task(service.generate(model, "The cat", {"beams": 256, "tokens": 60}))
    await asyncio.sleep(0)
    assert service.pid is not None
    os.kill(service.pid, signal.SIGKILL)
    with pytest.raises(ServiceDied, match=r"killed by SIGKILL \(out of memory\?\)\. The next question starts it again"):
        await waiting
    assert len(deaths) == 1
    assert service.pid is None


def test_wrong_questions_get_one_sentence_each(model: str, tmp_path: Path) -> None:
    ask = {"do": "generate", "model": model, "prompt": "The cat"}
    answers = answers_to(
        tmp_path,
        {"do": "load", "model": str(tmp_path / "none")},
        {**ask, "settings": {"beams": 0}},
        {**ask, "settings": {"nonsense": 1}},
        {**ask, "prompt": "\udcff", "settings": {"tokens": 1}},
        {**ask, "settings": {"search": "greedy", "tokens": 1}},
    )
    errors = [answer["error"] for answer in answers if "error" in answer]
    assert "there is no folder" in errors[0]
    assert "beams" in errors[1]
    assert "nonsense" in errors[2]
    assert all("\n" not in error for error in errors)
    assert "done" in answers[-1]  # it lives on


def test_a_cancelled_question_is_answered_with_nothing_more(model: str, tmp_path: Path) -> None:
    written = Lines()
    service = Service(Home(tmp_path), "cpu", written)
    question = {"id": 7, "do": "generate", "model": model, "prompt": "a", "settings": {"tokens": 30}}
    seen = threading.Event()

    class Stopper(Lines):
        """Cancels at the third step."""

        def write(self, text: str) -> int:
            if '"step": 3' in text:
                service._cancelled.add(7)
                seen.set()
            return super().write(text)

    service._answers = stopper = Stopper()
    assert service._answer(question) == {"cancelled": True}
    assert seen.is_set()
    assert [answer["step"] for answer in stopper.answers()] == [1, 2, 3]


def test_the_model_that_was_not_asked_for_longest_makes_room(model: str, tmp_path: Path) -> None:
    names = [str(tmp_path / name) for name in ("a", "b", "c")]
    for name in names:
        Path(name).symlink_to(model)
    service = Service(Home(tmp_path), "cpu", Lines())
    assert MOST_MODELS == 2
    for name in (names[0], names[1], names[0], names[2]):
        assert "done" in service._answer({"id": 1, "do": "load", "model": name})
    assert list(service._models) == [names[0], names[2]]


def test_models_with_the_same_tokens_have_the_same_fingerprint(tmp_path: Path, model: str) -> None:
    another = small_models.gpt2(tmp_path / "another")
    answers = answers_to(tmp_path, {"do": "load", "model": model}, {"do": "load", "model": another})
    assert len({answer["done"]["vocabulary"] for answer in answers}) == 1


# -- the client ---------------------------------------------------------------------------------------


async def test_answers_reach_those_who_asked_whatever_their_order() -> None:
    code = (
        f"qs = [next(lines), next(lines)]\nfor q in qs[::-1]: say(id=q['id'], done={FACTS} | dict(name=q['model']))\n"
    )
    service = made_up(code + "next(lines, None)")
    one, other = await asyncio.gather(service.load("one"), service.load("other"))
    assert (one.name, other.name) == ("one", "other")
    await service.close()


async def test_notes_and_steps_are_passed_on() -> None:
    code = f"q = next(lines)\nsay(id=q['id'], note='aside')\nsay(id=q['id'], done={FACTS})\nnext(lines, None)"
    service = made_up(code)
    notes: list[str] = []
    await service.load("m", notes.append)
    assert notes == ["aside"]
    await service.close()


async def test_cancelling_who_waits_cancels_the_question(tmp_path: Path) -> None:
    told = tmp_path / "told"
    code = f"next(lines)\nq = next(lines)\nopen({str(told)!r}, 'w').write(json.dumps(q))\n"
    service = made_up(code + f"say(id=next(lines)['id'], done={FACTS})\nnext(lines, None)")
    task = asyncio.create_task(service.generate("m", "a", {}))
    while not service._waiting:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await service.load("m")).name == "m"
    assert json.loads(told.read_text()) == {"id": 0, "do": "cancel", "job": 1}
    await service.close()


async def test_a_process_that_fails_is_quoted_and_started_again(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    code = f"q = next(lines)\nif not os.path.exists({str(mark)!r}):\n    open({str(mark)!r}, 'w').close()\n"
    code += f"    sys.exit('no room \\x1b[2J for it')\nsay(id=q['id'], done={FACTS})\nnext(lines, None)"
    service = made_up(code)
    with pytest.raises(ServiceDied) as death:
        await service.load("m")
    assert str(death.value).startswith("The model service is gone: it ended with exit code 1: no room ␛[2J for it.")
    assert (await service.load("m")).name == "m"
    await service.close()


async def test_a_program_that_cannot_be_started_is_a_sentence() -> None:
    with pytest.raises(MachineError, match="the model service cannot be started: No such file"):
        await ModelService(Home(Path("/nonexistent")), program=("/nonexistent/python",)).load("m")


async def test_closing_ends_the_process_and_frees_who_waits() -> None:
    deaths: list[str] = []
    service = made_up("for _ in lines: pass", on_death=deaths.append)
    task = asyncio.create_task(service.load("m"))
    while not service._waiting:
        await asyncio.sleep(0.01)
    process = service._process
    assert process is not None
    await service.close()
    assert process.returncode == 0
    with pytest.raises(asyncio.CancelledError):
        await task
    assert deaths == []


async def test_what_libraries_print_does_not_reach_the_answers(tmp_path: Path) -> None:
    code = "import lmwb.core.decoding.service as s, os, sys\n"
    code += "def noisy(self, q):\n    print('noise'); os.write(1, b'more noise')\n"
    code += f"    return {FACTS}\n"
    code += f"s._DEEDS['load'] = noisy\ns.main([{str(tmp_path)!r}, 'cpu'])"
    service = ModelService(Home(tmp_path), program=(sys.executable, "-c", code))
    assert (await service.load("m")).name == "m"
    await service.close()
