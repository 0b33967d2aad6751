"""The stage that generates: two files, figures for the history, and a stop that is heeded."""

import json
from contextlib import closing

import numpy as np
import pytest
import torch
from lmwb.core.decoding.as_json import generation_from_dict
from lmwb.core.decoding.generate import generate
from lmwb.core.errors import Stopped, UsageError
from lmwb.core.history.database import open_database
from lmwb.core.history.ledger import StagePlan, begin_attempt, begin_stage, create_run
from lmwb.core.history.liveness import this_machine
from lmwb.core.history.queries import History
from lmwb.core.history.recorder import Recorder
from lmwb.core.home import Home
from lmwb.core.models.storage import save_model
from lmwb.core.recipe import load as load_recipe
from lmwb.core.recipe.schema import GenerateStage
from lmwb.core.stages import generate as stage_generate
from lmwb.core.stages.context import StageContext
from pydantic import ValidationError
from small_searches import speaker, words

PROMPTS = ["The cat sat", "Names \x1b[2J refer to"]


@pytest.fixture
def work(tmp_path):
    """Do a stage's work in a run of its own; returns (results, folder, events)."""
    save_model(speaker().model, words(), tmp_path / "model")
    home = Home(tmp_path / "home")

    def work(stop=False, **fields):
        table = {"model": {"from": str(tmp_path / "model")}, "decoding": {"tokens": 6, "beams": 2}, **fields}
        stage = GenerateStage.model_validate(table)
        with closing(open_database(home)) as connection, closing(History(home)) as history:
            run_id = create_run(connection, f"r{len(history.runs())}", "r", "", [StagePlan("generate", "generate")])
            stage_id = history.stages(run_id)[0].id
            attempt = begin_attempt(connection, run_id, this_machine())
            recorder = Recorder(home, run_id, attempt, warn=print)
            folder = home.run_folder(f"r{run_id}") / "generate"
            context = StageContext(
                stage_id=stage_id,
                run_folder=folder.parent,
                folder=folder,
                recorder=recorder,
                begin=lambda total, after: begin_stage(connection, stage_id, total, attempt, after),
                stop_wanted=lambda: stop,
                cache=home.cache,
                seed=1,
                device=torch.device("cpu"),
            )
            try:
                results = stage_generate.run(stage, context, home)
            finally:
                recorder.close()
            return results, folder, [event.text for event in history.events(run_id)]

    return work


def test_it_writes_what_generate_says(work):
    results, folder, events = work(prompts=PROMPTS, tree=True)
    lines = (folder / "generations.jsonl").read_text().splitlines()
    expected = generate(speaker(), PROMPTS, GenerateStage.model_fields["decoding"].default.model_copy(
        update={"tokens": 6, "beams": 2}
    ))  # fmt: skip
    for line, one in zip(lines, expected, strict=True):
        read = generation_from_dict(json.loads(line))
        assert read.prompt == one.prompt
        assert [h.trace.ids.tolist() for h in read.hypotheses] == [h.trace.ids.tolist() for h in one.hypotheses]
        assert len(read.steps) == 6
    best = [one.hypotheses[0] for one in expected]
    means = [h.trace.logprob[h.trace.prompt_length :] for h in best]
    assert results.pop("logprob") == pytest.approx(float(np.concatenate(means).mean()), abs=1e-5)
    assert results.pop("score") == pytest.approx(float(np.mean([h.total for h in best])), abs=1e-4)
    files = ["generations.jsonl", "generations.txt"]
    assert results == {"prompts": 2, "texts": 4, "tokens": 24, "finished": 0, "files": files}
    assert any(text.startswith("The cat sat → ") for text in events)
    text = (folder / "generations.txt").read_text()
    assert "prompt: Names ␛[2J refer to" in text
    assert "\x1b" not in text


def test_prompts_come_from_a_file_too(work, tmp_path):
    (tmp_path / "prompts.csv").write_text("question,x\nA dog,1\nThe hill,2\nThe wind,3\n")
    source = {"source": str(tmp_path / "prompts.csv"), "text": "question", "max_rows": 2}
    results, folder, _ = work(prompts=["She"], data=source)
    assert results["prompts"] == 3
    prompts = [json.loads(line)["prompt"] for line in (folder / "generations.jsonl").read_text().splitlines()]
    assert prompts == ["She", "A dog", "The hill"]


def test_it_stops_when_asked(work):
    with pytest.raises(Stopped):
        work(stop=True, prompts=PROMPTS)


def test_too_long_a_prompt_is_told_before_anything_is_written(work, tmp_path):
    (tmp_path / "prompts.txt").write_text("A dog\n" + "The cat sat on the mat. " * 20 + "\n")
    with pytest.raises(UsageError, match=r"prompt 2 has .* takes 64 in all"):
        work(data={"source": str(tmp_path / "prompts.txt")})


def test_nothing_to_go_on_from_is_refused():
    with pytest.raises(ValidationError, match="nothing to go on from"):
        GenerateStage.model_validate({"model": {"from": "x"}})


def test_the_shipped_recipe_is_small_if_only_tried(tmp_path):
    from lmwb.core.recipe.shipped import find_recipe

    loaded = load_recipe(find_recipe("beam-search"), (), tmp_path / "smoke")
    assert [stage.name for stage in loaded.recipe.stage] == ["plain", "trigrams", "words", "greedy"]
    for stage in loaded.recipe.stage:
        assert stage.model.from_ == "smoke:gpt2"
        assert stage.decoding.tokens == 8
