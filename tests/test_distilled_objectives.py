"""An objective with a teacher beside it: the loss of every kind of rows against references in float64."""

import numpy as np
import pytest
import tiny
import torch
import transformers
from lmwb.core.data.blocks import framed_blocks
from lmwb.core.data.choice_rows import ChoiceRows
from lmwb.core.data.encoded import EncodedRows
from lmwb.core.data.rows import encode, make_rows
from lmwb.core.data.tokenizer_training import train_tokenizer
from lmwb.core.methods.distillation.objective import Distilled
from lmwb.core.methods.distillation.teacher import Teacher
from lmwb.core.recipe.schema import Distillation, Masking, WordPieceTokenizer
from lmwb.core.training.distribution import ALONE, Team
from lmwb.core.training.objective import IGNORE
from lmwb.core.training.objectives.causal import CausalLM
from lmwb.core.training.objectives.choices import MultipleChoice
from lmwb.core.training.objectives.labels import Classification, Regression
from lmwb.core.training.objectives.masked import PLACES, MaskedLM
from lmwb.core.training.objectives.masking import Masker
from test_distillation_losses import softmax

CPU = torch.device("cpu")
ALL = {"soft": 5.0, "hard": 2.0, "mse": 0.5, "cosine": 1.0, "temperature": 2.0}
SHAPE = {
    **{"vocab_size": 120, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "pad_token_id": 0},
    **{"max_position_embeddings": 64, "initializer_range": 0.3},
    **{"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
}
ROWS = [0, 3, 1, 2]  # of different lengths


def bert(head, seed, layers=1, labels=3):
    torch.manual_seed(seed)
    config = transformers.BertConfig(**SHAPE, num_hidden_layers=layers, num_labels=labels)
    return getattr(transformers, f"BertFor{head}")(config).eval()


def gpt2(seed, layers=1):
    torch.manual_seed(seed)
    size = {"n_embd": 16, "n_head": 2, "n_positions": 64, "n_layer": layers, "initializer_range": 0.3}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=320, **size)).eval()


def ragged(lengths=(9, 5, 12, 7), seed=0):
    draw = np.random.default_rng(seed)
    ends = np.cumsum(lengths)
    stream = draw.integers(5, 120, ends[-1]).astype(np.int32)
    return EncodedRows(stream, np.stack([ends - lengths, ends], axis=1))


def masked():
    tokenizer = train_tokenizer(tiny.texts(), WordPieceTokenizer(vocab_size=120), print)
    blocks = framed_blocks(tiny.texts(6), tokenizer, 24)
    bounds = blocks.bounds.copy()
    bounds[:, 1] -= np.arange(len(bounds)) % 4  # shorter by up to three
    rows = EncodedRows(blocks.stream, bounds)
    return MaskedLM(rows, Masker(tokenizer, Masking(share=0.3)), pad=0), bert("MaskedLM", 1), bert("MaskedLM", 2, 2)


def causal(learned=False):
    tokenizer = tiny.tokenizer()
    rows = make_rows(encode(tiny.texts(20), tokenizer), 40, "documents", "split").rows
    assert len({int(n) for n in rows.bounds[:, 1] - rows.bounds[:, 0]}) > 1
    return CausalLM(rows), gpt2(1), gpt2(2, 2)


def classes():
    labels = np.array([0, 2, 1, 2])
    heads = bert("SequenceClassification", 1), bert("SequenceClassification", 2, 2)
    return Classification(ragged(), labels, 0, 3), *heads


def scores():
    labels = np.array([0.5, 2, 1, -1], np.float32)
    heads = bert("SequenceClassification", 1, labels=1), bert("SequenceClassification", 2, 2, labels=1)
    return Regression(ragged(), labels, 0), *heads


def choices():
    rows = ragged((9, 5, 12, 7, 6, 8, 11, 4))
    questions = ChoiceRows(rows, ["a"] * 4, np.array([0, -1, 1, 0]), 2, [])
    return MultipleChoice(questions, 0), bert("MultipleChoice", 1), bert("MultipleChoice", 2, 2)


KINDS = {"masked": masked, "causal": causal, "classes": classes, "scores": scores, "choices": choices}


def distilled(kind, **settings):
    objective, student, teacher = KINDS[kind]()
    settings = {**ALL, **({"soft": 0.0} if kind == "scores" else {}), **settings}
    found = Distilled(
        objective,
        type(objective),
        Teacher(teacher, with_types=False),
        Distillation(teacher="any", **settings),
        CPU,
    )
    return found, student, teacher


