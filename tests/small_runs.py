"""A small run as real processes: its recipe, and waiting for what it does."""

import contextlib
import time

import tiny
from lmwb.core import runs
from lmwb.core.history.queries import OPEN_STATES, History
from lmwb.core.recipe import load

RECIPE = """
name = "tiny"
seed = 5
[model]
type = "gpt2"
config = {{ n_layer = 1, n_head = 2, n_embd = 16, n_positions = 32 }}
[tokenizer]
kind = "bpe"
vocab_size = 300
[data]
train = "corpus.txt"
block_size = 16
[train]
steps = {steps}
batch_size = 4
eval_every = 100
checkpoint_every = 20
result = "last"
[sample]
prompts = ["The [/red] \\u001b[31m"]
tokens = 4
"""


def recipe(folder, steps=200, overrides=()):
    """The recipe as `runs.launch` takes it."""
    (folder / "corpus.txt").write_text("\n\n".join(tiny.texts(200)))
    path = folder / "tiny.toml"
    path.write_text(RECIPE.format(steps=steps))
    return load(path, list(overrides))


def wait(home, run, until, seconds=300):
    """Look at the history until the run is as wanted."""
    deadline = time.monotonic() + seconds
    with contextlib.closing(History(home)) as history:
        while time.monotonic() < deadline:
            run = history.run(run.id)
            if until(run):
                return run
            time.sleep(0.02)
    log = runs.log_file(run).read_text()
    raise AssertionError(f"waited in vain; the run is {run}\n{log}")


def ended(run):
    return run.state not in OPEN_STATES


def weights(run):
    return (run.folder / "train" / "model" / "model.safetensors").read_bytes()
