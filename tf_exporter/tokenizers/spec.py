"""What a tokenizer is made of, read from the object transformers builds: `AutoTokenizer(...).backend_tokenizer`.

tokenizer.json itself is not the source of truth: transformers 5 rebuilds most of it from class code and
tokenizer_config.json. Whatever is not reproduced is refused here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer

from tf_exporter.errors import UnsupportedError

FILE = "tokenizer.json"

NORMALIZERS = ("BertNormalizer", "Lowercase", "Sequence")
PRE_TOKENIZERS = ("BertPreTokenizer",)
MODELS = ("WordPiece",)
_LONGEST_ADDED_TOKEN = 4096
_LARGEST_INT = 2**31 - 1
POST_PROCESSORS = ("TemplateProcessing", "BertProcessing", "RobertaProcessing")


@dataclass(frozen=True)
class AddedTokenSpec:
    """One added token, with the flags of `tokenizers.AddedToken`."""

    id: int
    content: str
    single_word: bool
    lstrip: bool
    rstrip: bool
    normalized: bool
    special: bool


@dataclass(frozen=True)
class WordPieceSpec:
    """`tokenizers.models.WordPiece`."""

    vocab: dict[str, int]
    unk_token: str
    continuing_subword_prefix: str
    max_input_chars_per_word: int


@dataclass(frozen=True)
class TemplateSpec:
    """What a single text is wrapped in: ids and segment ids before and after it."""

    prefix: tuple[tuple[int, int], ...]
    suffix: tuple[tuple[int, int], ...]
    type_id: int


@dataclass(frozen=True)
class TokenizerSpec:
    """A whole tokenizer, from raw text to padded ids."""

    added_tokens: tuple[AddedTokenSpec, ...]
    encode_special_tokens: bool
    model: WordPieceSpec
    template: TemplateSpec
    max_length: int | None
    truncation_side: str
    padding_side: str
    pad_id: int
    pad_type_id: int
    has_token_type_ids: bool
    special_ids: frozenset[int]


def read_tokenizer(tokenizer: Any, max_length: int | None) -> TokenizerSpec:
    """The parts of a transformers tokenizer whose texts are cut at `max_length` tokens (None: never)."""
    backend: Tokenizer = tokenizer.backend_tokenizer
    parts = json.loads(backend.to_str())
    _check_type(parts["normalizer"], "normalizer", NORMALIZERS, optional=True)
    _check_type(parts["pre_tokenizer"], "pre_tokenizer", PRE_TOKENIZERS)
    for name in ("input_ids", "attention_mask"):
        if name not in tokenizer.model_input_names:
            key = "model_input_names"
            raise UnsupportedError("tokenizer_config.json", key, tokenizer.model_input_names, f"names with {name}")
    for token in parts["added_tokens"]:
        if len(token["content"]) > _LONGEST_ADDED_TOKEN:
            supported = f"at most {_LONGEST_ADDED_TOKEN} characters"
            raise UnsupportedError(FILE, "added_tokens.content", token["content"], supported)
    template = _template(parts["post_processor"])
    added = len(template.prefix) + len(template.suffix)
    if max_length is not None and max_length < added:
        raise UnsupportedError("sentence_bert_config.json", "max_seq_length", max_length, f"at least the {added} special tokens")
    if tokenizer.pad_token_id is None:
        raise UnsupportedError("tokenizer_config.json", "pad_token", None, "a padding token")
    return TokenizerSpec(
        added_tokens=tuple(
            AddedTokenSpec(**token) for token in sorted(parts["added_tokens"], key=lambda token: not token["special"])
        ),
        encode_special_tokens=backend.encode_special_tokens,
        model=_wordpiece(parts["model"], backend),
        template=template,
        max_length=max_length,
        truncation_side=_side(tokenizer.truncation_side, "truncation_side"),
        padding_side=_side(tokenizer.padding_side, "padding_side"),
        pad_id=tokenizer.pad_token_id,
        pad_type_id=tokenizer.pad_token_type_id,
        has_token_type_ids="token_type_ids" in tokenizer.model_input_names,
        special_ids=frozenset(tokenizer.all_special_ids),
    )


def _check_type(part: dict[str, Any] | None, key: str, supported: tuple[str, ...], optional: bool = False) -> None:
    """Refuses a step, or a step inside a Sequence, that is not reproduced."""
    if part is None and optional:
        return
    kind = part["type"] if part else None
    if kind not in supported:
        raise UnsupportedError(FILE, f"{key}.type", kind, supported)
    if part and kind == "Sequence":
        for index, step in enumerate(part[key + "s"]):
            _check_type(step, f"{key}.{key}s[{index}]", tuple(name for name in supported if name != "Sequence"))


def _side(value: str, key: str) -> str:
    if value not in ("left", "right"):
        raise UnsupportedError("tokenizer_config.json", key, value, ("left", "right"))
    return value


def _wordpiece(model: dict[str, Any], backend: Tokenizer) -> WordPieceSpec:
    _check_type(model, "model", MODELS)
    known = {"type", "vocab", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word"}
    if unknown := set(model) - known:
        key = min(unknown)
        raise UnsupportedError(FILE, f"model.{key}", model[key], known)
    vocab = backend.get_vocab(with_added_tokens=False)
    if model["unk_token"] not in vocab:
        raise UnsupportedError(FILE, "model.unk_token", model["unk_token"], "a token of the vocabulary")
    return WordPieceSpec(
        vocab, model["unk_token"], model["continuing_subword_prefix"], min(model["max_input_chars_per_word"], _LARGEST_INT)
    )


def _template(post_processor: dict[str, Any] | None) -> TemplateSpec:
    """The single-text side of a post-processor."""
    _check_type(post_processor, "post_processor", POST_PROCESSORS)
    assert post_processor is not None
    if post_processor["type"] != "TemplateProcessing":
        # BertProcessing and RobertaProcessing: [CLS] text [SEP], all in segment 0.
        return TemplateSpec(((post_processor["cls"][1], 0),), ((post_processor["sep"][1], 0),), 0)
    before: list[tuple[int, int]] = []
    after: list[tuple[int, int]] = []
    type_ids: list[int] = []
    for piece in post_processor["single"]:
        if "Sequence" in piece:
            type_ids.append(piece["Sequence"]["type_id"])
            if piece["Sequence"]["id"] != "A" or len(type_ids) > 1:
                raise UnsupportedError(FILE, "post_processor.single", post_processor["single"], "one sequence A")
        else:
            special = piece["SpecialToken"]
            ids = post_processor["special_tokens"][special["id"]]["ids"]
            (after if type_ids else before).extend((id, special["type_id"]) for id in ids)
    if not type_ids:
        raise UnsupportedError(FILE, "post_processor.single", post_processor["single"], "one sequence A")
    return TemplateSpec(tuple(before), tuple(after), type_ids[0])
