"""The probe before the first step: it finds what would fail without a word, and leaves no trace."""

import copy

import pytest
import torch
from lmwb.core.errors import TrainingError
from lmwb.core.methods import adapt, adapters
from lmwb.core.recipe.schema.method import Adapters, Layers, Lora
from lmwb.core.training.probe import probe
from torch import nn
from torch.nn import functional as F
from traps import WIDTH, Fused, Rows

CPU = torch.device("cpu")


def silent(text):
    raise AssertionError(f"nothing was to be said: {text}")


def look(model, adapted=True, rows=None, tell=silent):
    probe(model, rows or Rows(), CPU, tell, adapted)


def freeze_all_but(model, *parts):
    for name, weight in model.named_parameters():
        weight.requires_grad_(any(part in name for part in parts))


# -- what is well ---------------------------------------------------------------------------------


def test_full_training_passes():
    look(Fused(), adapted=False)


@pytest.mark.parametrize(
    "method",
    [
        Lora(targets=["linear1", "linear2"], head=False),
        Lora(targets=["self_attn"], head=False),
        Lora(targets=["out_proj"], head=False),
        Lora(targets=["encoder.*"], rank=2, head=False),
        Adapters(targets=["linear2"], head=False),
        Adapters(targets=["out_proj"], head=False),
        Adapters(targets=["layers.1.linear2"], head=False),
        Adapters(targets=["layers.1.self_attn.out_proj"], head=False),
        Layers(train=["layers.1", "classifier"], head=False),
    ],
    ids=lambda method: f"{method.kind}-{(getattr(method, 'targets', None) or method.train)[0]}",
)
def test_our_methods_are_true_in_torchs_fused_encoder(method):
    model = Fused()
    adapt(model, [method], lambda _: None)
    look(model)


def test_nothing_is_changed():
    model = Fused()
    model.norm = nn.BatchNorm1d(WIDTH)
    inner = model.encoder.forward

    def normed(states, src_key_padding_mask):
        return model.norm(inner(states, src_key_padding_mask=src_key_padding_mask).transpose(1, 2)).transpose(1, 2)

    model.encoder.forward = normed
    adapt(model, [Lora(targets=["linear1"]), Layers(train=["norm"])], lambda _: None)
    model.train()
    model.encoder.layers[0].eval()
    model.classifier.weight.grad = gradient = torch.ones_like(model.classifier.weight)
    state, modes = copy.deepcopy(model.state_dict()), [module.training for module in model.modules()]
    rates = [module.p for module in model.modules() if isinstance(module, nn.Dropout)]
    torch.manual_seed(3)
    generator = torch.get_rng_state()
    look(model)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert [module.p for module in model.modules() if isinstance(module, nn.Dropout)] == rates
    assert torch.equal(torch.get_rng_state(), generator)
    grads = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    assert list(grads) == ["classifier.weight"]
    assert grads["classifier.weight"] is gradient


def test_a_part_that_is_never_used_is_a_note_in_full_training_and_an_error_with_methods():
    model = Fused()
    model.pooler = nn.Linear(WIDTH, WIDTH)
    said = []
    look(model, adapted=False, tell=said.append)
    assert said == [
        "probe: no gradient for 'pooler.weight', 'pooler.bias'; the model does not use it for this objective"
    ]
    with pytest.raises(TrainingError, match=r"'pooler.weight', 'pooler.bias' would be trained and gets no gradient"):
        look(model)


def test_a_relu_that_is_shut_by_chance_is_no_dead_part():
    """Moved one way, all of a narrow bottleneck may be below zero; moved the other way, it is not."""
    for sign in (1, -1):
        model = Fused(dropout=0.0)
        adapt(model, [Adapters(targets=["layers.1.linear2"], size=1, head=False)], lambda _: None)
        bottleneck = model.encoder.layers[1].linear2.bottleneck
        bottleneck.down.weight.data.fill_(1e-3)
        bottleneck.down.bias.data.fill_(0.0)
        model.encoder.layers[1].linear2.bias.data.fill_(sign)
        look(model)


def test_a_bottleneck_that_is_shut_for_good_is_found():
    model = Fused()
    adapt(model, [Adapters(targets=["linear2"], size=2, head=False)], lambda _: None)
    for layer in model.encoder.layers:
        layer.linear2.bottleneck.down.bias.data.fill_(-1e6)
    with pytest.raises(TrainingError, match=r"bottleneck.down.weight'.* what it does never reaches the loss"):
        look(model)


