"""The loop computes what it says, however the work is cut."""

import itertools
import math

import pytest
import tiny
import torch
from lmwb.core.recipe.schema import Train
from lmwb.core.training.evaluation import evaluate
from lmwb.core.training.loop import Loop
from lmwb.core.training.objective import IGNORE, Batch
from lmwb.core.training.objectives.causal import CausalLM
from lmwb.core.training.plan import Plan
from torch.nn import functional as F

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tokenizer():
    return tiny.tokenizer()


def trained(tokenizer, settings: Train, packing="blocks", steps=None, model=None, seed=3):
    """The model, its gradients before the first update, and the steps made."""
    model = model or tiny.model(tokenizer)
    rows = tiny.rows(tokenizer, packing=packing)
    plan = Plan.of(settings, len(rows), seed)
    loop = Loop(model, CausalLM(rows), settings, plan, CPU)
    return model, list(itertools.islice(loop.steps(), steps or plan.total))


def first_gradient(tokenizer, batch_size, accumulation, packing="blocks"):
    """The gradient of the first step, read off an SGD update of rate 1."""
    settings = Train(
        batch_size=batch_size,
        gradient_accumulation=accumulation,
        optimizer="sgd",
        lr=1.0,
        clip=0.0,
        schedule="constant",
    )
    before = tiny.model(tokenizer)
    after, _ = trained(tokenizer, settings, packing, steps=1)
    return torch.cat([(b - a).flatten() for b, a in zip(before.parameters(), after.parameters(), strict=True)])


@pytest.mark.parametrize("packing", ["blocks", "documents"])
def test_a_step_does_not_depend_on_how_its_rows_are_split(tokenizer, packing):
    whole = first_gradient(tokenizer, 8, 1, packing)
    for batch_size, accumulation in [(4, 2), (2, 4), (1, 8)]:
        split = first_gradient(tokenizer, batch_size, accumulation, packing)
        assert (split - whole).norm() <= 1e-6 * whole.norm()


@pytest.mark.parametrize("packing", ["blocks", "documents"])
def test_the_gradient_is_that_of_the_mean_over_tokens(tokenizer, packing):
    """Against a reference that sees one sequence at a time, unpadded and unpacked."""
    rows = tiny.rows(tokenizer, packing=packing)
    model = tiny.model(tokenizer)
    plan = Plan(len(rows), 8, 1, 1, seed=3)
    total, count = torch.zeros(()), 0
    for row in plan.micro_batches(1)[0]:
        tokens = torch.from_numpy(rows.tokens(row)).long()
        lengths = [len(tokens)] if rows.documents is None else list(rows.documents[row])
        for piece in tokens.split(lengths):
            logits = model(input_ids=piece[None, :-1]).logits[0]
            total = total + F.cross_entropy(logits, piece[1:], reduction="sum")
            count += len(piece) - 1
    (total / count).backward()
    expected = torch.cat([weight.grad.flatten() for weight in model.parameters()])
    found = first_gradient(tokenizer, 8, 1, packing)
    assert (found - expected).norm() <= 1e-5 * expected.norm()


@pytest.mark.parametrize("packing", ["blocks", "documents"])
def test_perplexity_does_not_depend_on_the_batch_size(tokenizer, packing):
    rows = tiny.rows(tokenizer, packing=packing)
    model = tiny.model(tokenizer)
    figures = [evaluate(model, CausalLM(rows), size, CPU) for size in (1, 2, 7, 64)]
    for other in figures[1:]:
        assert other["loss"] == pytest.approx(figures[0]["loss"], rel=1e-6)
    assert figures[0]["perplexity"] == pytest.approx(math.exp(figures[0]["loss"]))


def test_packed_documents_do_not_see_each_other(tokenizer):
    """The loss of a packed document is that of the document alone, also for rotary positions."""
    from lmwb.core.models.loading import make_model
    from lmwb.core.recipe.schema import ScratchModel

    fields = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    scratch = ScratchModel(type="llama", config={**fields, "num_key_value_heads": 2})
    llama = make_model(scratch, "causal-lm", tokenizer, {}, print)
    documents = tiny.texts(12)
    for model in (tiny.model(tokenizer), llama):
        model.eval()
        packed = tiny.rows(tokenizer, 120, "documents", documents)
        apart = [tiny.rows(tokenizer, 120, "documents", [document]) for document in documents]
        assert len(packed) < len(apart)
        with torch.no_grad():
            together = tiny.loss_of(model, CausalLM(packed), range(len(packed)))
            alone = sum(tiny.loss_of(model, CausalLM(rows), [0]) for rows in apart)
        assert float(together) == pytest.approx(float(alone), rel=1e-5)
        assert packed.targets == sum(rows.targets for rows in apart)


def test_every_token_but_a_streams_first_is_predicted_once(tokenizer):
    rows = tiny.rows(tokenizer, block_size=10)
    objective = CausalLM(rows)
    weight = sum(objective.collate([row], 0).weight for row in range(len(rows)))
    assert weight == rows.targets == len(rows.stream) - 1


def test_a_step_that_is_not_finite_changes_nothing(tokenizer):
    class Poisoned(CausalLM):
        def loss_sum(self, outputs, batch: Batch):
            loss = super().loss_sum(outputs, batch)
            return loss * float("nan") if self.poison else loss

    for settings in (
        Train(batch_size=4, lr=1e-2, steps=3),
        Train(batch_size=4, lr=1e-2, steps=3, optimizer="sgd", momentum=0.9),
    ):
        model = tiny.model(tokenizer)
        rows = tiny.rows(tokenizer)
        objective = Poisoned(rows)
        loop = Loop(model, objective, settings, Plan.of(settings, len(rows), 0), CPU)
        objective.poison = False
        steps = loop.steps()
        assert not next(steps).bad
        before = [weight.clone() for weight in model.parameters()]
        objective.poison = True
        assert next(steps).bad
        assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
        objective.poison = False
        assert not next(steps).bad
        assert not any(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True) if a.ndim > 1)


def test_bf16_autocast_learns_and_keeps_weights_in_fp32(tokenizer):
    settings = Train(batch_size=8, lr=1e-2, steps=12, precision="bf16")
    model, steps = trained(tokenizer, settings)
    assert float(steps[-1].loss) < float(steps[0].loss) - 0.5
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


def test_accumulated_and_plain_training_learn_alike(tokenizer):
    """Six whole steps, not just the first gradient, agree up to rounding."""
    _, plain = trained(tokenizer, Train(batch_size=8, lr=1e-3, steps=6))
    _, accumulated = trained(tokenizer, Train(batch_size=2, gradient_accumulation=4, lr=1e-3, steps=6))
    assert [float(s.loss) for s in plain] == pytest.approx([float(s.loss) for s in accumulated], rel=1e-5)


def test_dropout_is_a_function_of_the_step(tokenizer):
    settings = Train(batch_size=4, lr=1e-3, steps=4)
    _, first = trained(tokenizer, settings, model=tiny.model(tokenizer, dropout=0.2))
    torch.rand(17)  # what happens in between must not matter
    _, second = trained(tokenizer, settings, model=tiny.model(tokenizer, dropout=0.2))
    assert [float(s.loss) for s in first] == [float(s.loss) for s in second]


def test_ignored_targets_weigh_nothing(tokenizer):
    rows = tiny.rows(tokenizer, 60, "documents")
    batch = CausalLM(rows).collate(range(3), 0)
    assert (
        batch.weight
        == int((batch.targets != IGNORE).sum())
        == sum(length - 1 for row in range(3) for length in rows.documents[row])
    )
