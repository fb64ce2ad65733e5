"""The whole tokenizer: strings → token ids, by the same steps as `tokenizers`.

added tokens in the raw text → normalizer → added tokens in the normalized text → pre-tokenizer →
model → post-processor → padding
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tokenizers import Tokenizer

from tf_exporter.errors import UnsupportedError
from tf_exporter.tokenizers.added_tokens import AddedTokenPattern, AddedTokenSplitter
from tf_exporter.tokenizers.contract import TextTokenizer
from tf_exporter.tokenizers.models.bpe import BPE
from tf_exporter.tokenizers.models.tensorflow_text import FastWordPiece
from tf_exporter.tokenizers.models.unigram import Unigram
from tf_exporter.tokenizers.models.word_level import WordLevel
from tf_exporter.tokenizers.models.wordpiece import WordPiece
from tf_exporter.tokenizers.normalizers.aligned import build_aligned_normalizer
from tf_exporter.tokenizers.normalizers.steps import build_normalizer
from tf_exporter.tokenizers.ops.ragged import Tokens, decode, one_function
from tf_exporter.tokenizers.ops.spans import with_spans
from tf_exporter.tokenizers.post_processors import Described, Encodings, Padding, Truncation
from tf_exporter.tokenizers.pre_tokenizers.steps import (
    Words,
    build_pre_tokenizer,
    isolated_code_points,
    whole_sections,
)
from tf_exporter.tokenizers.spec import (
    FILE,
    AddedTokenSpec,
    BPESpec,
    TokenizerSpec,
    UnigramSpec,
    WordLevelSpec,
    WordPieceSpec,
)
from tf_exporter.tokenizers.trimming import Trimming, read_trims

_MODELS: dict[type, Any] = {
    BPESpec: BPE,
    UnigramSpec: Unigram,
    WordLevelSpec: WordLevel,
    WordPieceSpec: WordPiece,
}


class TokenizerGraph(TextTokenizer):
    """A tokenizer in TensorFlow ops, all of them on the CPU.

    Args:
        spec: the tokenizer.
        backend: the tokenizer that `spec` was read from; it normalizes the added tokens.
        ops: "core", or "tensorflow-text" for a model in ops of that library.
        offsets: whether encodings have the spans of their tokens, equal to the offsets of
            `tokenizers`. It takes a graph of its own, as that of the ids has fewer steps.
        shared: a tokenizer with the same model in stock ops, whose tables are used, too.
    """

    def __init__(
        self,
        spec: TokenizerSpec,
        backend: Tokenizer,
        ops: str = "core",
        offsets: bool = False,
        shared: TokenizerGraph | None = None,
    ) -> None:
        added = len(spec.added_tokens)
        raw, normalized = _patterns(spec, backend)
        self._offsets, self._trimming = offsets, _trimming(spec, backend) if offsets else None
        trims = self._trimming is not None
        self._raw_added_tokens = AddedTokenSplitter(raw, added, trims) if raw else None
        build = build_aligned_normalizer if offsets else build_normalizer
        self._normalizer = build(spec.normalizer, added)
        self._normalized_added_tokens = (
            AddedTokenSplitter(normalized, added, trims) if normalized else None
        )
        self._pre_tokenizer: list[Callable[[Words], Words]] = (
            build_pre_tokenizer(spec.pre_tokenizer, added)
            if shared is None
            else shared._pre_tokenizer
        )
        self._model: Callable[[Words], Tokens] = (
            _model(spec, ops) if shared is None else shared._model
        )
        self._truncation = Truncation(spec)
        self.padding: Padding = Padding(spec)
        self._one_function = one_function(self._tokens)

    def __call__(self, texts: tf.Tensor) -> Encodings:
        """Bytes [batch] → the token ids of each text, truncated but not padded."""
        with tf.device("/CPU:0"):
            return self._trimmed(self._truncation(self._one_function(texts)))

    def pairs(self, first: tf.Tensor, second: tf.Tensor) -> Encodings:
        """Bytes [batch] twice → the token ids of each pair of texts, truncated."""
        with tf.device("/CPU:0"):
            return self._trimmed(
                self._truncation.pairs(
                    self._one_function(tf.reshape(tf.stack([first, second], 1), [-1]))
                )
            )

    def tokens(self, texts: tf.Tensor) -> Tokens:
        """Bytes [batch] → all token ids of each text, not truncated and without special tokens."""
        with tf.device("/CPU:0"):
            return self._one_function(texts)

    def described(self, encodings: Encodings) -> Described:
        """See `Padding.described`."""
        with tf.device("/CPU:0"):
            return self.padding.described(encodings)

    def _trimmed(self, encodings: Encodings) -> Encodings:
        return encodings if self._trimming is None else self._trimming(encodings)

    def _tokens(self, texts: tf.Tensor) -> Tokens:
        stream = decode(texts)
        if self._offsets:
            stream = with_spans(stream, self._trimming is not None)
        if self._raw_added_tokens:
            stream = self._raw_added_tokens(stream)
        for normalize in self._normalizer:
            stream = normalize(stream)
        if self._normalized_added_tokens:
            stream = self._normalized_added_tokens(stream)
        words = whole_sections(stream)
        for split in self._pre_tokenizer:
            words = split(words)
        return self._model(words)


def _model(spec: TokenizerSpec, ops: str) -> Callable[[Words], Tokens]:
    ids = [token.id for token in spec.added_tokens]
    if ops != "core":
        return FastWordPiece(spec.model, ids, isolated_code_points(spec.pre_tokenizer))
    kinds = [config.values["type"] for config, _ in spec.pre_tokenizer]
    is_bpe = isinstance(spec.model, BPESpec)
    options = {"byte_level": kinds[-1:] == ["ByteLevel"]} if is_bpe else {}
    model: Callable[[Words], Tokens] = _MODELS[type(spec.model)](spec.model, ids, **options)
    return model


def _trimming(spec: TokenizerSpec, backend: Tokenizer) -> Trimming | None:
    """The trimming of offsets by the post-processor, if there is any."""
    trims = read_trims(json.loads(backend.to_str())["post_processor"])
    return Trimming(trims, spec.model.vocab) if trims else None


def _patterns(
    spec: TokenizerSpec, backend: Tokenizer
) -> tuple[list[AddedTokenPattern], list[AddedTokenPattern]]:
    """The added tokens to match in the raw text, and those to match in the normalized text.

    Tokens that are equal after normalization are refused. Their ids differ, and which one the
    reference matches is random each time it is loaded: it builds its search from a hash map.
    """
    raw: dict[str, AddedTokenPattern] = {}
    normalized: dict[str, AddedTokenPattern] = {}
    for number, token in enumerate(spec.added_tokens):
        content = token.content
        if token.normalized and backend.normalizer is not None:
            content = backend.normalizer.normalize_str(content)
        if not content:
            raise UnsupportedError(
                FILE,
                f"added_tokens[{number}].content",
                token.content,
                "text that the normalizer does not remove",
            )
        patterns = normalized if token.normalized else raw
        if content in patterns:
            other = spec.added_tokens[patterns[content].number]
            supported = (
                f"tokens that differ after normalization; {other.content!r} becomes {content!r}, "
                f"too, and the reference gives id {other.id} or {token.id}, at random at each load"
            )
            raise UnsupportedError(
                FILE, f"added_tokens[{number}].content", token.content, supported
            )
        patterns[content] = _pattern(content, number, token, spec)
    return list(raw.values()), list(normalized.values())


def _pattern(
    content: str, number: int, token: AddedTokenSpec, spec: TokenizerSpec
) -> AddedTokenPattern:
    return AddedTokenPattern(
        content,
        number,
        single_word=token.single_word,
        lstrip=token.lstrip,
        rstrip=token.rstrip,
        never=spec.encode_special_tokens and token.special,
    )
