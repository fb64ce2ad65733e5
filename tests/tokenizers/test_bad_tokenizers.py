"""Tokenizers that are missing, damaged or not supported: a typed error in one line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from fixtures import models
from fixtures.models import rewrite
from tests.support.refusals import refused
from tf_exporter import InputError, UnsupportedError
from tf_exporter.model.source import ModelSource
from tf_exporter.tokenizers.loading import load_tokenizer


def split(pattern: dict[str, str], behavior: str = "Isolated") -> dict[str, Any]:
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": False}


def bpe(**changes: Any) -> dict[str, Any]:
    vocab = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "a": 5, "b": 6, "ab": 7}
    return {"type": "BPE", "vocab": vocab, "merges": [["a", "b"]], **changes}


def unigram(*pieces: tuple[str, float], **changes: Any) -> dict[str, Any]:
    vocab = [
        ["[PAD]", 0.0],
        ["[UNK]", 0.0],
        ["[CLS]", 0.0],
        ["[SEP]", 0.0],
        ["[MASK]", 0.0],
        *pieces,
    ]
    return {"type": "Unigram", "unk_id": 1, "vocab": vocab, "byte_fallback": False, **changes}


FIRST = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True}
TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [{"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [],
    "special_tokens": {},
}
TOKENIZER_STEPS: dict[str, tuple[dict[str, Any], str]] = {
    "normalizer": ({"normalizer": {"type": "ByteLevel"}}, "normalizer.type = 'ByteLevel'"),
    "inside a sequence": (
        {
            "normalizer": {
                "type": "Sequence",
                "normalizers": [{"type": "Lowercase"}, {"type": "ByteLevel"}],
            }
        },
        "normalizer.normalizers[1].type",
    ),
    "pre_tokenizer": (
        {"pre_tokenizer": {"type": "UnicodeScripts"}},
        "pre_tokenizer.type = 'UnicodeScripts'",
    ),
    "expression": ({"pre_tokenizer": split({"Regex": "(a+)+$"})}, "pre_tokenizer.pattern"),
    "expression to replace": (
        {"normalizer": {"type": "Replace", "pattern": {"Regex": "x*"}, "content": "y"}},
        "normalizer.pattern",
    ),
    "empty string": ({"pre_tokenizer": split({"String": ""})}, "pre_tokenizer.pattern"),
    "first of what is dropped": (
        {
            "normalizer": {"type": "Strip", "strip_left": True, "strip_right": True},
            "pre_tokenizer": FIRST,
        },
        "normalizer.type = 'Strip'",
    ),
    "post_processor": (
        {"post_processor": {"type": "Sequence", "processors": [TEMPLATE, TEMPLATE]}},
        "post_processor.processors",
    ),
    "long text to put before": (
        {"normalizer": {"type": "Prepend", "prepend": "x" * 300}},
        "normalizer.prepend",
    ),
    "long text to put in": (
        {"normalizer": {"type": "Replace", "pattern": {"String": "a"}, "content": "x" * 300}},
        "normalizer.content",
    ),
    "template of no token": (
        {
            "post_processor": {
                **TEMPLATE,
                "single": [*TEMPLATE["single"], {"SpecialToken": {"id": "[X]", "type_id": 0}}],
            }
        },
        "'[X]'",
    ),
    "huge segment": (
        {
            "post_processor": {
                **TEMPLATE,
                "single": [{"Sequence": {"id": "A", "type_id": 2**32 - 1}}],
            }
        },
        "2³¹",
    ),
    "huge id": (
        {"post_processor": {"type": "BertProcessing", "cls": ["a", 2**32 - 1], "sep": ["b", 1]}},
        "2³¹",
    ),
    "merge without the prefix": (
        {
            "model": bpe(
                continuing_subword_prefix="▁",
                vocab={**bpe()["vocab"], "bcd": 8},
                merges=[["a", "bcd"]],
            )
        },
        "begin with '▁'",
    ),
    "whole words that are lost": (
        {"model": bpe(ignore_merges=True, vocab={**bpe()["vocab"], "aéb": 8})},
        "beside ignore_merges",
    ),
    "long piece": ({"model": unigram(("a" * 300, -1.0))}, "256"),
    "dropout": ({"model": bpe(dropout=0.1)}, "model.dropout"),
    "some bytes": (
        {"model": bpe(byte_fallback=True, vocab={**bpe()["vocab"], "<0x00>": 8})},
        "256 bytes",
    ),
    "equal ids": ({"model": bpe(vocab={**bpe()["vocab"], "b": 5})}, "['a', 'b']"),
    "unknown token": ({"model": bpe(unk_token="?")}, "model.unk_token"),
    "merged unknown token": (
        {"model": bpe(unk_token="a")},
        "model.merges",
    ),
    "suffix and merges": (
        {"model": bpe(end_of_word_suffix="</w>", ignore_merges=True)},
        "model.ignore_merges",
    ),
    "no unknown piece": ({"model": unigram(unk_id=None)}, "model.unk_id"),
    "high scores": (
        {"model": {**unigram(), "vocab": [[piece, 20.0] for piece, _ in unigram()["vocab"]]}},
        "scores",
    ),
    "wordlevel": (
        {"model": {"type": "WordLevel", "vocab": {"[PAD]": 0}, "unk_token": "[UNK]"}},
        "model.unk_token",
    ),
}


@pytest.mark.parametrize("name", TOKENIZER_STEPS)
def test_tokenizer_step(model: Path, name: str) -> None:
    """Steps of a tokenizer whose JSON is used unchanged."""
    rewrite(model / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    changes, word = TOKENIZER_STEPS[name]
    rewrite(model / "tokenizer.json", **changes)
    refused(model, UnsupportedError, "tokenizer.json", word)


DAMAGED: dict[str, dict[str, Any]] = {
    "merge of no token": {"model": bpe(merges=[["a", "c"]])},
    "merge makes no token": {"model": bpe(merges=[["b", "a"]])},
    "no charsmap": {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "!"}},
    "truncated charsmap": {
        "normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAEAAAAA"}
    },
    "charsmap that leads outside": {
        "normalizer": {"type": "Precompiled", "precompiled_charsmap": "BAAAAAD///8="}
    },
    "unknown id": {"model": unigram(unk_id=99)},
    "expression that does not compile": {"pre_tokenizer": split({"Regex": "(" * 50})},
    "behaviour": {"pre_tokenizer": split({"String": "a"}, behavior="Sideways")},
    "no scores": {"model": {**unigram(), "vocab": [["a"]]}},
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_tokenizer(model: Path, name: str) -> None:
    rewrite(model / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    rewrite(model / "tokenizer.json", **DAMAGED[name])
    refused(model, InputError)


def test_deep_and_truncated_tokenizers(model: Path) -> None:
    rewrite(model / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    whole = (model / "tokenizer.json").read_text()
    for text in (
        whole[: len(whole) // 2],
        '{"normalizer": ' + '{"type": "Sequence", "normalizers": [' * 100_000,
        "[" * 100_000,
    ):
        (model / "tokenizer.json").write_text(text)
        refused(model, InputError, "tokenizer.json")
    # With all brackets closed, so valid JSON.
    deep = '{"type": "Sequence", "normalizers": [' * 100_000 + "]}" * 100_000
    (model / "tokenizer.json").write_text(whole.rstrip()[:-1] + f', "normalizer": {deep}}}')
    refused(model, InputError, "tokenizer.json")


def test_huge_vocabulary(model: Path) -> None:
    with (model / "tokenizer.json").open("ab") as file:
        file.truncate(2**30)
    refused(model, InputError, "1,073,741,824 bytes")


def test_unigram_under_bert_tokenizer(model: Path) -> None:
    """transformers 5 turns it into WordPiece, and words become unknown."""
    typed = unigram(("▁a", -1.0), ("b", -2.0))
    # Older files, among them the real ones, do not name the kind of their model.
    untyped = {key: value for key, value in typed.items() if key != "type"}
    for stored in (typed, untyped):
        rewrite(model / "tokenizer.json", model=stored)
        for tokenizer_class in ("BertTokenizer", None):
            rewrite(model / "tokenizer_config.json", tokenizer_class=tokenizer_class)
            refused(model, UnsupportedError, "tokenizer_class", "Unigram", "unknown")


def test_tokenizer_files_elsewhere(model: Path) -> None:
    (model / "tokenizer.json").rename(model.parent / "tokenizer.json")
    (model / "vocab.txt").write_text("\n".join(models.VOCAB))
    (model.parent / "tokenizer.json").write_text(
        (model.parent / "tokenizer.json").read_text().replace('"hello"', '"hallo"')
    )
    rewrite(model / "tokenizer_config.json", tokenizer_file=str(model.parent / "tokenizer.json"))
    # transformers reads the model's own files instead.
    vocab = load_tokenizer(ModelSource(model, "model"), "").get_vocab()
    assert "hello" in vocab
    assert "hallo" not in vocab
    (model / "chat_template.jinja").symlink_to("/etc/hostname")
    refused(model, InputError, "link")


def test_no_tokenizer(model: Path) -> None:
    (model / "tokenizer.json").unlink()
    refused(model, InputError, "no tokenizer")


@pytest.mark.parametrize("token", models.VOCAB[:4])
def test_vocabulary_without_a_special_token(model: Path, token: str) -> None:
    (model / "tokenizer.json").unlink()
    vocab = [other if other != token else "x1" for other in models.VOCAB]
    (model / "vocab.txt").write_text("\n".join(vocab))
    refused(model, UnsupportedError)


SPECIAL: dict[str, Any] = {
    "tokenizer_file": "/elsewhere/tokenizer.json",
    "model_max_length": "x",
    "chat_template": "{{ 1 }}",
}


@pytest.mark.parametrize("key", SPECIAL)
def test_special_tokens_map_has_tokens_only(model: Path, key: str) -> None:
    """transformers would take any argument of a tokenizer from this file."""
    (model / "special_tokens_map.json").write_text(json.dumps({key: SPECIAL[key]}))
    refused(model, UnsupportedError, "special_tokens_map.json", key)


def test_tokens_in_special_tokens_map(model: Path) -> None:
    values = {"pad_token": "[PAD]", "image_token": "[MASK]", "a note": 1}
    (model / "special_tokens_map.json").write_text(json.dumps(values))
    source = ModelSource(model, "model")
    load_tokenizer(source, "")
    assert source.ignored["special_tokens_map.json"] == ["a note"]


@pytest.mark.parametrize("length", ["abc", [1], -1, True, math.inf])
@pytest.mark.parametrize("key", ["model_max_length", "max_len"])
def test_lengths(model: Path, key: str, length: Any) -> None:
    """transformers reads `max_len` where `model_max_length` is absent."""
    rewrite(model / "tokenizer_config.json", **{"model_max_length": "absent", key: length})
    refused(model, UnsupportedError, "tokenizer_config.json", key)


def test_high_ids_in_a_vocabulary_file(model: Path) -> None:
    """Refused before `tokenizers` allocates memory for all ids below."""
    (model / "tokenizer.json").unlink()
    (model / "vocab.json").write_text(json.dumps({"a": 0, "b": 2**32 - 1}))
    (model / "merges.txt").write_text("#version: 0.2\n")
    rewrite(model / "tokenizer_config.json", tokenizer_class="RobertaTokenizer")
    refused(model, UnsupportedError, "vocab.json", "4294967295")
