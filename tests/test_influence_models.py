"""Influence over all kinds of models: identity scores are products of autograd's gradients, whatever the layers."""

from types import SimpleNamespace

import lmwb.core.influence as influence
import numpy as np
import pytest
import small_influence as small
import small_models
import small_tokenizers
import tiny
import torch
from lmwb.core.data.blocks import framed_blocks
from lmwb.core.data.encoded import EncodedRows
from lmwb.core.data.images import Images
from lmwb.core.data.rows import encode, make_rows
from lmwb.core.errors import UsageError
from lmwb.core.influence import FactorSettings, Marked, ScoreSettings, Side, fit_factors, queries_of_tokens, study
from lmwb.core.influence.factors import key_of
from lmwb.core.influence.labels import real_tokens
from lmwb.core.methods import lora
from lmwb.core.models.convnet import ConvNetClassifier, ConvNetConfig
from lmwb.core.models.encoder import EncoderClassifier, EncoderConfig
from lmwb.core.recipe.schema import Masking
from lmwb.core.training.objectives.causal import CausalLM
from lmwb.core.training.objectives.images import ImageClassification
from lmwb.core.training.objectives.labels import Classification, Regression
from lmwb.core.training.objectives.masked import MaskedLM
from lmwb.core.training.objectives.masking import Masker
from scipy.stats import spearmanr
from torch import nn
from transformers import BertForMaskedLM, BertForSequenceClassification


def scores(subject, objective, folder, queries=3, strategy="identity", settings=None, **choice):
    factors = fit_factors(subject, objective, folder, FactorSettings(strategy, **choice))
    sides = Side.all_of(objective), Side(objective, range(queries))
    return influence.answer(subject, factors, *sides, folder, settings).all_scores()


def products(subject, objective, weights, queries=3):
    """Of autograd's gradients of rows one by one, over some weights."""
    rows = []
    for row in range(len(objective)):
        subject.model.zero_grad()
        batch = objective.collate([row], 0)
        objective.loss_sum(objective.forward(subject.model, batch), batch).backward()
        rows.append(torch.cat([weight.grad.flatten() for weight in weights]))
    rows = torch.stack(rows).double()
    return rows[:queries] @ rows.T


def own_weights(subject):
    return [weight for layer in subject.layers for weight in layer.module.parameters(recurse=False)]


def ragged(count=10, size=20, seed=0):
    lengths = np.random.default_rng(seed).integers(3, 9, count)
    ends = np.cumsum(lengths)
    stream = np.random.default_rng(seed + 1).integers(5, size, int(ends[-1]), dtype=np.int32)
    return EncodedRows(stream, np.stack([ends - lengths, ends], 1))


def test_masked_language_models(tmp_path):
    """Also the layers of the head, which in training sees the hidden tokens of all rows as one row."""
    tokenizer = small_tokenizers.wordpiece()
    torch.manual_seed(0)
    model = BertForMaskedLM(small_models.bert_config()).eval()
    rows = framed_blocks(tiny.texts(8), tokenizer, 12)
    objective = MaskedLM(rows, Masker(tokenizer, Masking()), tokenizer.pad_token_id)
    subject = study(model, objective)
    assert any("transform" in layer.name for layer in subject.layers)
    assert small.near(scores(subject, objective, tmp_path), products(subject, objective, own_weights(subject)), 1e-4)
    assert objective.narrow
    assert np.isfinite(scores(subject, objective, tmp_path, strategy="ekfac")).all()


def test_classifiers_of_texts(tmp_path):
    torch.manual_seed(0)
    rows, labels = ragged(), np.arange(10) % 3
    ours = EncoderClassifier(EncoderConfig(vocab_size=20, hidden_size=8, num_labels=3, pad_token_id=0)).eval()
    bert = BertForSequenceClassification(small_models.bert_config(num_labels=3)).eval()
    for number, model in enumerate((ours, bert)):
        objective = Classification(rows, labels, 0, 3)
        subject = study(model, objective)
        assert any("classifier" in layer.name for layer in subject.layers)
        found = scores(subject, objective, tmp_path / str(number))
        assert small.near(found, products(subject, objective, own_weights(subject)), 1e-4)
        assert np.isfinite(scores(subject, objective, tmp_path / str(number), strategy="kfac")).all()


def test_regression_samples_from_a_normal_distribution(tmp_path):
    torch.manual_seed(0)
    objective = Regression(ragged(), np.linspace(0, 1, 10, dtype=np.float32), 0)
    model = BertForSequenceClassification(small_models.bert_config(num_labels=1)).eval()
    subject = study(model, objective)
    assert small.near(scores(subject, objective, tmp_path), products(subject, objective, own_weights(subject)), 1e-4)
    assert np.isfinite(scores(subject, objective, tmp_path, strategy="ekfac")).all()


