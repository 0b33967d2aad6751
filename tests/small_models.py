"""Tiny models of every kind with random weights, in folders as the hub would give them."""

import io
import json
from pathlib import Path

import sentencepiece
import small_tokenizers
import tiny
import torch
import transformers

NARROW = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "max_position_embeddings": 64,
    "init_std": 0.5,
}
NLLB = ("eng_Latn", "fin_Latn")


def save(model_class, config, tokenizer, folder: Path, seed=0) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    model_class(config).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def bert_config(**fields):
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    tokenizer = small_tokenizers.wordpiece()
    special = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    return transformers.BertConfig(**size, **special, max_position_embeddings=64, initializer_range=0.5, **fields)


def bert_classifier(folder: Path, names=("bad", "good", "odd"), **fields) -> str:
    labels = {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}
    config = bert_config(**labels, **fields)
    return save(transformers.BertForSequenceClassification, config, small_tokenizers.wordpiece(), folder)


def bert_filler(folder: Path) -> str:
    return save(transformers.BertForMaskedLM, bert_config(), small_tokenizers.wordpiece(), folder)


def headless_bert(folder: Path) -> str:
    return save(transformers.BertModel, bert_config(), small_tokenizers.wordpiece(), folder)


def gpt2(folder: Path) -> str:
    tokenizer = tiny.tokenizer()
    ends = {"bos_token_id": tokenizer.eos_token_id, "eos_token_id": tokenizer.eos_token_id}
    size = {"n_layer": 1, "n_head": 2, "n_embd": 16, "n_positions": 64, "initializer_range": 0.5}
    config = transformers.GPT2Config(vocab_size=len(tokenizer), **size, **ends)
    return save(transformers.GPT2LMHeadModel, config, tokenizer, folder)


def t5(folder: Path) -> str:
    tokenizer = small_tokenizers.metaspace()
    tokenizer.pad_token = "<unk>"
    size = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "initializer_factor": 1.0}
    ends = {"pad_token_id": 0, "eos_token_id": tokenizer.eos_token_id, "decoder_start_token_id": 0}
    config = transformers.T5Config(vocab_size=len(tokenizer), **size, **ends)
    return save(transformers.T5ForConditionalGeneration, config, tokenizer, folder)


def _pieces() -> tuple[bytes, list[str]]:
    """A SentencePiece model of the tests' texts, and its pieces without the special ones."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(tiny.texts()), model_writer=written, vocab_size=60, minloglevel=2
    )
    read = sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())
    pieces = [read.id_to_piece(i) for i in range(read.get_piece_size())]
    return written.getvalue(), [piece for piece in pieces if piece not in ("<unk>", "<s>", "</s>")]


def marian(folder: Path, seed=0, targets=()) -> str:
    """As the OPUS models: tokens such as `>>fra<<` for the target languages, if there are several."""
    folder.mkdir(parents=True, exist_ok=True)
    data, pieces = _pieces()
    for name in ("source.spm", "target.spm"):
        (folder / name).write_bytes(data)
    vocabulary = ["</s>", "<unk>", *pieces, *(f">>{target}<<" for target in targets), "<pad>"]
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(vocabulary)}))
    files = [str(folder / name) for name in ("source.spm", "target.spm", "vocab.json")]
    tokenizer = transformers.MarianTokenizer(*files)
    pad = tokenizer.pad_token_id
    ends = {"pad_token_id": pad, "decoder_start_token_id": pad, "eos_token_id": 0, "forced_eos_token_id": 0}
    config = transformers.MarianConfig(vocab_size=len(tokenizer), **NARROW, **ends)
    return save(transformers.MarianMTModel, config, tokenizer, folder, seed)


def m2m100(folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    data, pieces = _pieces()
    (folder / "sentencepiece.bpe.model").write_bytes(data)
    vocabulary = ["<s>", "<pad>", "</s>", "<unk>", *pieces]
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(vocabulary)}))
    tokenizer = transformers.M2M100Tokenizer(str(folder / "vocab.json"), str(folder / "sentencepiece.bpe.model"))
    return save(transformers.M2M100ForConditionalGeneration, _many(tokenizer), tokenizer, folder)


def nllb(folder: Path) -> str:
    words = sorted({f"▁{word}" for text in tiny.texts() for word in text.split()})
    letters = sorted({letter for word in words for letter in word})
    vocabulary = {piece: i for i, piece in enumerate(["<s>", "<pad>", "</s>", "<unk>", *letters])}
    tokenizer = transformers.NllbTokenizer(vocabulary, [], extra_special_tokens=list(NLLB))
    return save(transformers.M2M100ForConditionalGeneration, _many(tokenizer), tokenizer, folder)


def _many(tokenizer):
    ends = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 2}
    highest = max(getattr(tokenizer, "lang_code_to_id", {}).values(), default=0)
    return transformers.M2M100Config(vocab_size=max(len(tokenizer), highest + 1), **NARROW, **ends)
