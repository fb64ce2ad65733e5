"""The alignment of the Precompiled normalizer, with the oddities of `tokenizers` 0.23."""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.tokenizers.ops.ragged import (
    ADDED_TOKEN_BASE,
    RaggedCodes,
    count,
    offsets,
    places,
    run_ends,
    section_starts,
    select,
    shift_left,
)


def sources(texts: RaggedCodes, unit_start: tf.Tensor, owner: tf.Tensor) -> tf.Tensor:
    """The index of the code in `texts` whose span each new code has: int32 [M].

    A unit is a character or a cluster that is replaced as a whole. Follows `replace` of
    `normalizers/precompiled.rs`: new characters take the spans of the old ones in order, and
    surplus new ones that of the last old one. A removed unit counts as part of the character
    before it. If that is a surplus one, it takes the span of the removed unit. Units that are
    removed at the start of a section have no character before them. They are not counted at all,
    so the spans of all that follows in the section lag behind.

    Args:
        texts: the texts before the normalizer.
        unit_start: the index in `texts` of the first code of each unit, int32 [U].
        owner: the unit that each new code came from, rising, int32 [M].
    """
    units, size = count(unit_start), count(texts.codes)
    begin = tf.concat([unit_start, size[tf.newaxis]], 0)
    old = begin[1:] - unit_start
    new = tf.math.unsorted_segment_sum(tf.ones_like(owner), owner, units)
    nth = tf.range(count(owner)) - tf.gather(offsets(new), owner)
    removed = new == 0
    starts = tf.gather(section_starts(texts), unit_start)
    before_removed = shift_left(removed & ~starts, last=False)
    surplus = nth >= tf.gather(old, owner)
    last = nth == tf.gather(new, owner) - 1
    moved = surplus & last & tf.gather(before_removed, owner)
    source = tf.gather(unit_start, owner) + tf.minimum(nth, tf.gather(old, owner) - 1)
    source += tf.cast(moved, tf.int32)
    # The first unit of the section of each unit. Added tokens are in no section.
    starts |= tf.range(units) == 0
    section = tf.gather(places(starts), tf.cumsum(tf.cast(starts, tf.int32)) - 1)
    first_left = tf.gather(run_ends(removed), section)
    lag = tf.gather(begin, first_left) - tf.gather(unit_start, section)
    lag = select(tf.gather(texts.codes, unit_start) >= ADDED_TOKEN_BASE, 0, lag)
    return source - tf.gather(lag, owner)