def of_rows(kind, found, model, seed):
    """Row by row without padding: logits, last hidden states and targets of each place, in float64."""
    for row in ROWS:
        batch = found._objective.collate([row], seed)
        inputs = {name: value for name, value in batch.inputs.items() if name != PLACES}
        if kind == "causal":
            length = int(found.lengths[row]) - 1
            inputs = {name: value[:, :length] for name, value in inputs.items()}
        with torch.no_grad():
            said = model(**inputs, output_hidden_states=True)
        logits, states = said.logits.double().numpy(), said.hidden_states[-1].double().numpy()
        targets = batch.targets.numpy()
        if kind == "masked":
            targets = np.full(logits.shape[1], IGNORE)
            targets[batch.inputs[PLACES]] = batch.targets
        elif kind == "causal":
            targets = targets[0, :length]
        read = inputs["attention_mask"].flatten(0, -2).numpy().astype(bool) if "attention_mask" in inputs else ...
        yield (logits[0] if kind in ("masked", "causal") else logits), states[read].reshape(-1, 16), targets


def reference(kind, found, student, teacher, seed, settings):
    """Each part's mean over all rows, from the formulas."""
    tau, sums, counts = settings["temperature"], dict.fromkeys(ALL, 0.0), dict.fromkeys(ALL, 0)
    pairs = zip(of_rows(kind, found, student, seed), of_rows(kind, found, teacher, seed), strict=True)
    for (s, hs, y), (t, ht, _) in pairs:
        for i in range(len(s)):
            if settings.get("positions") == "learned" and y[i] == IGNORE:
                continue
            p, q = softmax(t[i] / tau), softmax(s[i] / tau)
            sums["soft"] += tau**2 * (p * (np.log(p) - np.log(q))).sum()
            sums["mse"] += ((s[i] - t[i]) ** 2).sum()
            counts["soft"] += 1
            counts["mse"] += 1
        for i in range(len(s)):
            if kind == "scores":
                sums["hard"] += (s[i, 0] - y[i]) ** 2
            elif y[i] != IGNORE:
                sums["hard"] -= np.log(softmax(s[i])[y[i]])
            counts["hard"] += int(kind == "scores" or y[i] != IGNORE)
        sums["cosine"] += (1 - (hs * ht).sum(-1) / np.sqrt((hs**2).sum(-1) * (ht**2).sum(-1))).sum()
        counts["cosine"] += len(hs)
    return {name: sums[name] / counts[name] for name in ("soft", "hard", "mse", "cosine")}


def step(found, model, micro_batches, seed=7):
    """As the loop does it: the loss of a step, and the gradient in the model."""
    batches = [found.collate(rows, seed) for rows in micro_batches]
    found.weigh(batches, ALONE)
    weight = sum(batch.weight for batch in batches)
    model.zero_grad()
    losses = []
    for batch in batches:
        loss = found.loss_sum(found.forward(model, batch), batch) / weight
        loss.backward()
        losses.append(float(loss.detach()))
    return sum(losses)


