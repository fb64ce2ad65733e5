"""The parts of a tokenizer, read from `AutoTokenizer(...).backend_tokenizer`.

tokenizer.json itself is not the source of truth: transformers 5 rebuilds most of it from class code
and tokenizer_config.json. Parts that are not reproduced are refused, here or where they are built.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer, pre_tokenizers

from tf_exporter.errors import UnsupportedError
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.untyped import TokenizersPart, TransformersTokenizer
from tf_exporter.tokenizers.templates import LARGEST_INT, Template, read_templates

FILE = "tokenizer.json"
BYTE_TOKENS = tuple(f"<0x{byte:02X}>" for byte in range(256))
"""The tokens that stand for the bytes of unknown characters."""

NORMALIZERS = tuple(
    """
    BertNormalizer Lowercase NFC NFD NFKC NFKD Nmt Precompiled Prepend Replace Sequence
    Strip StripAccents
    """.split()
)
PRE_TOKENIZERS = tuple(
    """
    BertPreTokenizer ByteLevel Digits Metaspace Punctuation Sequence Split Whitespace
    WhitespaceSplit
    """.split()
)
MODELS = ("BPE", "Unigram", "WordLevel", "WordPiece")
_LONGEST_ADDED_TOKEN = 4096
_LONGEST_PIECE = 256
_MOST_STEPS = 64
"""The most steps of a normalizer or pre-tokenizer: each may have tables. Real ones have a dozen."""
_HIGHEST_SCORE = 10.0
"""The limit of the lowest score: above it, a run of unknown characters could beat a known piece."""

_KEEPING_THE_START = ("Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Precompiled", "Prepend")
Part = tuple[ConfigFile, Any]
"""A step of tokenizer.json, and its object of `tokenizers`."""


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
class WordLevelSpec:
    """`tokenizers.models.WordLevel`."""

    vocab: dict[str, int]
    unk_token: str


@dataclass(frozen=True)
class UnigramSpec:
    """`tokenizers.models.Unigram`. `pieces`: a piece and its score for each id."""

    vocab: dict[str, int]
    pieces: tuple[tuple[str, float], ...]
    unk_id: int
    byte_fallback: bool


@dataclass(frozen=True)
class BPESpec:
    """`tokenizers.models.BPE`."""

    vocab: dict[str, int]
    merges: tuple[tuple[str, str], ...]
    unk_token: str | None
    continuing_subword_prefix: str
    end_of_word_suffix: str
    fuse_unk: bool
    byte_fallback: bool
    ignore_merges: bool


@dataclass(frozen=True)
class WordsSpec:
    """sentence-transformers' WhitespaceTokenizer."""

    vocab: dict[str, int]
    stop_words: frozenset[str]
    do_lower_case: bool


ModelSpec = WordPieceSpec | WordLevelSpec | UnigramSpec | BPESpec | WordsSpec


@dataclass(frozen=True)
class TokenizerSpec:
    """A whole tokenizer, from raw text to padded ids."""

    added_tokens: tuple[AddedTokenSpec, ...]
    encode_special_tokens: bool
    normalizer: tuple[Part, ...]
    pre_tokenizer: tuple[Part, ...]
    model: ModelSpec
    single: Template
    pair: Template
    max_length: int | None
    truncation_side: str
    padding_side: str
    pad_id: int
    pad_type_id: int
    has_token_type_ids: bool
    special_ids: frozenset[int]
    ids_without_rows: frozenset[int] = frozenset()
    """Ids without a row in the embedding table."""

    @property
    def tokens_without_rows(self) -> dict[str, int]:
        """Token → id, for `ids_without_rows` in ascending order."""
        tokens = {**self.model.vocab, **{token.content: token.id for token in self.added_tokens}}
        by_id = {id: token for token, id in tokens.items() if id in self.ids_without_rows}
        return {by_id[id]: id for id in sorted(by_id)}


