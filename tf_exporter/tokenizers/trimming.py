"""Trimming of offsets: the post-processors ByteLevel and RobertaProcessing with `trim_offsets`.

Follows `process_offsets` of `pre_tokenizers/byte_level.rs` of `tokenizers` 0.23: the offsets of a
token leave out the white space at the ends of the token's string.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tf_exporter.tokenizers.ops.ragged import count, select
from tf_exporter.tokenizers.ops.spans import END, LEADING, START, TRAILING
from tf_exporter.tokenizers.ops.tables import CodePointTable, graph_constant
from tf_exporter.tokenizers.post_processors import Encodings
from tf_exporter.tokenizers.unicode.probing import probe_white_space

_SPACE = "\u0120"
"""The character of a space in byte-level text."""


class Trim(NamedTuple):
    """One trimming of all tokens."""

    add_prefix_space: bool
    """Whether one space at the start of the first token is taken for an inserted one, and kept."""
    from_the_text: bool
    """Whether the first token is one of the text, and not a special token before it."""


def read_trims(part: dict[str, Any] | None) -> tuple[Trim, ...]:
    """The trimmings of a post-processor of tokenizer.json, in order."""
    steps = part["processors"] if part and part["type"] == "Sequence" else [part] if part else []
    trims, from_the_text = [], True
    for step in steps:
        kind = step["type"]
        if kind in ("ByteLevel", "RobertaProcessing") and step["trim_offsets"]:
            trims.append(Trim(step["add_prefix_space"], from_the_text))
        # These two put special tokens and text into one; others leave them apart.
        from_the_text &= kind not in ("BertProcessing", "RobertaProcessing")
    return tuple(trims)


def probe_trimmed() -> np.ndarray:
    """Whether each code point is trimmed: bool [UNICODE_SIZE]."""
    trimmed: np.ndarray = probe_white_space().copy()
    trimmed[ord(_SPACE)] = True
    return trimmed


class TrimmedCodes:
    """Code → whether it is trimmed."""

    def __init__(self, added_token_count: int) -> None:
        flags = np.concatenate([probe_trimmed(), np.zeros(added_token_count, bool)])
        self._table = CodePointTable(flags.astype(np.int32))

    def __call__(self, codes: tf.Tensor) -> tf.Tensor:
        """int32 [N] → bool [N]."""
        return self._table(codes) > 0


class Trimming:
    """Trims the spans of all tokens."""

    def __init__(self, trims: tuple[Trim, ...], vocab: Mapping[str, int]) -> None:
        self._trims = trims
        flags = probe_trimmed()
        ends = np.zeros([max(vocab.values(), default=0) + 2, 2], np.int32)
        for token, id in vocab.items():
            ends[id] = _leading(token, flags), _leading(token[::-1], flags)
        self._ends = graph_constant(ends)

    def __call__(self, encodings: Encodings) -> Encodings:
        """The truncated encodings, with spans int32 [T, 4] → with spans int32 [T, 2]."""
        spans = encodings.spans
        assert spans is not None, "the spans of the tokens are needed"
        known = tf.gather(self._ends, tf.minimum(encodings.ids, self._ends.shape[0] - 1))
        leading = select(spans[:, LEADING] < 0, known[:, 0], spans[:, LEADING])
        trailing = select(spans[:, TRAILING] < 0, known[:, 1], spans[:, TRAILING])
        # Truncation comes before, so the first token is the first one kept.
        first = tf.reshape(encodings.starts, [-1, 1])
        kept = tf.reshape(tf.cast(encodings.sizes > 0, tf.int32), [-1])
        # The place of a text without tokens may be after the last one.
        marks = tf.scatter_nd(first, kept, [count(encodings.ids) + 1])[:-1] > 0
        start, end = spans[:, START], spans[:, END]
        for trim in self._trims:
            skipped = leading
            if trim.add_prefix_space:
                is_first = (start == 0) | marks if trim.from_the_text else start == 0
                skipped = select(is_first & (leading == 1), 0, leading)
            start = tf.minimum(start + skipped, end)
            shortened = (trailing > 0) & (end >= trailing)
            end = select(shortened, tf.maximum(end - trailing, start), end)
        return encodings._replace(spans=tf.stack([start, end], 1))


def _leading(text: str, flags: np.ndarray) -> int:
    """The number of characters at the start that are trimmed."""
    return next((n for n, char in enumerate(text) if not flags[ord(char)]), len(text))
