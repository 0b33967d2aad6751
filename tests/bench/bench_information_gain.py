"""Information gain beside the way in which it was first measured, on the same contexts.

The first way copies the model for every context and once more to throw the step away, makes the step with a fresh
AdamW, and reads the objective contexts one by one. Rounds alternate between the ways in one process; CPU time of one
thread counts. Prints medians and ratios:

    python tests/bench/bench_information_gain.py [--rounds 5]
"""

import argparse
import copy
import math
import statistics
import time

import torch
from lmwb.core.methods.information_gain.gains import Gains
from lmwb.core.methods.information_gain.objective_set import ObjectiveSet
from lmwb.core.recipe.schema.gain import GainStep
from transformers import GPT2Config, GPT2LMHeadModel

LENGTH, OBJECTIVE = 32, 100
STEP = GainStep()


def make_model(vocabulary: int) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    shape = {"n_embd": 256, "n_layer": 4, "n_head": 4, "n_positions": 128}
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    return GPT2LMHeadModel(GPT2Config(vocab_size=vocabulary, **shape, **ends)).eval()


def perplexity(model: GPT2LMHeadModel, contexts: torch.Tensor) -> float:
    losses = [model(context[None], labels=context[None]).loss.item() for context in contexts]
    return math.exp(statistics.fmean(losses))


class FirstWay:
    """One model thrown away for each context."""

    def __init__(self, base: GPT2LMHeadModel, objective: torch.Tensor):
        self._base, self._objective = base, objective
        self._before = perplexity(base, objective)

    def __call__(self, context: torch.Tensor) -> float:
        model = copy.deepcopy(self._base)
        optimizer = torch.optim.AdamW(model.parameters(), lr=STEP.lr, eps=STEP.eps, weight_decay=0.0)
        model.train()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0  # so that both ways measure the same
        optimizer.zero_grad()
        loss = model(context[None], labels=context[None]).loss
        model.eval()
        perplexity(model, context[None])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), STEP.clip)
        optimizer.step()
        gain = self._before - perplexity(model, self._objective)
        copy.deepcopy(self._base)
        return gain


def main() -> None:
    """Alternate the ways and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    for vocabulary, marks in ((1_000, (2.3, 25)), (50_000, (1.4, 15))):
        model = make_model(vocabulary)
        source = torch.Generator().manual_seed(1)
        objective = torch.randint(0, vocabulary, (OBJECTIVE, LENGTH), generator=source)
        contexts = torch.randint(0, vocabulary, (rounds + 1, LENGTH), generator=source)
        gains = Gains(model, ObjectiveSet(objective, vocabulary), STEP, seed=0)
        gains.measure(contexts[0], 0, exact=False, estimate=True)  # the gradient of the objective is found once
        ways = {
            "copies, one by one": FirstWay(model, objective),
            "exact": lambda context: gains.measure(context, 0).exact,  # noqa: B023
            "first order": lambda context: gains.measure(context, 0, exact=False, estimate=True).estimate,  # noqa: B023
        }
        times: dict[str, list[float]] = {way: [] for way in ways}
        found: dict[str, list[float]] = {way: [] for way in ways}
        for number, context in enumerate(contexts):
            for way, gain_of in ways.items():
                began = time.process_time()
                found[way].append(gain_of(context))
                if number:  # the first round warms up
                    times[way].append(time.process_time() - began)
        print(
            f"\nvocabulary {vocabulary:,}, {OBJECTIVE} objective contexts of {LENGTH}: "
            f"CPU s per context, median of {rounds}"
        )
        base = statistics.median(times["copies, one by one"])
        for way, seconds in times.items():
            median = statistics.median(seconds)
            print(f"  {way:20} {median:8.3f}   {base / median:6.2f} x as fast")
        spread = statistics.pstdev(found["copies, one by one"])
        apart = max(abs(a - b) for a, b in zip(found["exact"], found["copies, one by one"], strict=True))
        print(f"  wanted: {marks[0]} x and {marks[1]} x; exact differs by at most {apart / spread:.1e} of the spread")


if __name__ == "__main__":
    main()
