"""Tokens whose ids have no row in the embedding table: a text with one is an error at run time.

The reference loads such a model and fails on such texts. The graph checks the ids itself, because
`tf.gather` returns zeros for them on a GPU.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import tensorflow as tf

from tf_exporter.errors import UnsupportedError
from tf_exporter.tokenizers.ops.ragged import offsets
from tf_exporter.tokenizers.ops.tables import graph_constant
from tf_exporter.tokenizers.post_processors import Encodings
from tf_exporter.tokenizers.spec import TokenizerSpec

logger = logging.getLogger("tf_exporter")

_NAMED = 5
"""The number of tokens that the warning names."""
NO_ID = -1
"""Stands for no token."""


def with_rows(
    spec: TokenizerSpec, rows: int, file: str, key: str, always: Iterable[int]
) -> TokenizerSpec:
    """The tokenizer with `ids_without_rows` filled in.

    Args:
        spec: the tokenizer.
        rows: the number of rows of the embedding table.
        file: the file with that number.
        key: its key in the file.
        always: the ids that occur in every batch: special tokens around texts, and padding.

    Raises:
        UnsupportedError: one of `always` has no row.
    """
    highest = max([-1, *always])
    if highest >= rows:
        raise UnsupportedError(
            file, key, rows, f"more than the token id {highest}, which every text needs"
        )
    ids = {*spec.model.vocab.values(), *(token.id for token in spec.added_tokens)}
    spec = replace(spec, ids_without_rows=frozenset(id for id in ids if id >= rows))
    if tokens := spec.tokens_without_rows:
        first = ", ".join(f"{token!r} ({id})" for token, id in list(tokens.items())[:_NAMED])
        more = ", …" if len(tokens) > _NAMED else ""
        logger.warning(
            "%s: %s = %d, so %d token(s) of the tokenizer have no embedding: %s%s; "
            "a text that contains one will be an error",
            *(file, key, rows, len(tokens), first, more),
        )
    return spec


class RowCheck:
    """The check for tokens without a row; the error has the first one's id and its text.

    Signatures that return only token ids do not use it. `spec` has tokens without rows.
    """

    def __init__(self, spec: TokenizerSpec) -> None:
        tokens = spec.tokens_without_rows
        self._ids = graph_constant(np.array([*tokens.values()], np.int32))
        self._names = [token.encode() for token in tokens]

    def found(self, encodings: Encodings) -> tuple[Encodings, tf.Tensor]:
        """The encodings with 0 for such tokens, and the first one that each text keeps.

        The latter are their ids, int32 [batch, 1], for pairs [batch, 2]; −1: there is none.
        """
        with tf.device("/CPU:0"):
            bad = encodings.ids >= self._ids[0]
            before = offsets(tf.cast(bad, tf.int32))
            nth = tf.gather(before, encodings.starts)
            has_one = tf.gather(before, encodings.starts + encodings.sizes) > nth
            ids = tf.concat([tf.boolean_mask(encodings.ids, bad), [NO_ID]], 0)
            found = tf.where(has_one, tf.gather(ids, nth), NO_ID)
            return encodings._replace(ids=tf.where(bad, 0, encodings.ids)), found

    def stop(self, found: tf.Tensor) -> tf.Operation:
        """An op that fails if there is one."""
        with tf.device("/CPU:0"):
            id = tf.boolean_mask(found, found != NO_ID)[:1]
            names = tf.gather(tf.constant(self._names), tf.searchsorted(self._ids, id))
            message = (
                "a text contains a token that the model has no embedding for; "
                "its id and the token are"
            )
            return tf.debugging.Assert(tf.size(id) == 0, [message, id, names])


def row_check(spec: TokenizerSpec) -> RowCheck | None:
    """The check for a tokenizer; None if every token has a row."""
    return RowCheck(spec) if spec.ids_without_rows else None
