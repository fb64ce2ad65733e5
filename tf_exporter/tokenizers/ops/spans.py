"""Spans: for each code or token, the characters of the text that it comes from.

Follows `NormalizedString` of `tokenizers` 0.23. It keeps such a range for each byte of the
normalized text. All bytes of a character have the same range, so one span for each code is enough.

Spans are int32 [N, 2]: the first character, and the one after the last, counted in code points.
Where a post-processor trims offsets they are int32 [N, 4]: two more columns for an added token are
the numbers of white space characters at the start and the end of its match. They are −1 for all
other codes and tokens, as those have the text of the vocabulary.
"""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.tokenizers.ops.ragged import RaggedCodes, count, run_ends

START, END, LEADING, TRAILING = range(4)
"""The columns of spans."""


def with_spans(texts: RaggedCodes, trims: bool) -> RaggedCodes:
    """The texts, as they were decoded, with the span of each code.

    `trims`: whether spans have four columns.
    """
    lengths = texts.row_splits[1:] - texts.row_splits[:-1]
    place = tf.range(count(texts.codes)) - tf.repeat(texts.row_splits[:-1], lengths)
    columns = [place, place + 1]
    if trims:
        columns += [tf.fill(tf.shape(place), -1)] * 2
    return texts._replace(spans=tf.stack(columns, 1))


def gathered(spans: tf.Tensor | None, indices: tf.Tensor) -> tf.Tensor | None:
    """The spans of the codes at these indices, int32 [M]; None without spans."""
    return None if spans is None else tf.gather(spans, indices)


def covering(spans: tf.Tensor, first: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
    """The spans from one code to another: int32 [N, columns] and twice int32 [M] → [M, columns].

    The further columns are those of the first code.
    """
    ends = tf.gather(spans[:, END], last)
    rest = tf.gather(spans, first)
    return tf.concat([rest[:, :END], ends[:, tf.newaxis], rest[:, END + 1 :]], 1)


def white_ends(white: tf.Tensor, first: tf.Tensor, last: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The numbers of white space codes at the start and the end of some ranges; int32 [M] each.

    `white`: whether each code is white space, bool [N]. `first` and `last`: int32 [M] each.
    """
    size = last - first + 1
    leading = tf.gather(run_ends(white), first) - first
    backwards = tf.reverse(run_ends(tf.reverse(white, [0])), [0])
    # Counted from the end, `backwards` is the first code before `last` that is not white space.
    trailing = tf.gather(backwards, last) - (count(white) - 1 - last)
    return tf.minimum(leading, size), tf.minimum(trailing, size)
