"""Small labelled texts, and stages that learn from them."""

import csv

from lmwb.core.recipe.schema import ClassificationStage, RegressionStage
from lmwb.core.tasks.labels import LabelTask
from lmwb.core.tasks.task import Surroundings

THINGS = ("film", "book", "meal", "song", "room", "trip", "game")
WORDS = {"bad": ("awful", "dull"), "good": ("warm", "clever"), "odd": ("strange", "new")}
BERT = {
    "type": "bert",
    "config": {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 64,
        "initializer_range": 0.2,
    },
}
GPT2 = {"type": "gpt2", "config": {"n_layer": 1, "n_head": 2, "n_embd": 16, "n_positions": 64}}


def rows(count=40, labels=("bad", "good"), pair=False, scored=False):
    """Rows of different lengths whose label follows from their words."""
    for number in range(count):
        label = labels[number % len(labels)]
        word = WORDS[label][number // len(labels) % 2]
        said = " and so it went" * (number % 5)
        row = {"text": f"It was a {word} {THINGS[number % 7]}{said}, said guest {number}."}
        if pair:
            row["other"] = f"The guest found it {word}."
        yield {**row, "label": f"{number % 6}.5" if scored else label}


def write(path, table):
    """A CSV or TSV file of rows."""
    table = list(table)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writeheader()
        writer.writerows(table)
    return str(path)


def stage(train, objective="classification", **changes):
    """A stage as a recipe would give it; `data__pair="x"` sets a key of a table."""
    document = {
        "objective": objective,
        "model": BERT,
        "tokenizer": {"kind": "wordpiece", "vocab_size": 200},
        "data": {"train": None if train is None else str(train), "validation": 0.25, "max_length": 32},
        "train": {"steps": 6, "batch_size": 4, "lr": 1e-2},
    }
    for key, value in changes.items():
        table, _, name = key.partition("__")
        document[table] = {**document[table], name: value} if name else value
    kind = RegressionStage if objective == "regression" else ClassificationStage
    return kind.model_validate(document)


class Read:
    """A stage's data as its task reads them."""

    def __init__(self, of, folder, seed=1, saved=None):
        self.told = []
        self.task = LabelTask(of, Surroundings(seed, folder / "cache", self.told.append, saved))
        self.stage = of
        self.material = self.task.read()

    def model(self):
        """The stage's model, always with the same weights."""
        import torch
        from lmwb.core.models.loading import make_model

        torch.manual_seed(0)
        material = self.material
        model = make_model(self.stage.model, "classification", material.tokenizer, material.fields, self.told.append)
        self.task.check_model(model)
        return model.eval()

    @property
    def said(self):
        return "\n".join(self.told)