def images(count=10):
    random = np.random.default_rng(0)
    return Images(random.integers(0, 256, (count, 32, 32), dtype=np.uint8), np.arange(count) % 3, ("a", "b", "c"))


def test_the_convolutional_net(tmp_path):
    torch.manual_seed(0)
    model = ConvNetClassifier(ConvNetConfig(channels=(3, 4), hidden_size=6, num_labels=3)).eval()
    objective = ImageClassification(images())
    subject = study(model, objective)
    assert [layer.kind for layer in subject.layers].count("convolution") == 2
    assert small.near(scores(subject, objective, tmp_path), products(subject, objective, own_weights(subject)), 1e-4)
    factors = fit_factors(subject, objective, tmp_path, FactorSettings("ekfac", labels="data"))
    first = subject.layers[0]
    patches = nn.functional.unfold(objective.collate(range(10), 0).inputs["pixel_values"], 5, padding=2)
    patches = torch.cat([patches.transpose(1, 2).flatten(0, 1), torch.ones(10 * 32 * 32, 1)], 1).double()
    p = factors.preconditioner(first, None, torch.device("cpu"))
    moment = p.inputs.T.double() @ (patches.T @ patches / len(patches)) @ p.inputs.double()
    off = moment - torch.diag(torch.diag(moment))
    assert off.abs().max() < 1e-4 * moment.abs().max()
    with pytest.raises(UsageError, match="no tokens"):
        scores(subject, objective, tmp_path, settings=ScoreSettings(tokens="all"))


def test_low_rank_updates_and_not_their_frozen_base(tmp_path):
    model, objective = small.gpt2(dtype=torch.float32), small.texts(10)
    for name in ("transformer.h.0.attn.c_attn", "transformer.h.1.mlp.c_proj"):
        lora.add_update(model.get_submodule(name), 2, 0.7)
    torch.manual_seed(0)
    updates = [layer.lora["default"] for _, layer in lora.layers(model)]
    for update in updates:
        nn.init.normal_(update.B)
    subject = study(model, objective)
    assert [layer.name.rsplit(".", 1)[1] for layer in subject.layers] == ["A", "B", "A", "B"]
    weights = [weight for update in updates for weight in (update.A, update.B)]
    assert small.near(scores(subject, objective, tmp_path), products(subject, objective, weights), 1e-4)
    assert np.isfinite(scores(subject, objective, tmp_path, strategy="ekfac")).all()


def test_embeddings_and_head_only_where_asked(tmp_path):
    model, objective = small.gpt2(dtype=torch.float32), small.texts(12)
    plain = study(model, objective)
    assert not any("wte" in layer.name or "lm_head" in layer.name for layer in plain.layers)
    assert any("head 'lm_head' is left out, its weight being that of the embeddings" in note for note in plain.notes)
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.clone())
    subject = study(model, objective, embeddings=True, head=True)
    assert {"transformer.wte", "lm_head"} <= {layer.name for layer in subject.layers}
    assert small.near(scores(subject, objective, tmp_path), products(subject, objective, own_weights(subject)), 1e-4)
    for strategy in ("diagonal", "kfac", "ekfac"):
        rows = scores(subject, objective, tmp_path, strategy=strategy)
        tokens = scores(subject, objective, tmp_path, strategy=strategy, settings=ScoreSettings(tokens="all"))
        assert small.near(tokens, rows, 1e-4)


class Shared(nn.Module):
    """A layer that is used twice, and one whose input the model changes afterwards."""

    def __init__(self, spoil=False):
        super().__init__()
        self.inner = nn.Linear(16, 16)
        self.outer = nn.Linear(16, 3)
        self.spoil = spoil

    def forward(self, pixel_values):
        x = nn.functional.avg_pool2d(pixel_values, 8).flatten(1)
        states = torch.tanh(self.inner(torch.tanh(self.inner(x))))
        logits = self.outer(states)
        if self.spoil:
            states.detach().mul_(0)
        return SimpleNamespace(logits=logits)


def test_layers_that_are_used_twice(tmp_path):
    torch.manual_seed(0)
    objective = ImageClassification(images())
    subject = study(Shared(), objective)
    assert small.near(scores(subject, objective, tmp_path), products(subject, objective, own_weights(subject)), 1e-4)
    with pytest.raises(UsageError, match=r"'outer' has its input changed in place"):
        study(Shared(spoil=True), objective)