def read_tokenizer(
    tokenizer: TransformersTokenizer,
    max_length: int | None,
    templates: tuple[Template, Template] | None = None,
) -> TokenizerSpec:
    """The spec of a transformers tokenizer.

    Args:
        tokenizer: the tokenizer.
        max_length: the number of tokens to keep of a text; None: all.
        templates: used in place of those of the post-processor, which is not read then.

    Raises:
        UnsupportedError: a part is not reproduced.
    """
    backend: Tokenizer = tokenizer.backend_tokenizer
    parts = json.loads(backend.to_str())
    for name in ("input_ids", "attention_mask"):
        if name not in tokenizer.model_input_names:
            key = "model_input_names"
            raise UnsupportedError(
                "tokenizer_config.json", key, tokenizer.model_input_names, f"names with {name}"
            )
    for token in parts["added_tokens"]:
        if len(token["content"]) > _LONGEST_ADDED_TOKEN:
            supported = f"at most {_LONGEST_ADDED_TOKEN} characters"
            raise UnsupportedError(FILE, "added_tokens.content", token["content"], supported)
    single, pair = templates or read_templates(FILE, parts["post_processor"])
    if max_length is not None and max_length < single.added:
        supported = f"at least the {single.added} special tokens"
        raise UnsupportedError("sentence_bert_config.json", "max_seq_length", max_length, supported)
    if tokenizer.pad_token_id is None:
        raise UnsupportedError("tokenizer_config.json", "pad_token", None, "a padding token")
    normalizer = _steps(parts["normalizer"], backend.normalizer, "normalizer", NORMALIZERS)
    pre_tokenizer = _steps(
        parts["pre_tokenizer"], backend.pre_tokenizer, "pre_tokenizer", PRE_TOKENIZERS
    )
    for key, steps in (("normalizer", normalizer), ("pre_tokenizer", pre_tokenizer)):
        if len(steps) > _MOST_STEPS:
            raise UnsupportedError(FILE, key, f"{len(steps)} steps", f"at most {_MOST_STEPS} steps")
    _check_first(normalizer, pre_tokenizer)
    model = _model(parts["model"], backend)
    if isinstance(model, BPESpec) and model.ignore_merges:
        _check_whole_words(model.vocab, pre_tokenizer)
    return TokenizerSpec(
        added_tokens=tuple(
            AddedTokenSpec(**token)
            for token in sorted(parts["added_tokens"], key=lambda token: not token["special"])
        ),
        encode_special_tokens=backend.encode_special_tokens,
        normalizer=tuple(normalizer),
        pre_tokenizer=tuple(pre_tokenizer),
        model=model,
        single=single,
        pair=pair,
        max_length=max_length,
        truncation_side=_side(tokenizer.truncation_side, "truncation_side"),
        padding_side=_side(tokenizer.padding_side, "padding_side"),
        pad_id=tokenizer.pad_token_id,
        pad_type_id=tokenizer.pad_token_type_id,
        has_token_type_ids="token_type_ids" in tokenizer.model_input_names,
        special_ids=frozenset(tokenizer.all_special_ids),
    )


def _steps(
    part: dict[str, Any] | None, step: TokenizersPart, key: str, supported: tuple[str, ...]
) -> list[Part]:
    """The steps of a normalizer or pre-tokenizer; a Sequence is flattened."""
    if part is None:
        return []
    kind = part["type"]
    if kind not in supported:
        raise UnsupportedError(FILE, f"{key}.type", kind, supported)
    if kind != "Sequence":
        return [(ConfigFile(FILE, part, f"{key}."), step)]
    name = next(name for name in ("normalizers", "pretokenizers") if name in part)
    return [
        inner_step
        for index, inner in enumerate(part[name])
        for inner_step in _steps(inner, step[index], f"{key}.{name}[{index}]", supported)
    ]


def _check_whole_words(vocab: dict[str, int], pre_tokenizer: list[Part]) -> None:
    """Refuses tokens of BPE with ignore_merges that have a character which is not a token.

    Such a token is looked up as a whole word, but the word's unknown characters are not kept.
    After ByteLevel, only the characters of its alphabet occur.
    """
    byte_level = bool(pre_tokenizer) and pre_tokenizer[-1][0].values["type"] == "ByteLevel"
    alphabet = set(pre_tokenizers.ByteLevel.alphabet()) if byte_level else None
    for token in vocab:
        unknown = [char for char in token if char not in vocab]
        if unknown and (alphabet is None or alphabet.issuperset(token)):
            supported = (
                "tokens of characters that are tokens, beside ignore_merges; "
                f"{unknown[0]!r} is not one"
            )
            raise UnsupportedError(FILE, "model.vocab", token, supported)


def _check_first(normalizer: list[Part], pre_tokenizer: list[Part]) -> None:
    """Refuses normalizers that may drop the start of a text, if the prepend scheme is "first".

    `tokenizers` then prepends to words that begin with the first character of the raw text.
    """
    if not any(config.values.get("prepend_scheme") == "first" for config, _ in pre_tokenizer):
        return
    for config, _ in normalizer:
        kind = config.values["type"]
        one_by_one = (
            kind == "Replace"
            and len(config.values["pattern"].get("String", "")) == 1
            and config.values["content"]
        )
        if kind not in _KEEPING_THE_START and not one_by_one:
            raise config.unsupported(
                "type",
                f"{', '.join(_KEEPING_THE_START)} before a Metaspace that prepends to the first",
            )


def _side(value: str, key: str) -> str:
    if value not in ("left", "right"):
        raise UnsupportedError("tokenizer_config.json", key, value, ("left", "right"))
    return value


