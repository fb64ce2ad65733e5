"""Precompiled: SentencePiece's table of replacements, as `tokenizers` applies it.

`tokenizers` 0.23 looks at grapheme clusters first: a cluster of fewer than 6 bytes is replaced whole by what its shortest
known beginning becomes, and only where it has none are its characters replaced one by one. The table is a Darts double
array over UTF-8 with the replacements behind it, ended by zeros (`spm_precompiled` 0.1).
"""

from __future__ import annotations

import base64
import binascii
import struct

import numpy as np
import tensorflow as tf

from tf_exporter.errors import InputError
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.tokenizers.code_points import CodePointNormalizer
from tf_exporter.tokenizers.double_arrays import Trie, string_trie
from tf_exporter.tokenizers.graphemes import Clusters
from tf_exporter.tokenizers.probing import NormalizerTables
from tf_exporter.tokenizers.stream import Stream, count, offsets, places, rarely, run_ends, select, shift_left, utf8_length
from tf_exporter.tokenizers.tables import UNICODE_SIZE

_LONGEST_CLUSTER = 5
"""Bytes; longer clusters are replaced character by character."""
_MOST_CHARACTERS = 3
"""Of so short a cluster: all but one of its characters have two bytes or more."""


def read_charsmap(blob: bytes) -> dict[str, str]:
    """Every known text of at most 5 bytes, and its replacement.

    Raises:
        ValueError: the table is not well-formed.
    """
    if len(blob) < 4:
        raise ValueError("shorter than its header")
    size = struct.unpack_from("<I", blob)[0]
    if size % 4 or size == 0 or 4 + size > len(blob):
        raise ValueError(f"a trie of {size} bytes does not fit")
    units = np.frombuffer(blob, "<u4", size // 4, 4).astype(np.int64)
    pool = blob[4 + size :] + b"\0"
    labels = np.arange(1, 256)
    # All nodes of a depth at once: where each is, and the bytes that lead there.
    node, keys = np.zeros(1, np.int64), [b""]
    found: dict[str, str] = {}
    for _ in range(_LONGEST_CLUSTER):
        children = (node ^ _offset(units[node]))[:, np.newaxis] ^ labels
        if children.max(initial=0) >= len(units):
            raise ValueError("the trie leads outside itself")
        parent, label = np.nonzero((units[children] & 0x800000FF) == labels)
        node = children[parent, label]
        keys = [keys[above] + bytes([labels[index]]) for above, index in zip(parent, label)]
        leaves = np.flatnonzero(units[node] >> 8 & 1)
        for leaf, value in zip(leaves, units[node[leaves] ^ _offset(units[node[leaves]])] & 0x7FFFFFFF):
            if value >= len(pool) - 1:
                raise ValueError(f"{keys[leaf]!r} leads outside the table")
            found[keys[leaf].decode("utf-8")] = pool[value : pool.index(0, value)].decode("utf-8")
    return found


def _offset(units: np.ndarray) -> np.ndarray:
    offsets: np.ndarray = (units >> 10) << ((units & 0x200) >> 6)
    return offsets


class Precompiled:
    """Characters and short clusters of characters → their replacements."""

    def __init__(self, charsmap: str, config: ConfigFile, added_token_count: int) -> None:
        """`charsmap`: base64 of the table, as in tokenizer.json."""
        try:
            known = read_charsmap(base64.b64decode(charsmap, validate=True))
        except (ValueError, IndexError, binascii.Error) as error:
            raise InputError(f"{config.file}: {config.at}precompiled_charsmap is damaged ({error})") from None
        changed = {ord(text): tuple(map(ord, new)) for text, new in known.items() if len(text) == 1}
        # A cluster that is known becomes one code of its own before its replacement is looked up.
        longer = {text: new for text, new in known.items() if len(text) > 1}
        self._first_code = UNICODE_SIZE + added_token_count
        changed |= {self._first_code + number: tuple(map(ord, new)) for number, new in enumerate(longer.values())}
        changed = {code: new for code, new in changed.items() if new != (code,)}
        self._clusters = Clusters(added_token_count)
        keys = {text: ord(text) for text in known if len(text) == 1}
        keys |= {text: self._first_code + number for number, text in enumerate(longer)}
        self._symbols, self._trie = string_trie(keys, added_token_count)
        self._characters = CodePointNormalizer(NormalizerTables(changed), added_token_count + len(longer))

    def __call__(self, stream: Stream) -> Stream:
        """The stream with everything replaced."""
        stream = rarely(self._clusters.may_join(stream), lambda: self._join(stream), stream)
        return self._characters(stream)

    def _join(self, stream: Stream) -> Stream:
        """Each short cluster that begins with something known, as the one code of its shortest known beginning."""
        joined = self._clusters.joined(stream)
        size = count(stream.codes)
        ends = run_ends(shift_left(joined, last=False)) + 1
        before = offsets(utf8_length(stream.codes))
        short = tf.gather(before, ends) - before[:-1] <= _LONGEST_CLUSTER
        start = places(~joined & short & (ends > tf.range(size) + 1))
        end = tf.gather(ends, start)
        symbols = tf.concat([self._symbols(stream.codes), [0]], 0)
        state, found = tf.fill([count(start)], Trie.ROOT), tf.fill([count(start)], Trie.DEAD)
        # No cluster of so few bytes has more characters than these.
        for step in range(_MOST_CHARACTERS):
            at = select(start + step < end, start + step, size)
            state = self._trie.advance(state, tf.gather(symbols, at))
            found = select((found == Trie.DEAD) & self._trie.ends_word(state), state, found)
        known = places(found > Trie.DEAD)
        start, end, found = (tf.gather(of, known) for of in (start, end, found))
        codes = tf.tensor_scatter_nd_update(stream.codes, start[:, tf.newaxis], tf.gather(self._trie.value, found))
        marks = tf.scatter_nd(
            tf.concat([start + 1, end], 0)[:, tf.newaxis], tf.concat([tf.ones_like(start), -tf.ones_like(end)], 0), [size + 1]
        )
        kept = tf.cumsum(marks)[:-1] == 0
        row_splits = tf.gather(offsets(tf.cast(kept, tf.int32)), stream.row_splits)
        return Stream(tf.boolean_mask(codes, kept), row_splits)
