"""The texts of one task of a multi-vector model: their own limit, and the expansion of queries."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import tensorflow as tf

from tf_exporter.modules.base import TextModule
from tf_exporter.modules.features import Features
from tf_exporter.modules.transformer.late import Expansion
from tf_exporter.modules.transformer.layer import Transformer
from tf_exporter.tokenizers.contract import TextTokenizer
from tf_exporter.tokenizers.pipeline import TokenizerGraph
from tf_exporter.tokenizers.post_processors import (
    Described,
    Encodings,
    Padding,
    Truncation,
)
from tf_exporter.tokenizers.spec import TokenizerSpec


class Expanded(NamedTuple):
    """The inputs of a model with an expansion: int32 [rows, length], and bool for `expanded`."""

    input_ids: tf.Tensor
    attention_mask: tf.Tensor
    token_type_ids: tf.Tensor
    expanded: tf.Tensor
    """Whether a place is filled with the token of the expansion."""


class ExpandedPadding:
    """Fills rows up to a length with a token, and pads them further as `Padding` does."""

    def __init__(self, spec: TokenizerSpec, expansion: Expansion, id: int) -> None:
        self._padding = Padding(spec)
        self._expansion, self._id = expansion, id

    def __call__(
        self, encodings: Encodings, rows: slice = slice(None), length: tf.Tensor | int | None = None
    ) -> Expanded:
        """The rows, at least as long as the expansion; see `Padding`."""
        least = self._expansion.length
        if length is None:
            length = tf.reduce_max(tf.concat([encodings.lengths[rows], [least]], 0))
        ids, mask, types = self._padding(encodings, rows, length)
        expanded = (mask == 0) & (tf.range(length)[tf.newaxis] < least)
        ids = tf.where(expanded, self._id, ids)
        mask = tf.where(expanded, 1, mask) if self._expansion.attend else mask
        return Expanded(ids, mask, types, expanded)


class LateTokenizer(TextTokenizer):
    """A tokenizer for the texts of a task. It shares all tables with the model's tokenizer.

    Args:
        tokenizer: the model's tokenizer.
        spec: its spec, with the limit of the task.
        expansion: the expansion of queries and the id of its token, if any.
    """

    def __init__(
        self,
        tokenizer: TokenizerGraph,
        spec: TokenizerSpec,
        expansion: tuple[Expansion, int] | None,
    ) -> None:
        self._tokens, self._truncation = tokenizer.tokens, Truncation(spec)
        self._bare_padding = Padding(spec)
        self.padding = (
            self._bare_padding if expansion is None else ExpandedPadding(spec, *expansion)
        )

    def __call__(self, texts: tf.Tensor) -> Encodings:
        tokens = self._tokens(texts)
        with tf.device("/CPU:0"):
            return self._truncation(tokens)

    def described(self, encodings: Encodings) -> Described:
        """See `Padding.described`; queries are not expanded."""
        return self._bare_padding.described(encodings)


class LateTransformer(TextModule):
    """A Transformer for the texts of one task. It shares all variables with the Transformer."""

    def __init__(self, transformer: Transformer, task: str):
        """`task`: "query", "document", or "" for texts without a task."""
        super().__init__()
        self.transformer = transformer
        limit, expansion = transformer.late_texts(task)
        self.tokenizer_spec = replace(transformer.tokenizer_spec, max_length=limit)
        self.hf_tokenizer = transformer.hf_tokenizer
        graph = transformer.tokenizer
        assert isinstance(graph, TokenizerGraph)
        self.aligned = partial(transformer.aligned_for, self.tokenizer_spec)
        self.tokenizer = LateTokenizer(graph, self.tokenizer_spec, expansion)
        self.micro_batch_tokens = transformer.micro_batch_tokens
        self.takes_long, self.pads_leak = transformer.takes_long, transformer.pads_leak
        self.truncated_to = transformer.truncated_to
        if expansion is not None:
            self.least_length = expansion[0].length

    def __call__(self, features: Features) -> Features:
        return self.transformer(features)

    def for_long_texts(self, features: Features) -> Features:
        """The same result, with attention in blocks."""
        return self.transformer.for_long_texts(features)
