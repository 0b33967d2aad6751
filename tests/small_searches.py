"""Tiny causal language models with decided opinions, and a plain beam search to compare with."""

from dataclasses import dataclass
from functools import cache

import torch
from lmwb.core.decoding.loading import Loaded
from lmwb.core.decoding.search import search
from lmwb.core.recipe.schema import Decoding
from tiny import tokenizer

VOCABULARY = 96
PROMPT = [5, 17, 40, 17, 5, 17, 61, 2, 33, 5, 17, 61]
PROMPTS = [PROMPT, [7, 8, 9], [60, 61, 60, 61, 60], [3]]


@cache
def tiny_model(family: str, seed: int = 0):
    """A model of two layers; weights large enough that tokens differ clearly in probability."""
    import transformers

    torch.manual_seed(seed)
    common = {"vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 0}
    if family == "gpt2":
        config = transformers.GPT2Config(n_layer=2, n_head=2, n_embd=32, n_positions=64, **common)
    else:
        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
        config = transformers.LlamaConfig(**sizes, intermediate_size=48, max_position_embeddings=64, **common)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(8)
    return model


@cache
def words():
    """A tokenizer with real words."""
    return tokenizer()


@cache
def speaker():
    """A tiny GPT-2 with that tokenizer."""
    import transformers

    torch.manual_seed(1)
    sizes = {"n_layer": 2, "n_head": 2, "n_embd": 32, "n_positions": 64}
    own = words()
    config = transformers.GPT2Config(vocab_size=len(own), **sizes, eos_token_id=own.eos_token_id, bos_token_id=None)
    model = transformers.GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(8)
    return Loaded(model, own, "speaker", torch.device("cpu"))


def found(model, prompts, settings: dict, **more):
    """What a search finds: for each prompt, its texts as (generated ids, total, final)."""
    from lmwb.core.decoding.processors import make

    decoding = Decoding.model_validate(settings)
    ends = more.pop("ends", ())
    result = search(model, prompts, decoding, ends, make(decoding, None, ends), **more)
    texts = []
    for prompt, endings in enumerate(result.endings):
        texts.append([(ids_of(result, prompt, ending), ending.total, ending.final) for ending in endings])
    return texts


def ids_of(result, prompt, ending):
    return [int(result.trails[s].candidates.ids[b, c]) for s, b, c in result.path(prompt, ending)]


@dataclass
class PlainBeams:
    """What a plain search found: ids (beams, length), totals (beams,), per step (parents, ids, totals), the
    log-probabilities of the beams' tokens before and after blocking, and the smallest gap between rivals."""

    ids: torch.Tensor
    totals: torch.Tensor
    steps: list
    raw: torch.Tensor
    processed: torch.Tensor
    gap: float


@torch.no_grad()
def plain_beam_search(model, prompt, beams, steps, block=()):
    """Beam search as a textbook has it: no cache, whole texts at every step, loops for the blocking, float64.

    Rows begin as copies of the prompt with scores [0, -1e9, ...]; the best of rows × vocabulary go on.
    """
    import copy

    model = copy.deepcopy(model).double()
    rows = torch.tensor([prompt] * beams)
    totals = torch.full((beams,), -1e9, dtype=torch.float64)
    totals[0] = 0
    raw = torch.zeros(beams, 0, dtype=torch.float64)
    processed = raw.clone()
    history, gap = [], float("inf")
    for _ in range(steps):
        plain = model(input_ids=rows, use_cache=False).logits[:, -1].log_softmax(-1)
        scores = plain.clone()
        for row, ids in enumerate(rows.tolist()):
            if "words" in block:
                for token in set(ids):
                    scores[row, token] = -1e9
            if "trigrams" in block:
                for at in range(len(ids) - 2):
                    if ids[at : at + 2] == ids[-2:]:
                        scores[row, ids[at + 2]] = -1e9
        sums = (totals[:, None] + scores).flatten()
        best = sums.sort(descending=True)
        gap = min(gap, float((best.values[:beams] - best.values[1 : beams + 1]).min()))
        parents, tokens = best.indices[:beams] // scores.shape[1], best.indices[:beams] % scores.shape[1]
        totals = best.values[:beams]
        rows = torch.cat([rows[parents], tokens[:, None]], 1)
        raw = torch.cat([raw[parents], plain[parents, tokens][:, None]], 1)
        processed = torch.cat([processed[parents], scores[parents, tokens][:, None]], 1)
        history.append((parents.tolist(), tokens.tolist(), totals.tolist()))
    return PlainBeams(rows, totals, history, raw, processed, gap)
