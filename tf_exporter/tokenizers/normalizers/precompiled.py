"""The Precompiled normalizer: SentencePiece's table of replacements, as in `tokenizers` 0.23.

A grapheme cluster of fewer than 6 bytes is replaced as a whole: by the replacement of its shortest
prefix in the table. Without such a prefix, its characters are replaced one by one. The table is a
Darts double array over UTF-8, followed by zero-terminated replacements (`spm_precompiled` 0.1).
"""

from __future__ import annotations

import base64
import binascii
import struct

import numpy as np
import tensorflow as tf

from tf_exporter.errors import InputError
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.tokenizers.normalizers.precompiled_spans import sources
from tf_exporter.tokenizers.ops.ragged import (
    RaggedCodes,
    count,
    offsets,
    places,
    rarely,
    run_ends,
    select,
    shift_left,
    utf8_length,
)
from tf_exporter.tokenizers.ops.tables import UNICODE_SIZE
from tf_exporter.tokenizers.ops.tries import Trie, string_trie
from tf_exporter.tokenizers.unicode.code_points import CodePointNormalizer
from tf_exporter.tokenizers.unicode.graphemes import Clusters
from tf_exporter.tokenizers.unicode.probing import NormalizerTables

_LONGEST_CLUSTER = 5
"""Bytes; longer clusters are replaced character by character."""
_MOST_CHARACTERS = 3
"""The most characters of such a cluster: all but one of them have two bytes or more."""


def read_charsmap(blob: bytes) -> dict[str, str]:
    """The replacement of every text of at most 5 bytes in the table.

    Raises:
        ValueError: The table is not well-formed.
    """
    if len(blob) < 4:
        raise ValueError("shorter than its header")
    size = struct.unpack_from("<I", blob)[0]
    if size % 4 or size == 0 or 4 + size > len(blob):
        raise ValueError(f"a trie of {size} bytes does not fit")
    units = np.frombuffer(blob, "<u4", size // 4, 4).astype(np.int64)
    pool = blob[4 + size :] + b"\0"
    labels = np.arange(1, 256)
    # All nodes of one depth at once: their indices, and the bytes that lead to them.
    node, keys = np.zeros(1, np.int64), [b""]
    replacements: dict[str, str] = {}
    for _ in range(_LONGEST_CLUSTER):
        children = (node ^ _offset(units[node]))[:, np.newaxis] ^ labels
        if children.max(initial=0) >= len(units):
            raise ValueError("the trie leads outside itself")
        parent, label = np.nonzero((units[children] & 0x800000FF) == labels)
        node = children[parent, label]
        keys = [keys[above] + bytes([labels[index]]) for above, index in zip(parent, label)]
        leaves = np.flatnonzero(units[node] >> 8 & 1)
        for leaf, value in zip(
            leaves, units[node[leaves] ^ _offset(units[node[leaves]])] & 0x7FFFFFFF
        ):
            if value >= len(pool) - 1:
                raise ValueError(f"{keys[leaf]!r} leads outside the table")
            replacements[keys[leaf].decode("utf-8")] = pool[value : pool.index(0, value)].decode(
                "utf-8"
            )
    return replacements


def _offset(units: np.ndarray) -> np.ndarray:
    offsets: np.ndarray = (units >> 10) << ((units & 0x200) >> 6)
    return offsets


class Precompiled:
    """Replaces characters and short clusters of characters."""

    def __init__(self, charsmap: str, config: ConfigFile, added_token_count: int) -> None:
        """`charsmap`: base64 of the table, as in tokenizer.json."""
        try:
            known = read_charsmap(base64.b64decode(charsmap, validate=True))
        except (ValueError, IndexError, binascii.Error) as error:
            raise InputError(
                f"{config.file}: {config.prefix}precompiled_charsmap is damaged ({error})"
            ) from None
        changed = {ord(text): tuple(map(ord, new)) for text, new in known.items() if len(text) == 1}
        # A cluster that is in the table becomes one code of its own first.
        longer = {text: new for text, new in known.items() if len(text) > 1}
        self._first_code = UNICODE_SIZE + added_token_count
        changed |= {
            self._first_code + number: tuple(map(ord, new))
            for number, new in enumerate(longer.values())
        }
        changed = {code: new for code, new in changed.items() if new != (code,)}
        self._clusters = Clusters(added_token_count)
        keys = {text: ord(text) for text in known if len(text) == 1}
        keys |= {text: self._first_code + number for number, text in enumerate(longer)}
        self._symbols, self._trie = string_trie(keys, added_token_count)
        self._characters = CodePointNormalizer(
            NormalizerTables(changed), added_token_count + len(longer)
        )

    def __call__(self, texts: RaggedCodes) -> RaggedCodes:
        if texts.spans is None:
            units = rarely(self._clusters.may_join(texts), lambda: self._join(texts), texts)
            return self._characters(units)
        # The spans are numbers of codes here: the first code of each cluster, then the cluster.
        place = texts._replace(spans=tf.range(count(texts.codes))[:, tf.newaxis])
        units = rarely(self._clusters.may_join(texts), lambda: self._join(place), place)
        assert units.spans is not None
        number = tf.range(count(units.codes))[:, tf.newaxis]
        replaced = self._characters(units._replace(spans=number))
        assert replaced.spans is not None
        source = sources(texts, units.spans[:, 0], replaced.spans[:, 0])
        return replaced._replace(spans=tf.gather(texts.spans, source))

    def _join(self, texts: RaggedCodes) -> RaggedCodes:
        """Replaces each short cluster by the code of its shortest prefix in the table, if any.

        The cluster gets the span of its first code.
        """
        joined = self._clusters.joined(texts)
        size = count(texts.codes)
        ends = run_ends(shift_left(joined, last=False)) + 1
        before = offsets(utf8_length(texts.codes))
        short = tf.gather(before, ends) - before[:-1] <= _LONGEST_CLUSTER
        start = places(~joined & short & (ends > tf.range(size) + 1))
        end = tf.gather(ends, start)
        symbols = tf.concat([self._symbols(texts.codes), [0]], 0)
        state, shortest = tf.fill([count(start)], Trie.ROOT), tf.fill([count(start)], Trie.DEAD)
        for step in range(_MOST_CHARACTERS):
            position = select(start + step < end, start + step, size)
            state = self._trie.advance(state, tf.gather(symbols, position))
            shortest = select(
                (shortest == Trie.DEAD) & self._trie.ends_word(state), state, shortest
            )
        known = places(shortest > Trie.DEAD)
        start, end, shortest = (tf.gather(vector, known) for vector in (start, end, shortest))
        codes = tf.tensor_scatter_nd_update(
            texts.codes, start[:, tf.newaxis], tf.gather(self._trie.value, shortest)
        )
        marks = tf.scatter_nd(
            tf.concat([start + 1, end], 0)[:, tf.newaxis],
            tf.concat([tf.ones_like(start), -tf.ones_like(end)], 0),
            [size + 1],
        )
        kept = tf.cumsum(marks)[:-1] == 0
        row_splits = tf.gather(offsets(tf.cast(kept, tf.int32)), texts.row_splits)
        spans = None if texts.spans is None else tf.boolean_mask(texts.spans, kept)
        return RaggedCodes(tf.boolean_mask(codes, kept), row_splits, spans)
