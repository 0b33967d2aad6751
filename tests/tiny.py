"""Small models and data that tests make for themselves."""

import torch
from lmwb.core.data.rows import Rows, encode, make_rows
from lmwb.core.data.tokenizer_training import train_bpe
from lmwb.core.recipe.schema import BpeTokenizer, CausalStage, ScratchModel

SENTENCES = [
    "The cat sat on the mat and looked at the dog.",
    "A dog ran over the hill to the river.",
    "If the object is a list, its items are compared in order.",
    "The statement executes a suite of code for each item.",
    "She opened the door, and the wind came in.",
    "Names refer to objects; objects have types.",
]


def texts(count=60):
    """Texts of different lengths."""
    return [" ".join(SENTENCES[(i + j) % len(SENTENCES)] for j in range(1 + i % 4)) for i in range(count)]


def tokenizer(vocab_size=320):
    return train_bpe(texts(), BpeTokenizer(vocab_size=vocab_size, min_frequency=1))


def stage(**changes) -> CausalStage:
    """A training stage as a recipe would give it; `train__lr=1` sets a key of a table."""
    document = {
        "model": {"type": "gpt2", "config": {"n_layer": 2, "n_head": 2, "n_embd": 32, "n_positions": 32}},
        "tokenizer": {"kind": "bpe", "vocab_size": 320},
        "data": {"train": "python-reference", "block_size": 16, "max_documents": 2},
        "train": {"steps": 6, "batch_size": 4, "lr": 1e-2},
        "sample": {},
    }
    for key, value in changes.items():
        table, _, name = key.partition("__")
        if name:
            document[table] = {**document[table], name: value}
        else:
            document[table] = value
    return CausalStage.model_validate(document)


def model(of, dropout=0.0, **fields):
    """A tiny causal language model for a tokenizer."""
    from lmwb.core.models.loading import make_model

    torch.manual_seed(0)
    shape = {"n_layer": 2, "n_head": 2, "n_embd": 32, "n_positions": 128}
    drop = {"resid_pdrop": dropout, "embd_pdrop": dropout, "attn_pdrop": dropout}
    scratch = ScratchModel(type="gpt2", config={**shape, **drop, **fields})
    return make_model(scratch, "causal-lm", of, {}, print)


def loss_of(model, objective, rows, seed=0):
    """The sum of an objective's losses over some rows."""
    batch = objective.collate(list(rows), seed)
    return objective.loss_sum(objective.forward(model, batch), batch)


def rows(of, block_size=16, packing="blocks", documents=None) -> Rows:
    return make_rows(encode(documents or texts(), of), block_size, packing).rows
