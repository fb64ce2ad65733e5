"""Lookup tables of code points, as constants in the graph.

A table is an eager constant that functions capture, so the SavedModel holds it once, however many
signatures use it. Lookups are gathers: no hash tables, which servers have to initialise.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

UNICODE_SIZE = 0x110000
BLOCK_BITS = 7
BLOCK_SIZE = 1 << BLOCK_BITS
_ONE_LEVEL = 1024


def graph_constant(values: np.ndarray) -> tf.Tensor:
    """`values` as a tensor on the host, which functions capture and share."""
    with tf.device("/CPU:0"):
        return tf.constant(values)


class CodePointTable:
    """Codes → int32, stored in two levels: a block index and the distinct blocks.

    `values` covers the codes 0 … len(values) − 1; codes from `UNICODE_SIZE` on stand for added
    tokens. Where only low codes have a nonzero value, one level is enough.
    """

    def __init__(self, values: np.ndarray) -> None:
        used = int(np.flatnonzero(values)[-1]) + 1 if values.any() else 0
        self._low = used if used < _ONE_LEVEL else None
        if self._low is not None:
            self._values = graph_constant(np.append(values[:used], 0).astype(np.int32))
            return
        padded = np.zeros(-(-len(values) // BLOCK_SIZE) * BLOCK_SIZE, np.int32)
        padded[: len(values)] = values
        places: dict[bytes, int] = {}
        index = [
            places.setdefault(block.tobytes(), len(places))
            for block in padded.reshape(-1, BLOCK_SIZE)
        ]
        self._index = graph_constant(np.array(index, np.int32) * BLOCK_SIZE)
        self._values = graph_constant(np.frombuffer(b"".join(places), np.int32))

    def __call__(self, codes: tf.Tensor) -> tf.Tensor:
        """int32 codes of any shape → int32 values of that shape."""
        if self._low is not None:
            return tf.gather(self._values, tf.minimum(codes, self._low))
        block = tf.gather(self._index, tf.bitwise.right_shift(codes, BLOCK_BITS))
        return tf.gather(self._values, block + tf.bitwise.bitwise_and(codes, BLOCK_SIZE - 1))
