"""Truncation, special tokens around texts, and padding: token ids of all texts → matrices."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_exporter.tokenizers.ops.ragged import Tokens, count, select
from tf_exporter.tokenizers.ops.tables import graph_constant
from tf_exporter.tokenizers.spec import TokenizerSpec


class Encodings(NamedTuple):
    """The token ids of all texts, truncated; `Padding` adds special tokens and padding."""

    ids: tf.Tensor
    """int32 [T]: the tokens of all texts, before truncation."""
    starts: tf.Tensor
    """int32 [batch, 1], for pairs [batch, 2]: the index in `ids` of a text's first kept token."""
    sizes: tf.Tensor
    """int32 [batch, 1 or 2]: the number of tokens that are kept of a text."""
    lengths: tf.Tensor
    """int32 [batch]: the number of tokens of a row, special tokens included."""
    spans: tf.Tensor | None = None
    """The text of each token, see ops/spans.py; None where offsets are not asked for."""


class Padded(NamedTuple):
    """The inputs of a model: int32 [rows, longest] each."""

    input_ids: tf.Tensor
    attention_mask: tf.Tensor
    token_type_ids: tf.Tensor


class Described(NamedTuple):
    """The tokens of all rows as transformers gives them: int32 [rows, longest] each."""

    input_ids: tf.Tensor
    attention_mask: tf.Tensor
    special_tokens_mask: tf.Tensor
    """1 for padding and for special tokens around texts, but not for those that a text spells."""
    offset_mapping: tf.Tensor | None
    """int32 [rows, longest, 2]: see ops/spans.py; (0, 0) where `special_tokens_mask` is 1."""


class Truncation:
    """Truncates texts, leaving room for special tokens; pairs by transformers' `longest_first`."""

    def __init__(self, spec: TokenizerSpec) -> None:
        self._max_length = spec.max_length
        self._added = spec.single.added, spec.pair.added
        self._from_left = spec.truncation_side == "left"

    def __call__(self, tokens: Tokens) -> Encodings:
        """Truncates each text."""
        lengths = tokens.row_splits[1:] - tokens.row_splits[:-1]
        kept = lengths
        if self._max_length is not None:
            kept = tf.minimum(lengths, self._max_length - self._added[0])
        return self._encodings(tokens, lengths[:, tf.newaxis], kept[:, tf.newaxis], self._added[0])

    def pairs(self, tokens: Tokens) -> Encodings:
        """Truncates each pair: rows 2 i and 2 i + 1 of the tokens."""
        lengths = tf.reshape(tokens.row_splits[1:] - tokens.row_splits[:-1], [-1, 2])
        kept = lengths
        if self._max_length is not None:
            limit = self._max_length - self._added[1]
            shorter = tf.reduce_min(lengths, 1)
            # As `truncate_encodings` of tokenizers: the longer text is truncated first, then
            # both to half of the limit.
            room = select(shorter > limit, shorter, tf.maximum(shorter, limit - shorter))
            halved = shorter + room > limit
            less, more = (
                select(halved, limit // 2, shorter),
                select(halved, limit // 2 + limit % 2, room),
            )
            first_longer = lengths[:, 0] > lengths[:, 1]
            most = tf.stack([select(first_longer, more, less), select(first_longer, less, more)], 1)
            fits = tf.reduce_sum(lengths, 1, keepdims=True) <= limit
            kept = select(fits, lengths, tf.minimum(lengths, most))
        return self._encodings(tokens, lengths, kept, self._added[1])

    def _encodings(
        self, tokens: Tokens, lengths: tf.Tensor, kept: tf.Tensor, added: int
    ) -> Encodings:
        starts = tf.reshape(tokens.row_splits[:-1], tf.shape(kept))
        if self._from_left:
            starts += lengths - kept
        lengths = tf.reduce_sum(kept, 1) + added
        return Encodings(tokens.ids, starts, kept, lengths, tokens.spans)


class Padding:
    """Adds special tokens around one text or two, and pads to the longest row."""

    def __init__(self, spec: TokenizerSpec) -> None:
        self._templates = spec.single, spec.pair
        self._pad_type_id = spec.pad_type_id
        self._extra_ids = [
            graph_constant(np.array([*template.special_ids, spec.pad_id], np.int32))
            for template in self._templates
        ]
        self._left = spec.padding_side == "left"

    def __call__(
        self, encodings: Encodings, rows: slice = slice(None), length: tf.Tensor | int | None = None
    ) -> Padded:
        """Pads the texts or pairs of `rows` to `length`, by default all to the longest row."""
        source, types, present = self._sources(encodings, rows, length)
        ids = tf.gather(self._pool(encodings), source)
        return Padded(ids, tf.cast(present, tf.int32), tf.broadcast_to(types, tf.shape(ids)))

    def described(self, encodings: Encodings) -> Described:
        """All rows, padded to the longest one."""
        source, _, present = self._sources(encodings, slice(None), None)
        special = source >= count(encodings.ids)
        spans = encodings.spans
        if spans is not None:
            none = tf.zeros([count(self._extra_ids[self._is_pair(encodings)]), 2], tf.int32)
            spans = tf.gather(tf.concat([spans, none], 0), source)
        ids = tf.gather(self._pool(encodings), source)
        return Described(ids, tf.cast(present, tf.int32), tf.cast(special, tf.int32), spans)

    def _is_pair(self, encodings: Encodings) -> bool:
        pair: bool = encodings.starts.shape[1] == 2
        return pair

    def _pool(self, encodings: Encodings) -> tf.Tensor:
        """The ids that rows are made of: the tokens of texts, special tokens, and padding."""
        return tf.concat([encodings.ids, self._extra_ids[self._is_pair(encodings)]], 0)

    def _sources(
        self, encodings: Encodings, rows: slice, length: tf.Tensor | int | None
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The place in the pool, the segment, and whether there is a token; [rows, length] each.

        The segment may be a scalar, the same everywhere.
        """
        template = self._templates[self._is_pair(encodings)]
        lengths = encodings.lengths[rows, tf.newaxis]
        longest = tf.reduce_max(tf.concat([lengths[:, 0], [0]], 0)) if length is None else length
        position = tf.range(longest)[tf.newaxis, :]
        if self._left:
            position -= longest - lengths
        special = count(encodings.ids)
        padding = special + template.added
        parts = []
        offset: tf.Tensor = tf.constant(0)
        for piece in template.pieces:
            if piece.ids is None:
                start, size = (
                    part[rows, piece.text, tf.newaxis]
                    for part in (encodings.starts, encodings.sizes)
                )
            else:
                start, size = special, tf.constant(len(piece.ids))
                special += len(piece.ids)
            parts.append((offset + size, start - offset, piece.type_id))
            offset += size
        source, types = padding, tf.constant(self._pad_type_id)
        same_type = {self._pad_type_id} == {piece.type_id for piece in template.pieces}
        for end, shift, type_id in reversed(parts):
            here = position < end
            source = tf.where(here, position + shift, source)
            types = types if same_type else tf.where(here, type_id, types)
        present = position < lengths
        if self._left:
            source, types = (
                tf.where(position < 0, padding, source),
                tf.where(position < 0, self._pad_type_id, types),
            )
            present &= position >= 0
        return source, types, present
