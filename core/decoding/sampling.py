"""Completing prompts while recording what the model thought of every token."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..data.tokenizer import token_pieces
from ..recipe.schema import Sample
from ..tokens import TokenTrace
from ..training.randomness import generator
from .recording import Measured, measure

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@torch.inference_mode()
def complete(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    prompt: str | Sequence[int],
    settings: Sample,
    seed: int,
    ends: Collection[int | None] | None = None,
) -> TokenTrace:
    """Let the model go on from a prompt, up to the end of text, `settings.tokens`, or its longest context.

    The numbers recorded are the model's own, before temperature and top-k. Dropout is off.

    Args:
        model: a causal language model.
        tokenizer: that belongs to it.
        prompt: the beginning, as text or as ids; may be empty if the tokenizer has a token that texts begin with.
        settings: how to draw, and how many alternatives to record.
        seed: the same seed draws the same tokens.
        ends: ids that end the text; the tokenizer's end-of-text token if not given.

    Raises:
        ValueError: the model's numbers are not finite.
    """
    model.eval()
    device = next(model.parameters()).device
    given = prompt_ids(tokenizer, prompt)
    ends = (cast("int | None", tokenizer.eos_token_id),) if ends is None else ends
    longest = getattr(model.config, "max_position_embeddings", None)
    steps = settings.tokens if longest is None else max(0, min(settings.tokens, longest - len(given)))
    given = given if longest is None else given[-longest:]
    random = generator(seed, "sampling")
    ids = torch.tensor([given], device=device)
    measured: list[Measured] = []
    output: Any = model(input_ids=ids, use_cache=True)
    if len(given) > 1:
        measured.append(_measured(output.logits[0, :-1], ids[0, 1:], settings))
    generated: list[int] = []
    for _ in range(steps):
        logits = output.logits[0, -1:]
        if not torch.isfinite(logits).all():
            raise ValueError("the model's output is not finite")
        token = _draw(logits[0], settings, random)
        measured.append(_measured(logits, token, settings))
        generated.append(int(token))
        if generated[-1] in ends:
            break
        output = model(input_ids=token[None], past_key_values=output.past_key_values, use_cache=True)
    return _trace(tokenizer, given, generated, measured)


def prompt_ids(tokenizer: "PreTrainedTokenizerBase", prompt: str | Sequence[int]) -> list[int]:
    """A prompt's ids; of an empty one, the token that texts begin with."""
    ids = cast("list[int]", tokenizer(prompt, verbose=False)["input_ids"]) if isinstance(prompt, str) else list(prompt)
    if not ids:
        first = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        ids = [cast("int", first)]
    return ids


def _draw(logits: Tensor, settings: Sample, random: torch.Generator) -> Tensor:
    """One token id, (1,), from logits (vocabulary,); drawn on the CPU, alike on every device."""
    if settings.temperature == 0:
        return logits.argmax(keepdim=True)
    scaled = logits.float().cpu() / settings.temperature
    if settings.top_k is not None:
        floor = scaled.topk(min(settings.top_k, len(scaled))).values[-1]
        scaled = scaled.masked_fill(scaled < floor, -torch.inf)
    return torch.multinomial(scaled.softmax(-1), 1, generator=random).to(logits.device)


def _measured(logits: Tensor, ids: Tensor, settings: Sample) -> Measured:
    """Numbers of tokens (n,) under the logits (n, vocabulary) that predicted them."""
    return measure(logits.float().log_softmax(-1), ids, settings.alternatives)


def _trace(
    tokenizer: "PreTrainedTokenizerBase", given: list[int], generated: list[int], parts: list[Measured]
) -> TokenTrace:
    def column(name: str, first: float) -> NDArray[Any]:
        """The measurements as one array, with `first` for the token that had no context."""
        if not parts:
            return np.full((1,), first)
        joined = np.concatenate([getattr(part, name) for part in parts])
        return np.concatenate([np.full((1, *joined.shape[1:]), first, joined.dtype), joined])

    ids = np.asarray(given + generated, np.uint32)
    alternative_ids = column("alternative_ids", 0).astype(np.uint32).reshape(len(ids), -1)
    known = sorted({int(i) for i in ids} | {int(i) for i in alternative_ids.ravel()})
    return TokenTrace(
        ids=ids,
        prompt_length=len(given),
        logprob=column("logprob", np.nan).astype(np.float32),
        rank=column("rank", 0).astype(np.uint32),
        entropy=column("entropy", np.nan).astype(np.float32),
        alternative_ids=alternative_ids,
        alternative_logprob=column("alternative_logprob", np.nan).astype(np.float32).reshape(len(ids), -1),
        pieces=token_pieces(tokenizer, known),
        special=frozenset(tokenizer.all_special_ids) & set(known),
    )