class Softmax(nn.Module):
    """Sixteen means of an image, three labels."""

    def __init__(self):
        super().__init__()
        self.labels = nn.Linear(16, 3)

    def forward(self, pixel_values):
        x = nn.functional.avg_pool2d(pixel_values, 8).flatten(1).to(self.labels.weight.dtype) * 4
        return SimpleNamespace(logits=self.labels(x))


def noisy_images(count):
    """A pattern for each label, under noise."""
    random, labels = np.random.default_rng(0), np.arange(count) % 3
    means = random.normal(0, 1, (3, 4, 4))[labels] + 3 * random.normal(0, 1, (count, 4, 4))
    pixels = np.clip(128 + 40 * means, 0, 255).astype(np.uint8).repeat(8, 1).repeat(8, 2)
    return Images(pixels, labels, ("a", "b", "c"))


def test_factors_come_nearer_to_the_exact_inverse_hessian_than_none(tmp_path, record_property):
    """Spearman of each strategy's scores with gᵀ(H + λ)⁻¹g, H the exact Hessian of a trained classifier.

    Measured: identity 0.88, diagonal 0.87, K-FAC 0.93, EK-FAC 0.92.
    """
    torch.manual_seed(0)
    model, objective = Softmax().double(), ImageClassification(noisy_images(300))
    batch = objective.collate(range(300), 0)
    decay, damping = 0.01, 0.001

    def mean_loss(weight, offset):
        logits = torch.func.functional_call(
            model, {"labels.weight": weight, "labels.bias": offset}, (batch.inputs["pixel_values"],)
        ).logits
        return nn.functional.cross_entropy(logits, batch.targets) + decay / 2 * ((weight**2).sum() + (offset**2).sum())

    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = mean_loss(*model.parameters())
        loss.backward()
        return loss

    optimizer.step(closure)
    weights = tuple(weight.detach() for weight in model.parameters())
    blocks = torch.autograd.functional.hessian(mean_loss, weights)
    sizes = [weight.numel() for weight in weights]
    bands = [torch.cat([b.reshape(n, -1) for b in row], 1) for row, n in zip(blocks, sizes, strict=True)]
    hessian = torch.cat(bands)
    subject = study(model, objective)
    of_rows = [
        small.gradients(model, subject.layers, small.loss(model, objective, row))["labels"] for row in range(300)
    ]
    rows = torch.stack([torch.cat([g[:, :-1].flatten(), g[:, -1]]) for g in of_rows])
    exact = rows[:20] @ torch.linalg.solve(hessian + damping * torch.eye(len(hessian), dtype=torch.float64), rows.T)
    near = {}
    for strategy in influence.STRATEGIES:
        settings = ScoreSettings(damping=damping + decay)  # weight decay is no part of the factors
        found = scores(subject, objective, tmp_path, 20, strategy, settings, seed=1)
        near[strategy] = float(np.mean([spearmanr(a, b)[0] for a, b in zip(found, exact, strict=True)]))
        record_property(strategy, near[strategy])
    assert min(near["kfac"], near["ekfac"]) > 0.9 > max(near["identity"], near["diagonal"])


def test_packed_documents_and_prompts_count_where_a_target_can_see_them():
    """A place counts as long as a learned token follows in its document."""
    rows = make_rows(encode(tiny.texts(4), tiny.tokenizer()), 40, "documents").rows
    objective = CausalLM(rows)
    batch = objective.collate(range(len(rows)), 0)
    real = real_tokens(objective, batch)
    wanted = torch.zeros_like(batch.targets, dtype=torch.bool)
    for i, lengths in enumerate(rows.documents):
        start = 0
        for length in lengths:  # a document's last token predicts nothing
            wanted[i, start : start + length - 1] = True
            start += length
    assert (wanted if real is None else real).equal(wanted)


def test_marked_tokens_are_asked_about_alone(tmp_path):
    model, train = small.gpt2(), small.texts(10)
    subject = study(model, train)
    text = [3, 1, 4, 1, 5, 9]
    ids = torch.tensor([text])

    def score(marks):
        factors = fit_factors(subject, train, tmp_path, FactorSettings("identity"))
        queries = queries_of_tokens([text], marks)
        return influence.answer(subject, factors, Side.all_of(train), Side.all_of(queries), tmp_path).all_scores()[0]

    def by_hand(places):
        model.zero_grad()
        logprobs = torch.log_softmax(model(ids).logits, -1)[0]
        (-logprobs[[p - 1 for p in places], [text[p] for p in places]].sum()).backward()
        mine = torch.cat([small.weight_gradient(layer).flatten() for layer in subject.layers])
        found = [small.gradients(model, subject.layers, small.loss(model, train, row)) for row in range(10)]
        return [float(mine @ torch.cat([g.flatten() for g in each.values()])) for each in found]

    assert small.near(score({0: (3, 5)}), by_hand([3, 4]), 1e-6)
    assert small.near(score({0: (0, 2)}), by_hand([1]), 1e-6)
    assert small.near(score(None), by_hand([1, 2, 3, 4, 5]), 1e-6)