def _model(part: dict[str, Any], backend: Tokenizer) -> ModelSpec:
    config = ConfigFile(FILE, part, "model.")
    config.require("type", MODELS)
    kind = config.take("type", str)
    read: dict[str, Callable[[ConfigFile, dict[str, int]], ModelSpec]]
    read = {"WordPiece": _wordpiece, "WordLevel": _word_level, "Unigram": _unigram, "BPE": _bpe}
    config.take("vocab", (dict, list))
    vocab = backend.get_vocab(with_added_tokens=False)
    if vocab and max(vocab.values()) >= LARGEST_INT:
        raise UnsupportedError(FILE, "model.vocab", max(vocab.values()), "ids below 2³¹ − 1")
    if len(set(vocab.values())) < len(vocab) and kind != "Unigram":
        # Merges and lookups would give one of the tokens at random.
        raise UnsupportedError(FILE, "model.vocab", _repeated(vocab), "one token for each id")
    spec = read[kind](config, vocab)
    config.finish()
    return spec


def _repeated(vocab: dict[str, int]) -> list[str]:
    """Tokens that share an id."""
    tokens: dict[int, list[str]] = {}
    for token, id in vocab.items():
        tokens.setdefault(id, []).append(token)
    return next(sorted(names) for names in tokens.values() if len(names) > 1)


def _known(config: ConfigFile, key: str, vocab: dict[str, int]) -> str:
    token: str = config.take(key, str)
    if token not in vocab:
        raise config.unsupported(key, "a token of the vocabulary")
    return token


def _wordpiece(config: ConfigFile, vocab: dict[str, int]) -> WordPieceSpec:
    return WordPieceSpec(
        vocab,
        _known(config, "unk_token", vocab),
        config.take("continuing_subword_prefix", str),
        min(config.take("max_input_chars_per_word", int), LARGEST_INT),
    )


def _word_level(config: ConfigFile, vocab: dict[str, int]) -> WordLevelSpec:
    return WordLevelSpec(vocab, _known(config, "unk_token", vocab))


def _unigram(config: ConfigFile, vocab: dict[str, int]) -> UnigramSpec:
    pieces = tuple((piece, score) for piece, score in config.values["vocab"])
    unk_id = config.take("unk_id", (int, type(None)))
    if unk_id is None:
        raise config.unsupported("unk_id", "the index of the unknown piece")
    scores = [score for _, score in pieces]
    if not all(map(math.isfinite, scores)) or min(scores) > _HIGHEST_SCORE:
        raise UnsupportedError(
            FILE,
            "model.vocab",
            min(scores),
            f"finite scores, the lowest of them at most {_HIGHEST_SCORE}",
        )
    if (longest := max((piece for piece, _ in pieces), key=len)) and len(longest) > _LONGEST_PIECE:
        raise UnsupportedError(
            FILE, "model.vocab", longest, f"pieces of at most {_LONGEST_PIECE} characters"
        )
    byte_fallback = config.take("byte_fallback", bool, False) and _has_bytes(vocab)
    return UnigramSpec(vocab, pieces, unk_id, byte_fallback)


def _has_bytes(vocab: dict[str, int]) -> bool:
    """Whether the vocabulary has a token for every byte; one with some of them is refused."""
    count = sum(token in vocab for token in BYTE_TOKENS)
    if count not in (0, 256):
        raise UnsupportedError(
            FILE, "model.byte_fallback", True, f"tokens for all 256 bytes, not for {count}"
        )
    return count == 256


def _has_byte_level(vocab: dict[str, int]) -> bool:
    """Whether every character of byte-level text is a token."""
    return all(char in vocab for char in pre_tokenizers.ByteLevel.alphabet())


def _bpe(config: ConfigFile, vocab: dict[str, int]) -> BPESpec:
    if config.take("dropout", (float, int, type(None))):
        raise config.unsupported("dropout", "null")
    prefix = config.take("continuing_subword_prefix", (str, type(None))) or ""
    suffix = config.take("end_of_word_suffix", (str, type(None))) or ""
    byte_fallback = config.take("byte_fallback", bool, False) and _has_bytes(vocab)
    ignore_merges = config.take("ignore_merges", bool, False)
    for key, value in (("byte_fallback", byte_fallback), ("ignore_merges", ignore_merges)):
        if value and (prefix or suffix):
            raise config.unsupported(
                key, "false beside continuing_subword_prefix or end_of_word_suffix"
            )
    unk_token = config.take("unk_token", (str, type(None)))
    merges = tuple((left, right) for left, right in config.take("merges", list))
    for _, right in merges:
        if not right.startswith(prefix):
            raise UnsupportedError(
                FILE, "model.merges", right, f"second tokens that begin with {prefix!r}"
            )
    components = {token for merge in merges for token in merge}
    special = {*BYTE_TOKENS} if byte_fallback else {unk_token}
    if inside := special & components:
        supported = "no merges of byte tokens or the unknown token"
        raise UnsupportedError(FILE, "model.merges", min(map(str, inside)), supported)
    if (
        unk_token is not None
        and unk_token not in vocab
        and not byte_fallback
        and not _has_byte_level(vocab)
    ):
        raise config.unsupported("unk_token", "a token of the vocabulary")
    return BPESpec(
        vocab,
        merges,
        unk_token,
        prefix,
        suffix,
        config.take("fuse_unk", bool, False),
        byte_fallback,
        ignore_merges,
    )
