"""Runs that train something tiny and ask for influence, worked off in this process as a worker would."""

from contextlib import closing
from pathlib import Path

import tiny
import torch
from lmwb.core.history.database import open_database
from lmwb.core.history.ledger import StagePlan, begin_attempt, begin_stage, create_run, end_stage
from lmwb.core.history.liveness import this_machine
from lmwb.core.history.queries import History
from lmwb.core.history.recorder import Recorder
from lmwb.core.home import Home
from lmwb.core.recipe import freeze, load
from lmwb.core.references import resolved
from lmwb.core.stages import counterfactual, datamodel, half_precision, influence, train
from lmwb.core.stages.context import StageContext

_ASKS = {
    "influence": influence,
    "datamodel": datamodel,
    "counterfactual": counterfactual,
    "half-precision": half_precision,
}

TRAINING = """
name = "said"
seed = 5
[[stage]]
name = "train"
[stage.model]
type = "gpt2"
[stage.model.config]
n_layer = 1
n_head = 2
n_embd = 16
n_positions = 32
resid_pdrop = 0.0
embd_pdrop = 0.0
attn_pdrop = 0.0
initializer_range = 0.3
[stage.tokenizer]
kind = "bpe"
vocab_size = 300
[stage.data]
train = "corpus.txt"
block_size = 16
validation = 0.1
[stage.train]
epochs = 1
batch_size = 4
eval_every = 10
checkpoint_every = 10
keep = 50
result = "last"
"""
"""A language model, on about 90 rows."""


class Runs:
    """A home with runs in it; `work` does a run's stages."""

    def __init__(self, root: Path):
        self.home = Home(root / "home")
        self.folder = root
        (root / "corpus.txt").write_text("\n\n".join(tiny.texts(30)))
        open_database(self.home).close()

    def add(self, uid, text):
        """Enter a run; its recipe."""
        path = self.folder / f"{uid}.toml"
        path.write_text(text)
        recipe = load(path).recipe
        self.home.run_folder(uid).mkdir(parents=True)
        with closing(open_database(self.home)) as connection:
            create_run(connection, uid, recipe.name, freeze(recipe), [StagePlan(s.name, s.kind) for s in recipe.stage])
        return recipe

    def work(self, uid, text=None, stop_after=None):
        """Do all stages; the results of the last one."""
        recipe = self.add(uid, text) if text is not None else self._recipe(uid)
        with closing(History(self.home)) as history:
            run = history.find(uid)
            entries = history.stages(run.id)
        results = {}
        with closing(open_database(self.home)) as connection:
            attempt = begin_attempt(connection, run.id, this_machine())
            recorder = Recorder(self.home, run.id, attempt, warn=print)
            try:
                for position, entry in enumerate(entries):
                    if entry.outcome == "finished":
                        continue
                    context = self._context(run, recipe, entry, recorder, connection, attempt, stop_after)
                    stage = resolved(recipe, position, run.folder, self.home)
                    asks = _ASKS.get(stage.kind)
                    results = train.run(stage, context) if asks is None else asks.run(stage, context, self.home)
                    recorder.flush()
                    end_stage(connection, entry.id, results)
            finally:
                recorder.close()
        return results

    def _recipe(self, uid):
        from lmwb.core.recipe import thaw

        with closing(History(self.home)) as history:
            return thaw(history.recipe(history.find(uid).id))

    def _context(self, run, recipe, entry, recorder, connection, attempt, stop_after):
        looks = 0

        def stop_wanted():
            nonlocal looks
            looks += 1
            return stop_after is not None and looks >= stop_after

        return StageContext(
            stage_id=entry.id,
            run_folder=run.folder,
            folder=run.folder / entry.name,
            recorder=recorder,
            begin=lambda total, after: begin_stage(connection, entry.id, total, attempt, after),
            stop_wanted=stop_wanted,
            cache=self.home.cache,
            seed=recipe.seed,
            device=torch.device("cpu"),
        )


def question(text, of="run:said", **more):
    """A recipe that asks; `text` are keys and tables of the stage, written at the top."""
    keys = "".join(f"{name} = {value}\n" for name, value in more.items())
    return f'name = "asked"\nkind = "influence"\nof = "{of}"\n{keys}{text}\n'
