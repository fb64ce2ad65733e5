"""Truncation, the special tokens around a text, and padding: token ids of all texts → matrices."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_exporter.tokenizers.spec import TokenizerSpec
from tf_exporter.tokenizers.stream import count, offsets
from tf_exporter.tokenizers.tables import graph_constant
from tf_exporter.tokenizers.wordpiece import Tokens


class Encodings(NamedTuple):
    """int32 ids of all texts with their special tokens, not padded: `ids` [T], `row_splits` [batch + 1]."""

    ids: tf.Tensor
    type_ids: tf.Tensor
    row_splits: tf.Tensor


class Padded(NamedTuple):
    """int32 [rows, longest] each."""

    input_ids: tf.Tensor
    attention_mask: tf.Tensor
    token_type_ids: tf.Tensor


class PostProcessor:
    """TemplateProcessing (and its Bert and Roberta forms) for single texts, after truncation."""

    def __init__(self, spec: TokenizerSpec) -> None:
        template = spec.template
        around = [*template.prefix, *template.suffix]
        self._added = graph_constant(np.array([id for id, _ in around], np.int32))
        self._added_type_ids = graph_constant(np.array([type_id for _, type_id in around], np.int32))
        self._type_id = template.type_id
        self._prefix_length, self._suffix_length = len(template.prefix), len(template.suffix)
        self._limit = None if spec.max_length is None else spec.max_length - len(around)
        self._from_left = spec.truncation_side == "left"

    def __call__(self, tokens: Tokens) -> Encodings:
        """Cuts each text and puts its special tokens around it."""
        starts, limits = tokens.row_splits[:-1], tokens.row_splits[1:]
        lengths = limits - starts
        if self._limit is not None:
            lengths = tf.minimum(lengths, self._limit)
            if self._from_left:
                starts = limits - lengths
        added = self._prefix_length + self._suffix_length
        row_splits = offsets(lengths + added)
        total = row_splits[-1]
        # Where each output comes from: the pool of [tokens, prefix, suffix].
        pool = tf.concat([tokens.ids, self._added], 0)
        prefix_at = count(tokens.ids)
        row = tf.cumsum(tf.scatter_nd(row_splits[1:-1, tf.newaxis], tf.ones_like(lengths[1:]), [total + 1]))[:-1]
        place = tf.range(total) - tf.gather(row_splits, row) - self._prefix_length
        length = tf.gather(lengths, row)
        source = tf.where(place < 0, prefix_at + self._prefix_length + place, tf.gather(starts, row) + place)
        source = tf.where(place >= length, prefix_at + self._prefix_length + place - length, source)
        type_pool = tf.concat([tf.fill([prefix_at], self._type_id), self._added_type_ids], 0)
        return Encodings(tf.gather(pool, source), tf.gather(type_pool, source), row_splits)


class Padding:
    """Pads rows to the longest among them."""

    def __init__(self, spec: TokenizerSpec) -> None:
        self._pad_id, self._pad_type_id = spec.pad_id, spec.pad_type_id
        self._left = spec.padding_side == "left"

    def __call__(self, encodings: Encodings, starts: tf.Tensor, lengths: tf.Tensor) -> Padded:
        """`starts`, `lengths` int32 [rows]: which runs of `encodings` make the rows."""
        longest = tf.reduce_max(tf.concat([lengths, [0]], 0))
        column = tf.range(longest)[tf.newaxis, :]
        if self._left:
            column = column - (longest - lengths)[:, tf.newaxis]
        present = (column >= 0) & (column < lengths[:, tf.newaxis])
        source = tf.where(present, starts[:, tf.newaxis] + column, 0)
        ids = tf.concat([encodings.ids, [0]], 0)
        type_ids = tf.concat([encodings.type_ids, [0]], 0)
        return Padded(
            tf.where(present, tf.gather(ids, source), self._pad_id),
            tf.cast(present, tf.int32),
            tf.where(present, tf.gather(type_ids, source), self._pad_type_id),
        )
