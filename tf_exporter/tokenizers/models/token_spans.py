"""The spans of the tokens of BPE and Unigram, which may share characters or miss some."""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.tokenizers.ops.ragged import (
    ADDED_TOKEN_BASE,
    offsets,
    places,
    run_ends,
    select,
    shift_left,
    utf8_length,
)
from tf_exporter.tokenizers.ops.spans import covering
from tf_exporter.tokenizers.pre_tokenizers.steps import Words, word_starts


def run_of(goes_on: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The first and the last element of the run of each element: bool [N] → int32 [N] twice.

    `goes_on`: whether an element is in the run of the element before it.
    """
    first = tf.gather(places(~goes_on), tf.cumsum(tf.cast(~goes_on, tf.int32)) - 1)
    return first, run_ends(shift_left(goes_on, last=False))


def shifted_spans(words: Words, first: tf.Tensor, last: tf.Tensor, dropped: tf.Tensor) -> tf.Tensor:
    """The spans of tokens in words from which characters were dropped: int32 [T, columns].

    In `tokenizers`, the places of BPE's tokens are sums of the bytes of the tokens before them. A
    dropped character is in no token. So the later tokens of its word lie too far to the left.

    Args:
        words: the words, with spans.
        first: the code that each token begins with, int32 [T].
        last: the code that each token ends with, int32 [T].
        dropped: whether each code is in a word, but in none of its tokens; bool [N].
    """
    in_word = words.starts | words.inside | (words.codes >= ADDED_TOKEN_BASE)
    lengths = select(in_word, utf8_length(words.codes), 0)
    before, lost = offsets(lengths), offsets(select(dropped, lengths, 0))
    missing = tf.gather(lost, tf.gather(word_starts(words), first))
    start = tf.gather(before, first) - tf.gather(lost, first) + missing
    end = tf.gather(before, last + 1) - tf.gather(lost, last + 1) + missing
    # The code that has a byte is the last one that begins at or before it.
    begin = before[:-1]
    first, last = (tf.searchsorted(begin, byte, side="right") - 1 for byte in (start, end - 1))
    assert words.spans is not None
    return covering(words.spans, first, last)
