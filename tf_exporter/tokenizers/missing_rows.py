"""Tokens whose ids have no row in the table of embeddings: texts that contain one are an error when the graph runs.

The reference loads such a model, and fails for such texts. On a GPU `tf.gather` would give zeros, so the ids are checked.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import tensorflow as tf

from tf_exporter.errors import UnsupportedError
from tf_exporter.tokenizers.post_processors import Encodings
from tf_exporter.tokenizers.spec import TokenizerSpec
from tf_exporter.tokenizers.stream import offsets, places
from tf_exporter.tokenizers.tables import graph_constant

logger = logging.getLogger("tf_exporter")

_TOLD = 5
"""Tokens that the warning names."""


def with_rows(spec: TokenizerSpec, rows: int, file: str, key: str, always: Iterable[int]) -> TokenizerSpec:
    """The tokenizer with `ids_without_rows` filled in.

    Args:
        spec: the tokenizer.
        rows: how many rows the table of embeddings has.
        file: where that is written.
        key: under which key.
        always: ids that every batch has: special tokens around texts, and padding.

    Raises:
        UnsupportedError: one of `always` has no row.
    """
    highest = max([-1, *always])
    if highest >= rows:
        raise UnsupportedError(file, key, rows, f"more than the token id {highest}, which every text needs")
    ids = {*spec.model.vocab.values(), *(token.id for token in spec.added_tokens)}
    spec = replace(spec, ids_without_rows=frozenset(id for id in ids if id >= rows))
    if tokens := spec.tokens_without_rows:
        first = ", ".join(f"{token!r} ({id})" for token, id in list(tokens.items())[:_TOLD])
        more = ", …" if len(tokens) > _TOLD else ""
        logger.warning(
            "%s: %s = %d, so %d token(s) of the tokenizer have no embedding: %s%s; a text that contains one will be an error",
            *(file, key, rows, len(tokens), first, more),
        )
    return spec


class RowCheck:
    """Stops the graph at the first token without a row, with its id and its text; token ids alone are still given."""

    def __init__(self, spec: TokenizerSpec) -> None:
        """`spec`: has tokens without rows."""
        tokens = spec.tokens_without_rows
        self._ids = graph_constant(np.array([*tokens.values()], np.int32))
        self._names = [token.encode() for token in tokens]

    def __call__(self, encodings: Encodings) -> Encodings:
        """The same; an error where a token is left, after texts were cut, that has no row."""
        with tf.device("/CPU:0"):
            bad = encodings.ids >= self._ids[0]
            before = offsets(tf.cast(bad, tf.int32))
            # Of each text, the first one that is kept.
            first, size = tf.reshape(encodings.starts, [-1]), tf.reshape(encodings.sizes, [-1])
            nth = tf.gather(before, first)
            hit = tf.boolean_mask(nth, tf.gather(before, first + size) > nth)[:1]
            id = tf.gather(encodings.ids, tf.gather(places(bad), hit))
            names = tf.gather(tf.constant(self._names), tf.searchsorted(self._ids, id))
            message = "a text contains a token that the model has no embedding for; its id and the token are"
            with tf.control_dependencies([tf.debugging.Assert(tf.size(hit) == 0, [message, id, names])]):
                return encodings._replace(ids=tf.identity(encodings.ids))


def row_check(spec: TokenizerSpec) -> RowCheck | None:
    """None where every token has a row."""
    return RowCheck(spec) if spec.ids_without_rows else None
