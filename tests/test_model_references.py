"""Models that a person names: runs, stages, checkpoints, folders; and what is refused."""

from contextlib import closing

import pytest
import torch
from lmwb.core.decoding.loading import find, load
from lmwb.core.errors import UsageError
from lmwb.core.history.database import open_database
from lmwb.core.history.ledger import StagePlan, begin_attempt, begin_stage, create_run, end_stage
from lmwb.core.history.liveness import this_machine
from lmwb.core.history.queries import History
from lmwb.core.history.recorder import Recorder
from lmwb.core.home import Home
from lmwb.core.models.storage import save_model
from lmwb.core.training import checkpoints
from small_searches import speaker, words


def save(folder):
    save_model(speaker().model, words(), folder)


class Runs:
    """A run that is through (with two stages) and one that has come to its second checkpoint."""

    def __init__(self, root):
        self.home = Home(root)
        with closing(open_database(self.home)) as connection:
            for name, stages, finished in (("done", ("first", "second"), True), ("going", ("train",), False)):
                plan = [StagePlan(stage, "train") for stage in stages]
                self._add(connection, create_run(connection, f"{name}-x1", name, "", plan), name, finished)

    def _add(self, connection, run_id, name, finished):
        attempt = begin_attempt(connection, run_id, this_machine())
        recorder = Recorder(self.home, run_id, attempt, warn=print)
        with closing(History(self.home)) as history:
            stages = history.stages(run_id)
        folder = self.home.run_folder(f"{name}-x1")
        for stage in stages:
            begin_stage(connection, stage.id, 20, attempt, 0)
            for step in (10, 20):
                saved = checkpoints.save(folder / stage.name / "checkpoints", step, save, {}, {})
                path = str(saved.folder.relative_to(folder))
                recorder.checkpoint(stage.id, step, path, saved.size, False, {})
            if finished:
                save(folder / stage.name / "model")
                end_stage(connection, stage.id, {})
        recorder.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return Runs(tmp_path_factory.mktemp("home")).home


@pytest.mark.parametrize(
    ("reference", "place", "name"),
    [
        ("done", "done-x1/second/model", "done-x1/second"),
        ("run:done-x", "done-x1/second/model", "done-x1/second"),
        ("done/first", "done-x1/first/model", "done-x1/first"),
        ("done@10", "done-x1/second/checkpoints/step-000010", "done-x1/second@10"),
        ("done/first@0020", "done-x1/first/checkpoints/step-000020", "done-x1/first@20"),
        ("going", "going-x1/train/checkpoints/step-000020", "going-x1/train@20"),
    ],
)
def test_runs_stages_and_checkpoints(home, reference, place, name):
    told = []
    found = find(reference, home, told.append)
    assert (found.source, found.name) == (str(home.root / "runs" / place), name)
    unfinished = ["model: going-x1/train is not finished; this is its newest checkpoint, step 20"]
    assert told == (unfinished if reference == "going" else [])


def test_what_is_no_run_is_a_folder_or_a_name_on_the_hub(home, tmp_path, monkeypatch):
    assert find("somebody/model", home).source == "somebody/model"
    assert find("hub:done", home).source == "done"
    (tmp_path / "done").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find("done", home).source == "done"  # the folder here
    assert find("run:done", home).name == "done-x1/second"


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("run:nobody", "there is no run 'nobody'"),
        ("nobody@5", "there is no run 'nobody'"),
        ("done/third", "run done-x1 has no stage 'third'; it has first, second"),
        ("done@15", "done-x1/second has no checkpoint of step 15; there are: 10, 20"),
        ("./nowhere", "there is no folder './nowhere'"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(home, reference, why):
    with pytest.raises(UsageError, match=why):
        find(reference, home)


def test_a_loaded_model_is_ready(home):
    loaded = load("done", home, "cpu")
    assert not loaded.model.training
    assert loaded.device == torch.device("cpu")
    ids = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        assert torch.equal(loaded.model(ids).logits, speaker().model(ids).logits)
    assert len(loaded.tokenizer) == len(words())


def test_what_is_not_complete_is_refused(tmp_path):
    home = Home(tmp_path / "home")
    whole = checkpoints.save(tmp_path / "kept", 3, save, {}, {}).folder
    load(str(whole), home, "cpu")
    weights = whole / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(UsageError, match=r"is not complete: model\.safetensors has changed"):
        load(str(whole), home, "cpu")
    (whole / checkpoints.MANIFEST).unlink()
    with pytest.raises(UsageError, match="cannot load a causal language model from"):
        load(str(whole), home, "cpu")
    unfinished = whole.rename(tmp_path / "kept" / f"{checkpoints.UNFINISHED}step-000003")
    with pytest.raises(UsageError, match="is not complete: it is still being written"):
        load(str(unfinished), home, "cpu")


def test_a_model_of_another_kind_is_refused(tmp_path):
    import transformers

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.BertConfig(vocab_size=len(words()), **sizes)
    for kind, why in (
        (transformers.BertForMaskedLM, r"is a masked language model \(BertForMaskedLM\), not a causal language model"),
        (transformers.BertModel, "is no causal language model: it has no weights for cls"),
    ):
        folder = tmp_path / kind.__name__
        kind(config).save_pretrained(folder)
        words().save_pretrained(folder)
        with pytest.raises(UsageError, match=why):
            load(str(folder), Home(tmp_path / "home"), "cpu")
    masked = load(str(tmp_path / "BertForMaskedLM"), Home(tmp_path / "home"), "cpu", head="masked-lm")
    assert type(masked.model).__name__ == "BertForMaskedLM"