def test_randomness_that_cannot_be_turned_off_is_said():
    class Random(Fused):
        def forward(self, ids):
            outputs = super().forward(ids)
            return outputs + torch.rand_like(outputs) if self.training else outputs

    said = []
    look(Random(), tell=said.append)
    assert said == ["probe: the model draws at random in training, so training and evaluation were not compared"]


# -- known traps ----------------------------------------------------------------------------------


def peft_wrapped(targets):
    from peft import LoraConfig, get_peft_model

    return get_peft_model(Fused(), LoraConfig(r=4, target_modules=targets, lora_dropout=0.0))


def test_an_update_that_the_fused_path_leaves_out_is_found():
    """peft's wrapper shows the base's weight, and torch's encoder computes with that in evaluation."""
    with pytest.raises(TrainingError, match=r"something else in evaluation than in training.*lora_A"):
        look(peft_wrapped(["linear1", "linear2"]))


def test_a_dead_output_projection_is_found():
    """Attention never calls its output projection, so a wrapper's gradient is none."""
    with pytest.raises(TrainingError, match="no weight that is trained has any part in the loss"):
        look(peft_wrapped(["out_proj"]))
    with pytest.raises(
        TrainingError, match=r"'base_model.*out_proj.lora_A.*' .*gets no gradient: the model never calls"
    ):
        look(peft_wrapped(["linear1", "out_proj"]))


def test_a_layer_replaced_by_a_sequence_is_found():
    """In evaluation torch's encoder looks for the weight of what stands in the layer's place."""
    model = Fused()
    for layer in model.encoder.layers:
        layer.linear2 = nn.Sequential(layer.linear2, adapters.Bottleneck(WIDTH, 4, layer.linear2.weight))
    freeze_all_but(model, "linear2.1")
    with pytest.raises(
        TrainingError, match=r"cannot be evaluated: AttributeError: 'Sequential' .* no attribute 'weight'"
    ):
        look(model)


def test_a_masked_forward_that_is_passed_by_is_found():
    class Masked(nn.Linear):
        def forward(self, input):
            return F.linear(input, self.weight * (torch.arange(self.in_features) % 2), self.bias)

    model = Fused()
    for layer in model.encoder.layers:
        layer.linear1.__class__ = Masked
    with pytest.raises(TrainingError, match="something else in evaluation than in training"):
        look(model, adapted=False)


def test_a_wrong_freeze_is_found():
    """The layer is trained, but what is computed in it is cut off from the loss."""
    model = Fused()
    adapt(model, [Layers(train=["layers.0", "classifier"])], print)
    inner = model.encoder.forward
    model.encoder.forward = lambda *args, **named: inner(*args, **named).detach()
    with pytest.raises(TrainingError, match=r"'encoder.layers.0.self_attn.in_proj_weight'.* gets no gradient"):
        look(model)


def test_a_frozen_weight_with_a_gradient_is_found():
    class Leaky(Fused):
        def forward(self, ids):
            self.embeddings.requires_grad_(True)
            return super().forward(ids)

    model = Leaky()
    freeze_all_but(model, "classifier")
    with pytest.raises(TrainingError, match=r"'embeddings.weight' is frozen and gets a gradient all the same"):
        look(model)


def test_a_missing_mask_is_found():
    with pytest.raises(
        TrainingError, match=r"row 0 says something else beside a longer row than alone .* attention mask"
    ):
        look(Fused(masked=False), adapted=False)


def test_a_part_that_counts_in_training_only_is_found():
    class Forgetful(Fused):
        def __init__(self):
            super().__init__()
            self.extra = nn.Linear(WIDTH, 3)

        def forward(self, ids):
            outputs = super().forward(ids)
            return outputs + self.extra(self.embeddings(ids).mean(1)) * int(self.training)

    with pytest.raises(TrainingError, match="something else in evaluation"):
        look(Forgetful(), adapted=False, rows=Rows(lengths=(5, 5, 5)))


def test_a_loss_without_the_trained_weights_is_found():
    model = Fused()
    freeze_all_but(model)
    model.unused = nn.Linear(2, 2)
    with pytest.raises(TrainingError, match="no weight that is trained has any part in the loss"):
        look(model)
