"""Beam search beside transformers.generate and beside a plain loop, on the same model and prompts.

The plain loop does what notebooks do: one prompt at a time, its copies read as rows, the whole cache put into a new
order at every step, blocking in Python. Rounds alternate between the engines in one process; CPU time counts, since
wall time on a shared machine does not. Ids are compared before anything is timed. Prints medians and ratios:

    python tests/bench/bench_decoding.py [--rounds 7] [--size small] [--model FOLDER]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lmwb.core.decoding.processors import make
from lmwb.core.decoding.recording import Recorder
from lmwb.core.decoding.search import search
from lmwb.core.recipe.schema import Decoding
from transformers import AutoModelForCausalLM, DynamicCache, GPT2Config, GPT2LMHeadModel, logging

BEAMS = 5
SIZES = {
    "small": {"n_embd": 128, "n_layer": 4, "n_head": 4, "vocab_size": 2048},
    "medium": {"n_embd": 256, "n_layer": 6, "n_head": 8, "vocab_size": 8192},
    "large": {"n_embd": 768, "n_layer": 6, "n_head": 12, "vocab_size": 50257},
}
TASKS: dict[str, dict[str, Any]] = {
    "1 prompt of 20, 32 steps": {"lengths": [20], "steps": 32},
    "1 prompt of 256, 16 steps": {"lengths": [256], "steps": 16},
    "8 prompts of 12 to 26, 32 steps": {"lengths": range(12, 28, 2), "steps": 32},
    "100 prompts of 8 to 30, 16 steps, trigrams blocked": {
        "lengths": [8 + i * 7 % 23 for i in range(100)],
        "steps": 16,
        "trigrams": True,
    },
}
Prompts = list[list[int]]


def make_model(size: str) -> Any:
    """A GPT-2 with decided opinions, so that rounding changes no beam."""
    torch.manual_seed(0)
    config = GPT2Config(**SIZES[size], n_positions=512, bos_token_id=0, eos_token_id=0)
    model = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(4)
    return model


def make_prompts(lengths: Any, vocabulary: int) -> Prompts:
    """Random ids; 0 stays for padding."""
    random = torch.Generator().manual_seed(1)
    return [torch.randint(1, vocabulary, (length,), generator=random).tolist() for length in lengths]


def ours(model: Any, prompts: Prompts, steps: int, trigrams: bool, record: bool = False) -> list[list[int]]:
    """lmwb's search, in batches of like length as `generate` makes them."""
    blocks = [{"kind": "ngrams"}] if trigrams else []
    settings = Decoding.model_validate({"beams": BEAMS, "tokens": steps, "processors": blocks})
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    best: dict[int, list[int]] = {}
    for start in range(0, len(order), settings.batch_size):
        places = order[start : start + settings.batch_size]
        recorder = Recorder(8, prompts_too=False) if record else None
        found = search(model, [prompts[i] for i in places], settings, (), make(settings, None, ()), recorder)
        for prompt, place in enumerate(places):
            way = found.path(prompt, found.endings[prompt][0])
            best[place] = [int(found.trails[step].candidates.ids[b, c]) for step, b, c in way]
    return [best[place] for place in range(len(prompts))]


def theirs(model: Any, prompts: Prompts, steps: int, trigrams: bool) -> list[list[int]]:
    """transformers.generate, in batches of the same size, in the given order."""
    best: list[list[int]] = []
    model.generation_config.eos_token_id = None
    for start in range(0, len(prompts), 16):
        part = prompts[start : start + 16]
        longest = max(map(len, part))
        ids = torch.tensor([[0] * (longest - len(p)) + p for p in part])
        mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in part])
        out = model.generate(
            ids, attention_mask=mask, num_beams=BEAMS, num_return_sequences=BEAMS, max_new_tokens=steps,
            do_sample=False, length_penalty=0.0, pad_token_id=0, no_repeat_ngram_size=3 if trigrams else 0,
        )  # fmt: skip
        best += out[::BEAMS, longest:].tolist()
    return best


@torch.no_grad()
def plain(model: Any, prompts: Prompts, steps: int, trigrams: bool) -> list[list[int]]:
    """The notebook's way."""
    best: list[list[int]] = []
    for prompt in prompts:
        rows = torch.tensor([prompt] * BEAMS)
        totals = torch.full((BEAMS,), -1e9)
        totals[0] = 0
        cache, feed = DynamicCache(config=model.config), rows
        for _ in range(steps):
            scores = model(input_ids=feed, past_key_values=cache, use_cache=True).logits[:, -1].log_softmax(-1)
            if trigrams:
                for row, ids in enumerate(rows.tolist()):
                    for at in range(len(ids) - 2):
                        if ids[at : at + 2] == ids[-2:]:
                            scores[row, ids[at + 2]] = -1e9
            top = (totals[:, None] + scores).flatten().topk(BEAMS)
            parents, tokens = top.indices // scores.shape[1], top.indices % scores.shape[1]
            totals = top.values
            rows = torch.cat([rows[parents], tokens[:, None]], 1)
            cache.reorder_cache(parents)
            feed = tokens[:, None]
        best.append(rows[0, len(prompt) :].tolist())
    return best


def timed(work: Callable[[], Any]) -> float:
    """CPU seconds."""
    began = time.process_time()
    work()
    return time.process_time() - began


def compare(engines: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each engine in each round; rounds alternate."""
    times: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(rounds):
        for name, work in engines.items():
            times[name].append(timed(work))
    return times


def ratio(times: dict[str, list[float]], one: str, other: str) -> float:
    """The median of one engine's time divided by another's in the same round."""
    return statistics.median(a / b for a, b in zip(times[one], times[other], strict=True))


def main() -> None:
    """Run the tasks and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    if arguments.model is None:
        model = make_model(arguments.size)
    else:
        model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32).eval()
    for name, task in TASKS.items():
        if arguments.only not in name:
            continue
        prompts = make_prompts(task["lengths"], model.config.vocab_size)
        given = model, prompts, task["steps"], task.get("trigrams", False)
        same = [
            sum(a == b for a, b in zip(ours(*given), other(*given), strict=True)) / len(prompts)
            for other in (theirs, plain)
        ]
        engines = {
            "lmwb": lambda given=given: ours(*given),
            "lmwb, recording": lambda given=given: ours(*given, record=True),
            "generate": lambda given=given: theirs(*given),
            "plain loop": lambda given=given: plain(*given),
        }
        times = compare(engines, arguments.rounds)
        print(
            f"{name}: lmwb {statistics.median(times['lmwb']) * 1e3:.0f} ms CPU; "
            f"generate / lmwb {ratio(times, 'generate', 'lmwb'):.2f}, "
            f"plain loop / lmwb {ratio(times, 'plain loop', 'lmwb'):.2f}, "
            f"recording {ratio(times, 'lmwb, recording', 'lmwb') - 1:+.1%}; "
            f"best texts the same as generate's {same[0]:.0%}, as the loop's {same[1]:.0%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
