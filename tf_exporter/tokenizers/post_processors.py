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


class Padded(NamedTuple):
    """The inputs of a model: int32 [rows, longest] each."""

    input_ids: tf.Tensor
    attention_mask: tf.Tensor
    token_type_ids: tf.Tensor


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
        return Encodings(tokens.ids, starts, kept, tf.reduce_sum(kept, 1) + added)


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
        pair = encodings.starts.shape[1] == 2
        template, extra_ids = self._templates[pair], self._extra_ids[pair]
        lengths = encodings.lengths[rows, tf.newaxis]
        longest = tf.reduce_max(tf.concat([lengths[:, 0], [0]], 0)) if length is None else length
        position = tf.range(longest)[tf.newaxis, :]
        if self._left:
            position -= longest - lengths
        # Ids are gathered from [tokens, special tokens, padding].
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
        ids = tf.gather(tf.concat([encodings.ids, extra_ids], 0), source)
        return Padded(ids, tf.cast(present, tf.int32), tf.broadcast_to(types, tf.shape(ids)))
