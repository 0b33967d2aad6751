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


_SIZES_OF_BOTH = {
    "d_model": 32,
    "d_kv": 16,
    "d_ff": 64,
    "num_layers": 1,
    "num_heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": 514,
}
"""Of models with encoder and decoder."""

_HEADS = {
    "causal-lm": "lm",
    "instruction-tuning": "lm",
    "text-generation": "lm",
    "masked-lm": "mlm",
    "fill-mask": "mlm",
    "text-classification": "labels",
    "language-detection": "labels",
    "text-to-text": "seq2seq",
}


def stand_in_model(family: str, objective: str, folder: Path) -> Path:
    """The folder of a tiny model with its tokenizer; made at the first call.

    Args:
        family: transformers' `model_type`.
        objective: the recipe's, or the task; models that are trained for labels get a new head in any case.
        folder: where such models are kept.
    """
    head = _HEADS.get(objective, "base")
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
    if head in ("lm", "seq2seq"):
        tokenizer = train_bpe(texts, BpeTokenizer(vocab_size=512))
    else:
        tokenizer = train_wordpiece(texts, WordPieceTokenizer(vocab_size=512))
    configuration: Any = transformers.AutoConfig.for_model(family)
    known = _SIZES_OF_BOTH if head == "seq2seq" else _SIZES
    sizes = {name: size for name, size in known.items() if hasattr(configuration, name)}
    special = {
        name: value
        for name in ("bos_token_id", "eos_token_id", "pad_token_id")
        if (value := getattr(tokenizer, name)) is not None
    }
    if head == "seq2seq":
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        end = tokenizer.eos_token_id
        special |= {"pad_token_id": tokenizer.pad_token_id, "decoder_start_token_id": end, "forced_eos_token_id": end}
    configuration = transformers.AutoConfig.for_model(family, vocab_size=len(tokenizer), **sizes, **special)
    classes: dict[str, Any] = {
        "lm": transformers.AutoModelForCausalLM,
        "mlm": transformers.AutoModelForMaskedLM,
        "labels": transformers.AutoModelForSequenceClassification,
        "seq2seq": transformers.AutoModelForSeq2SeqLM,
        "base": transformers.AutoModel,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        classes[head].from_config(configuration).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
