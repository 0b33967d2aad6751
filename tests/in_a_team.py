"""Trains small models as one process of a team: RANK SIZE FOLDER. Tests start as many as they want.

Writes what it found to FOLDER/RANK.pt: by scenario, the losses, the gradient norms, the weights and the figures.
"""

import sys
from datetime import timedelta
from pathlib import Path

import small_labels
import tiny
import torch
from lmwb.core.recipe.schema import Train
from lmwb.core.tasks.registry import task_of
from lmwb.core.tasks.task import Surroundings
from lmwb.core.training import distribution
from lmwb.core.training.distribution import ALONE, Team
from lmwb.core.training.evaluation import evaluate
from lmwb.core.training.loop import Loop
from lmwb.core.training.method import Method
from lmwb.core.training.objectives.causal import CausalLM
from lmwb.core.training.plan import Plan

CPU = torch.device("cpu")
# an eps this large keeps Adam from making whole steps of rounding errors
DEFAULTS = {"steps": 5, "batch_size": 3, "gradient_accumulation": 2, "lr": 1e-2, "weight_decay": 0.1, "eps": 1e-3}


class Unused(torch.nn.Module):
    """A model with a weight that no row ever reaches, and one that only even rows' first tokens reach."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.never = torch.nn.Parameter(torch.ones(3))
        self.sometimes = torch.nn.Parameter(torch.zeros(()))

    def forward(self, input_ids, **named):
        said = self.model(input_ids, **named)
        if int(input_ids[0, 0]) % 2 == 0:
            said.logits = said.logits * (1 + self.sometimes)
        return said


class Shrink(Method):
    """A penalty on one weight, and every other row of those planned."""

    name = "shrink"

    def __init__(self, weight):
        self._weight = weight

    def penalty(self):
        return self._weight.square().sum()

    def steps(self, steps):
        self._planned = steps
        self.seed, self.total = steps.seed, steps.total
        return self

    def micro_batches(self, step):
        return [rows[::2] for rows in self._planned.micro_batches(step)]


def causal(team: Team, wrap=lambda model: model, methods=lambda model: (), count=60, **settings):
    torch.manual_seed(0)
    tokenizer = tiny.tokenizer()
    model = wrap(tiny.model(tokenizer))
    rows = tiny.rows(tokenizer, packing="documents", documents=tiny.texts(count))
    return work(team, model, CausalLM(rows), methods=methods(model), **settings)


def labels(team: Team, folder: Path, objective: str):
    torch.manual_seed(0)
    table = folder / f"{objective}.csv"
    if not table.exists():
        small_labels.write(table, small_labels.rows(46, scored=objective == "regression"))
    stage = small_labels.stage(table, objective)
    task = task_of(stage, Surroundings(0, folder / "cache", lambda _: None))
    material = task.read()
    from lmwb.core.models.loading import make_model

    torch.manual_seed(0)
    model = make_model(stage.model, task.head, material.tokenizer, material.fields, print)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return work(team, model, material.train)


def work(team, model, objective, methods=(), **settings):
    train = Train(**{**DEFAULTS, **settings})
    plan = Plan.of(train, len(objective), 7, objective.lengths)
    loop = Loop(model, objective, train, plan, CPU, methods=methods, team=team)
    steps = list(loop.steps())
    return {
        "losses": torch.stack([step.loss for step in steps]),
        "norms": torch.stack([step.gradient_norm for step in steps]),
        "bad": torch.stack([step.bad for step in steps]),
        "tokens": [step.tokens for step in steps],
        "weights": {name: weight.detach() for name, weight in model.named_parameters()},
        "moments": len(loop.optimizer.state),
        "figures": evaluate(model, objective, 4, CPU, team=team),
    }


class Poisoned(torch.nn.Module):
    """A model whose third forward pass in this process is not finite, in the first process only."""

    def __init__(self, model, leads):
        super().__init__()
        self.model, self.calls, self.leads = model, 0, leads

    def forward(self, input_ids, **named):
        said = self.model(input_ids, **named)
        self.calls += 1
        if self.calls == 3 and self.leads:
            said.logits = said.logits * float("nan")
        return said


def scenarios(team: Team, folder: Path):
    """All that is compared."""
    poisoned = {"gradient_accumulation": 1, "batch_size": 6, "wrap": lambda model: Poisoned(model, team.leads)}
    return {
        "causal": causal(team),
        "few rows": causal(team, batch_size=1, gradient_accumulation=1),
        "sgd": causal(team, optimizer="sgd", lr=0.5, clip=0.1),
        "unused": causal(team, wrap=Unused, batch_size=2, gradient_accumulation=1),
        "method": causal(team, methods=lambda model: [Shrink(model.transformer.wte.weight)]),
        "bad": causal(team, **poisoned),
        "classification": labels(team, folder, "classification"),
        "regression": labels(team, folder, "regression"),
    }


def main() -> None:
    """Do it, alone if SIZE is 1."""
    rank, size, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    team = ALONE
    if size > 1:
        distribution.PATIENCE = timedelta(minutes=2)
        team = Team(rank, size, distribution.store_in(folder / "store", size), CPU)
        team.meet()
    torch.save(scenarios(team, folder), folder / f"{rank}.pt")


if __name__ == "__main__":
    main()