@pytest.mark.parametrize("positions", ["all", "learned"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_that_of_a_reference_written_by_hand(kind, positions):
    if kind not in ("masked", "causal") and positions == "learned":
        return
    found, student, teacher = distilled(kind, positions=positions)
    settings = {**ALL, "positions": positions}
    if kind == "scores":
        settings["soft"] = 0.0
    parts = reference(kind, found, student, teacher, 7, settings)
    for micro_batches in ([ROWS], [ROWS[:3], ROWS[3:]]):  # the second is left over
        loss = step(found, student, micro_batches)
        assert loss == pytest.approx(sum(settings[name] * value for name, value in parts.items()), rel=2e-5)
        for name, value in found.figures().items():
            assert float(value) == pytest.approx(parts[name], rel=2e-5), name
    assert set(found.figures()) == {name for name in parts if settings[name]}


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_does_not_depend_on_how_rows_are_split(kind):
    found, student, teacher = distilled(kind)
    step(found, student, [ROWS])
    whole = {name: weight.grad.clone() for name, weight in student.named_parameters() if weight.grad is not None}
    assert whole
    step(found, student, [ROWS[:1], ROWS[1:]])
    for name, gradient in whole.items():
        torch.testing.assert_close(student.get_parameter(name).grad, gradient, rtol=1e-4, atol=1e-5)
    assert all(weight.grad is None for weight in teacher.parameters())


@pytest.mark.parametrize("part", ["soft", "hard", "mse", "cosine"])
def test_gradients_of_single_parts_are_those_of_torch(part):
    """By automatic differentiation in float64 of the formula as it stands."""
    weights = {**dict.fromkeys(("soft", "hard", "mse", "cosine"), 0.0), "mse": 1e-9, part: 1.0}
    found, student, teacher = distilled("masked", **weights)
    step(found, student, [ROWS])
    ours = {name: weight.grad for name, weight in student.named_parameters() if weight.grad is not None}
    batch = found._objective.collate(ROWS, 7)
    inputs = {name: value for name, value in batch.inputs.items() if name != PLACES}
    student.double().zero_grad()
    s, t = (model(**inputs, output_hidden_states=True) for model in (student, teacher.double()))
    read = inputs["attention_mask"].bool()
    if part == "soft":
        p, q = (torch.log_softmax(each.logits[read] / 2, -1) for each in (t, s))
        loss = 4 * torch.nn.functional.kl_div(q, p, reduction="batchmean", log_target=True)
    elif part == "mse":
        loss = (s.logits[read] - t.logits[read]).square().sum(-1).mean()
    elif part == "hard":
        loss = torch.nn.functional.cross_entropy(s.logits.flatten(0, 1)[batch.inputs[PLACES]], batch.targets)
    else:
        loss = 1 - torch.cosine_similarity(s.hidden_states[-1][read], t.hidden_states[-1][read], dim=-1).mean()
    loss.backward()
    for name, gradient in ours.items():
        wanted = student.get_parameter(name).grad
        wanted = torch.zeros_like(gradient, dtype=torch.float64) if wanted is None else wanted
        torch.testing.assert_close(gradient.double(), wanted, rtol=1e-4, atol=1e-5)


def test_padding_counts_for_nothing_even_if_its_token_is_one_of_the_text():
    """The published original pads with the unknown token and learns from it."""
    found, student, _ = distilled("causal")
    long, short = max(range(10), key=found.lengths.__getitem__), min(range(10), key=found.lengths.__getitem__)
    alone = [step(found, student, [[row]]) for row in (long, short)]
    places = [int(found.lengths[row]) - 1 for row in (long, short)]
    batch = found.collate([long, short], 7)
    assert batch.inputs["input_ids"].numel() > sum(places) == len(batch.inputs["compared"])
    assert step(found, student, [[long, short]]) == pytest.approx(np.average(alone, weights=places), rel=1e-5)


def test_the_head_makes_logits_of_the_places_compared_only():
    found, student, teacher = distilled("masked", positions="learned", cosine=0.0)
    batch = found.collate(ROWS, 7)
    seen = []
    for model in (student, teacher):
        model.get_output_embeddings().register_forward_hook(lambda _module, _given, logits: seen.append(logits.shape))
    found.weigh([batch], ALONE)
    found.forward(student, batch)
    assert seen == [(1, batch.weight, 120)] * 2


def test_a_teacher_never_trains():
    _, _, model = KINDS["classes"]()
    model.train()
    Teacher(model, with_types=True)
    assert not model.training
    assert not any(weight.requires_grad for weight in model.parameters())


class OfTwo(Team):
    """One of two processes, which knows what the other counts."""

    def __init__(self, rank, other):
        super().__init__(rank, 2)
        self._other = other

    def total(self, *counts):
        return [mine + theirs for mine, theirs in zip(counts, self._other, strict=True)]


def counted(found, rows):
    """What a process counts of its rows."""
    seen = []

    class Look(Team):
        def total(self, *counts):
            seen.append(counts)
            return counts

    found.weigh([found.collate(rows, 7)], Look())
    return seen[0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_shares_of_two_processes_add_up_to_the_whole(kind):
    found, student, _ = distilled(kind)
    whole = step(found, student, [ROWS])
    gradient = {name: w.grad.clone() for name, w in student.named_parameters() if w.grad is not None}
    parts = (ROWS[:1], ROWS[1:])
    weight = sum(counted(found, rows)[0] for rows in parts)
    losses, student_grads = [], {}
    for rank in (0, 1):
        found.weigh([batch := found.collate(parts[rank], 7)], OfTwo(rank, counted(found, parts[1 - rank])))
        student.zero_grad()
        loss = found.loss_sum(found.forward(student, batch), batch) / weight
        loss.backward()
        losses.append(float(loss.detach()))
        for name, w in student.named_parameters():
            if w.grad is not None:
                student_grads[name] = student_grads.get(name, 0) + w.grad
    assert sum(losses) == pytest.approx(whole, rel=1e-5)
    for name, wanted in gradient.items():
        torch.testing.assert_close(student_grads[name], wanted, rtol=1e-4, atol=1e-5)
