"""The forward pass of models whose dead heads and neurons were taken out, beside the model that they were pruned from.

One thread, CPU time, models in turn, medians; texts of one length, no padding. Without folders, a random encoder is
measured with half, a quarter and a tenth of its heads and neurons in every layer; with folders, such as `lmwb shrink`
writes, the first is what the others are compared with:

    python tests/bench/bench_structured.py [--rounds 9] [--tokens 32] [--shape 384,6,12,1536] [DENSE SMALL ...]
"""

import argparse
import statistics
import time
from pathlib import Path

import torch
from lmwb.core.methods.structured import shrink, sizes_of
from lmwb.core.models.loading import make_model, quiet
from lmwb.core.recipe.schema import PretrainedModel
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

SHARES = (0.5, 0.25, 0.1)
BATCHES = (1, 32)


def random_model(shape: list[int]) -> BertForSequenceClassification:
    torch.manual_seed(0)
    hidden, layers, heads, width = shape
    return BertForSequenceClassification(
        BertConfig(hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads, intermediate_size=width)
    ).eval()


@torch.no_grad()
def smaller(shape: list[int], share: float) -> nn.Module:
    """The same with a share of the heads and neurons of each layer."""
    model = random_model(shape)
    for layer in model.bert.encoder.layer:
        heads = max(1, int(share * shape[2])) * shape[0] // shape[2]
        layer.attention.output.dense.weight[:, heads:] = 0
        layer.output.dense.weight[:, max(1, int(share * shape[3])) :] = 0
    shrink(model)
    return model


def random_models(shape: list[int]) -> dict[str, nn.Module]:
    small = {f"{share:.0%} of heads and neurons": smaller(shape, share) for share in SHARES}
    return {"dense": random_model(shape), **small}


def models_in(folders: list[Path]) -> dict[str, nn.Module]:
    models: dict[str, nn.Module] = {}
    for folder in folders:
        name = f"{folder.parent.name}/{folder.name}"
        models[name] = make_model(
            PretrainedModel.model_validate({"from": str(folder)}), "classification", None, {}, print
        ).eval()
    return models


@torch.inference_mode()
def seconds(model: nn.Module, ids: torch.Tensor, passes: int) -> float:
    """CPU seconds of one forward pass."""
    began = time.process_time()
    for _ in range(passes):
        model(input_ids=ids)
    return (time.process_time() - began) / passes


def main() -> None:
    """Alternate the models and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--shape", default="384,6,12,1536", help="hidden, layers, heads, neurons")
    given = parser.parse_args()
    quiet()
    torch.set_num_threads(1)
    shape = [int(each) for each in given.shape.split(",")]
    models = models_in(given.folders) if given.folders else random_models(shape)
    inputs = {batch: torch.randint(1000, 2000, (batch, given.tokens)) for batch in BATCHES}
    times: dict[tuple[str, int], list[float]] = {}
    for round_number in range(given.rounds + 1):  # the first only warms up
        for name, model in models.items():
            for batch, ids in inputs.items():
                took = seconds(model, ids, 8 if batch == 1 else 1)
                if round_number:
                    times.setdefault((name, batch), []).append(took)
    dense = next(iter(models))
    for name, model in models.items():
        weights = sum(weight.numel() for weight in model.parameters())
        sizes = sizes_of(model)
        heads, width = (sum(each) / len(sizes) for each in zip(*((s.heads, s.width) for s in sizes), strict=True))
        told = [f"{name:32} {weights / 1e6:6.2f} M weights, {heads:5.2f} heads, {width:6.1f} neurons a layer"]
        for batch in BATCHES:
            median = statistics.median(times[name, batch])
            ratio = statistics.median(a / b for a, b in zip(times[dense, batch], times[name, batch], strict=True))
            told.append(f"batch {batch}: {1000 * median:7.2f} ms, {ratio:.2f}x")
        print(";  ".join(told))


if __name__ == "__main__":
    main()