class Norms(nn.Module):
    """Nothing that influence can be computed for."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(16)

    def forward(self, pixel_values):
        return SimpleNamespace(logits=self.norm(nn.functional.avg_pool2d(pixel_values, 8).flatten(1)))


def test_what_cannot_be_done_is_said_in_a_sentence(tmp_path):
    model, train = small.gpt2(dtype=torch.float32), small.texts(6)
    subject = study(model, train)

    with pytest.raises(UsageError, match=r"Norms has no layers that influence can be computed for"):
        study(Norms(), ImageClassification(images()))
    with pytest.raises(UsageError, match=r"leaves none of the model's 8; there are transformer\.h\.0\.attn\.c_attn"):
        study(model, train, wanted=lambda name: "nothing" in name)
    with pytest.raises(UsageError, match="hold token 29, and the model knows 23; read them with the model's own"):
        study(model, queries_of_tokens([[1, 29, 3]]))
    with pytest.raises(UsageError, match="a row has 39 tokens, and the model takes 32"):
        study(model, queries_of_tokens([[1] * 40]))
    with pytest.raises(UsageError, match=r"outputs of .* for targets of .*; Classification needs a model with another"):
        study(model, Classification(ragged(), np.arange(10) % 2, 0, 2))
    two = BertForSequenceClassification(small_models.bert_config(num_labels=2))
    with pytest.raises(UsageError, match="hold label 2, and the model gives 2"):
        study(two, Classification(ragged(3), np.full(3, 2), 0, 2))
    with pytest.raises(UsageError, match="the data do not match the model: given rows"):
        study(model, ImageClassification(images()))
    with pytest.raises(UsageError, match="query 1 has one token, which nothing before it predicts; give at least two"):
        queries_of_tokens([[1, 2], [3]])
    with pytest.raises(UsageError, match="the first token is marked"):
        Marked(train, {0: (0, 1)})
    with pytest.raises(UsageError, match="there are no queries"):
        queries_of_tokens([])

    one = small.texts(1)
    few = fit_factors(subject, one, tmp_path, FactorSettings("ekfac"))
    sides = Side.all_of(train), Side.all_of(queries_of_tokens([[1, 2, 3]]))
    with pytest.raises(UsageError, match=r"damping 0 makes layer '.*' singular: .* have no curvature; leave damping"):
        influence.answer(subject, few, *sides, tmp_path, ScoreSettings(damping=0))
    with pytest.raises(UsageError, match="damping must not be negative"):
        influence.answer(subject, few, *sides, tmp_path, ScoreSettings(damping=-1))
    with pytest.raises(UsageError, match="does not hold one query's gradient; it takes"):
        influence.answer(subject, few, *sides, tmp_path, ScoreSettings(memory=10))
    with torch.no_grad():
        model.transformer.h[0].mlp.c_fc.weight[0, 0] = float("nan")
    with pytest.raises(UsageError, match=r"not finite"):
        fit_factors(study(model, train), train, tmp_path, FactorSettings("ekfac"))


def test_factors_are_kept_under_weights_rows_and_settings():
    model, train = small.gpt2(), small.texts(6)
    keys = [key_of(study(model, train), train, FactorSettings())]
    keys.append(key_of(study(model, train, numbers="bfloat16"), train, FactorSettings()))
    keys.append(key_of(study(model, small.texts(7)), small.texts(7), FactorSettings()))
    keys.append(key_of(study(model, train), train, FactorSettings(seed=1)))
    keys.append(key_of(study(model, train), train, FactorSettings(labels="data")))
    keys.append(key_of(study(model, train, wanted=lambda name: "mlp" in name), train, FactorSettings()))
    with torch.no_grad():
        model.transformer.h[0].mlp.c_fc.weight[0, 0] += 1
    keys.append(key_of(study(model, train), train, FactorSettings()))
    assert len({str(key) for key in keys}) == len(keys)
    same = key_of(study(model, train, rows=3), train, FactorSettings("kfac", parts=9, memory=10**6))
    assert same == keys[-1]
