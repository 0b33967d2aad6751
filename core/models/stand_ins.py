"""Tiny new models of known families, in a folder as the hub would give it, for trying a recipe without its model."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

from ..data.sources import python_reference
from ..data.tokenizer_training import train_bpe, train_wordpiece
from ..recipe.schema import BpeTokenizer, WordPieceTokenizer

_SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "ffn_dim": 64,
    "word_embed_proj_dim": 32,
    "embedding_size": 32,
    "head_dim": 16,
    "max_position_embeddings": 514,
    "num_labels": 2,
}


def stand_in_model(family: str, objective: str, folder: Path) -> Path:
    """The folder of a tiny model with its tokenizer; made at the first call.

    Args:
        family: transformers' `model_type`.
        objective: the recipe's; language models get their head, other heads are new in any case.
        folder: where such models are kept.
    """
    head = "lm" if objective in ("causal-lm", "instruction-tuning") else "mlm" if objective == "masked-lm" else "base"
    target = folder / f"{family}-{head}"
    if target.is_dir():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder))
    _write(family, head, unfinished)
    try:
        unfinished.rename(target)
    except OSError:  # another process was faster
        shutil.rmtree(unfinished, ignore_errors=True)
    return target


def _write(family: str, head: str, folder: Path) -> None:
    import transformers

    texts = [text[:2000] for text in python_reference()]
    if head == "lm":
        tokenizer = train_bpe(texts, BpeTokenizer(vocab_size=512))
    else:
        tokenizer = train_wordpiece(texts, WordPieceTokenizer(vocab_size=512))
    configuration: Any = transformers.AutoConfig.for_model(family)
    sizes = {name: size for name, size in _SIZES.items() if hasattr(configuration, name)}
    special = {
        name: value
        for name in ("bos_token_id", "eos_token_id", "pad_token_id")
        if (value := getattr(tokenizer, name)) is not None
    }
    configuration = transformers.AutoConfig.for_model(family, vocab_size=len(tokenizer), **sizes, **special)
    classes: dict[str, Any] = {
        "lm": transformers.AutoModelForCausalLM,
        "mlm": transformers.AutoModelForMaskedLM,
        "base": transformers.AutoModel,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        classes[head].from_config(configuration).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
