"""Truncation, the special tokens around a text, and padding: token ids of all texts → matrices."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_exporter.tokenizers.spec import TokenizerSpec
from tf_exporter.tokenizers.stream import count
from tf_exporter.tokenizers.tables import graph_constant
from tf_exporter.tokenizers.wordpiece import Tokens


class Encodings(NamedTuple):
    """The token ids of all texts, cut to length; special tokens and padding are put around them by `Padding`."""

    ids: tf.Tensor
    """int32 [T], a pool to gather from: the tokens of all texts."""
    starts: tf.Tensor
    """int32 [batch]: where a text's first kept token is in the pool."""
    lengths: tf.Tensor
    """int32 [batch]: its tokens, special ones included."""


class Padded(NamedTuple):
    """int32 [rows, longest] each."""

    input_ids: tf.Tensor
    attention_mask: tf.Tensor
    token_type_ids: tf.Tensor


class Truncation:
    """Keeps as many tokens as leave room for the special ones."""

    def __init__(self, spec: TokenizerSpec) -> None:
        self._added = len(spec.template.prefix) + len(spec.template.suffix)
        self._limit = None if spec.max_length is None else spec.max_length - self._added
        self._from_left = spec.truncation_side == "left"

    def __call__(self, tokens: Tokens) -> Encodings:
        """Cuts each text."""
        starts, limits = tokens.row_splits[:-1], tokens.row_splits[1:]
        lengths = limits - starts
        if self._limit is not None:
            lengths = tf.minimum(lengths, self._limit)
            if self._from_left:
                starts = limits - lengths
        return Encodings(tokens.ids, starts, lengths + self._added)


class Padding:
    """TemplateProcessing (and its Bert and Roberta forms) for single texts, and padding to the longest row."""

    def __init__(self, spec: TokenizerSpec) -> None:
        template = spec.template
        around = [*template.prefix, *template.suffix, (spec.pad_id, spec.pad_type_id)]
        self._around = graph_constant(np.array([id for id, _ in around], np.int32))
        types = [template.type_id, *(type_id for _, type_id in around)]
        self._type_id = types[0] if len(set(types)) == 1 else None
        self._types = graph_constant(np.array(types, np.int32))
        self._prefix_length, self._suffix_length = len(template.prefix), len(template.suffix)
        self._left = spec.padding_side == "left"

    def __call__(self, encodings: Encodings, rows: slice = slice(None)) -> Padded:
        """`rows`: which of the texts, all by default."""
        starts, lengths = encodings.starts[rows, tf.newaxis], encodings.lengths[rows, tf.newaxis]
        longest = tf.reduce_max(tf.concat([lengths[:, 0], [0]], 0))
        column = tf.range(longest)[tf.newaxis, :]
        if self._left:
            column = column - (longest - lengths)
        # Gathered from the pool of [tokens, prefix, suffix, padding].
        first_suffix = count(encodings.ids) + self._prefix_length
        place = column - self._prefix_length
        behind = place - (lengths - (self._prefix_length + self._suffix_length))
        around = tf.where(place < 0, place, tf.minimum(behind, self._suffix_length))
        if self._left:
            around = tf.where(column < 0, self._suffix_length, around)
        source = tf.where((place >= 0) & (behind < 0), starts + place, first_suffix + around)
        ids = tf.gather(tf.concat([encodings.ids, self._around], 0), source)
        present = column < lengths
        if self._left:
            present &= column >= 0
        if self._type_id is not None:
            types = tf.fill(tf.shape(ids), self._type_id)
        else:
            types = tf.gather(self._types, tf.maximum(source - count(encodings.ids) + 1, 0))
        return Padded(ids, tf.cast(present, tf.int32), types)
