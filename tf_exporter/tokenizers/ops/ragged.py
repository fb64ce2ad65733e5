"""A batch of texts as flat codes with row splits, and the TensorFlow ops that tokenizers share."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import tensorflow as tf

from tf_exporter.tokenizers.ops.tables import UNICODE_SIZE

ADDED_TOKEN_BASE = UNICODE_SIZE
"""The code ADDED_TOKEN_BASE + k stands for the k-th added token, once that has been matched."""

_MIN_ROUNDS = 3
"""Rounds of pointer doubling before the first check for whether another one is needed."""


class RaggedCodes(NamedTuple):
    """A ragged batch of texts: `codes` int32 [N] and `row_splits` int32 [batch + 1].

    A code is a code point or, from `ADDED_TOKEN_BASE` on, an added token.
    """

    codes: tf.Tensor
    row_splits: tf.Tensor
    spans: tf.Tensor | None = None
    """The text of each code, see ops/spans.py; None where offsets are not asked for."""


class Tokens(NamedTuple):
    """The ragged tokens of a batch of texts: `ids` int32 [T] and `row_splits` int32 [batch + 1]."""

    ids: tf.Tensor
    row_splits: tf.Tensor
    word_starts: tf.Tensor | None = None
    """Bool [T]: whether each token is the first of its word; None if the model does not say."""
    spans: tf.Tensor | None = None
    """The text of each token, see ops/spans.py; None where offsets are not asked for."""


def added_token_ids(codes: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    """The id of each code that is an added token, else the last of `ids`: int32 [N]."""
    return tf.gather(
        ids, select(codes >= ADDED_TOKEN_BASE, codes - ADDED_TOKEN_BASE, count(ids) - 1)
    )


def decode(texts: tf.Tensor) -> RaggedCodes:
    """UTF-8 [batch] → code points; invalid bytes become U+FFFD, as Python replaces them."""
    row_splits, codes = tf.raw_ops.UnicodeDecode(
        input=texts,
        input_encoding="UTF-8",
        errors="replace",
        replacement_char=0xFFFD,
        replace_control_characters=False,
        Tsplits=tf.int32,
    )
    return RaggedCodes(codes, row_splits)


def count(tensor: tf.Tensor) -> tf.Tensor:
    """The length of a vector: an int32 scalar."""
    return tf.size(tensor)


def places(flags: tf.Tensor) -> tf.Tensor:
    """The indices of the true flags: bool [N] → int32 [number of true flags]."""
    return tf.cast(tf.squeeze(tf.where(flags), 1), tf.int32)


def offsets(counts: tf.Tensor) -> tf.Tensor:
    """Where the items of each element start, and the total: counts int32 [N] → int32 [N + 1]."""
    return tf.concat([[0], tf.cumsum(counts)], 0)


def row_starts(texts: RaggedCodes) -> tf.Tensor:
    """Whether each code is the first of its text: bool [N]."""
    length = count(texts.codes)
    marks = tf.scatter_nd(
        texts.row_splits[:, tf.newaxis], tf.ones_like(texts.row_splits), [length + 1]
    )
    return marks[:-1] > 0


def section_starts(texts: RaggedCodes) -> tf.Tensor:
    """Whether each code is the first of a section, the text between added tokens: bool [N]."""
    plain = texts.codes < ADDED_TOKEN_BASE
    return plain & (row_starts(texts) | ~shift_right(plain, first=True))


def expand(lengths: tf.Tensor, bits: int = 3) -> tuple[tf.Tensor, tf.Tensor]:
    """Repeats each element: `lengths`, int32 [N], are the numbers of copies, below 2^bits.

    Returns:
        The index of each copy's element, and the number of the copy among the copies of that
        element; int32 [sum of lengths] each.
    """
    # The range of element i starts at i << bits, so each of its numbers holds the owner and nth.
    # More bits need int64, so that long batches do not overflow.
    dtype = tf.int32 if bits <= 3 else tf.int64
    place = tf.cast(tf.range(count(lengths)), dtype)
    first = tf.bitwise.left_shift(place, tf.constant(bits, dtype))
    _, copies = tf.raw_ops.RaggedRange(
        starts=first,
        limits=first + tf.cast(lengths, dtype),
        deltas=tf.constant(1, dtype),
        Tsplits=tf.int32,
    )
    owner = tf.bitwise.right_shift(copies, tf.constant(bits, dtype))
    nth = tf.bitwise.bitwise_and(copies, tf.constant((1 << bits) - 1, dtype))
    return tf.cast(owner, tf.int32), tf.cast(nth, tf.int32)


def shift_right(vector: tf.Tensor, first: int) -> tf.Tensor:
    """The vector with element i moved to i + 1 and `first` at 0; the last element is dropped."""
    return tf.concat([[first], vector], 0)[:-1]


def shift_left(vector: tf.Tensor, last: int) -> tf.Tensor:
    """The vector with element i moved to i − 1 and `last` at the end; element 0 is dropped."""
    return tf.slice(tf.concat([vector, [last]], 0), [1], [-1])


def select(flags: tf.Tensor, then: tf.Tensor | int, otherwise: tf.Tensor | int) -> tf.Tensor:
    """`tf.where(flags, then, otherwise)`, by ops that take half as long for short vectors."""
    if (
        isinstance(then, tf.Tensor)
        and isinstance(otherwise, tf.Tensor)
        and then.shape.rank == otherwise.shape.rank == 1
    ):
        return tf.raw_ops.Select(condition=flags, x=then, y=otherwise)
    if isinstance(then, tf.Tensor) and then.dtype == tf.int32 and isinstance(otherwise, int):
        if otherwise == 0:
            return then * tf.cast(flags, tf.int32)
        if otherwise == -1:
            return then | (tf.cast(flags, tf.int32) - 1)
    return tf.where(flags, then, otherwise)


Result = TypeVar("Result")
Vectors = TypeVar("Vectors")


def not_inlined(compute: Callable[[], Vectors]) -> Callable[[], Vectors]:
    """A branch of a conditional as one node.

    The executor visits every node of an inlined branch, even of one that is not taken.
    """
    if tf.executing_eagerly():
        return compute
    function: Callable[[], Vectors] = tf.function(
        compute, autograph=False, experimental_attributes={"_noinline": True}
    )
    return function


def one_function(compute: Callable[..., Result]) -> Callable[..., Result]:
    """`compute` as one function of the graph, shared by all signatures that call it."""
    function = tf.function(compute, autograph=False)
    # The lambda hides the function from SavedModel, which lists those that are attributes of a
    # module. In eager mode, the function would be traced again for every batch size.
    return lambda *arguments: (
        compute(*arguments) if tf.executing_eagerly() else function(*arguments)
    )


def rarely(flag: tf.Tensor, compute: Callable[[], Vectors], otherwise: Vectors) -> Vectors:
    """`compute()` if the scalar `flag` is true, else `otherwise`: vectors or tuples of vectors.

    The tuples may also have spans, and None where `otherwise` has it.
    """
    before = tf.nest.flatten(otherwise)
    results = tf.cond(flag, not_inlined(lambda: _present(compute())), lambda: _present(otherwise))
    for result, vector in zip(results, _present(otherwise)):
        result.set_shape([None, vector.shape[1]] if vector.shape.rank == 2 else [None])
    remaining = iter(results)
    vectors: Vectors = tf.nest.pack_sequence_as(
        otherwise, [None if vector is None else next(remaining) for vector in before]
    )
    return vectors


def _present(vectors: Vectors) -> list[tf.Tensor]:
    """The vectors of a structure, without None."""
    return [vector for vector in tf.nest.flatten(vectors) if vector is not None]


def run_ends(flags: tf.Tensor) -> tf.Tensor:
    """The first index at or after each position with a false flag, or N: bool [N] → int32 [N]."""
    stops = tf.concat([places(~flags), count(flags)[tf.newaxis]], 0)
    return tf.gather(stops, tf.cumsum(tf.cast(~flags, tf.int32), exclusive=True))


def reachable(starts: tf.Tensor, following: tf.Tensor) -> tf.Tensor:
    """Whether each position lies on a chain that begins at one of the starts: bool [N].

    `following`, int32 [N], is the next position of a chain; N or more ends it. Uses pointer
    doubling: after k rounds, positions up to 2^k − 1 steps away are marked.
    """
    size = count(following)
    following = tf.concat([tf.minimum(following, size), size[tf.newaxis]], 0)
    reached = tf.concat([starts, [False]], 0)

    def double(reached: tf.Tensor, following: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        landed = tf.scatter_nd(following[:, tf.newaxis], tf.cast(reached, tf.int32), [size + 1]) > 0
        return reached | landed, tf.gather(following, following)

    for _ in range(_MIN_ROUNDS):
        reached, following = double(reached, following)
    reached, _ = tf.while_loop(
        lambda _, following: tf.reduce_any(following < size),
        double,
        (reached, following),
        parallel_iterations=1,
    )
    return reached[:size]


def reachable_ahead(starts: tf.Tensor, following: tf.Tensor, ends: tf.Tensor) -> tf.Tensor:
    """`reachable` for chains of matches in words.

    Candidates are the starts and all positions that another one leads to. Usually each candidate
    leads to the next; then all of them are reached, and no chain has to be followed.

    `following` is after its own position and at most `ends`, the end of the position's word.
    """
    size = count(following)
    is_next = tf.scatter_nd(following[:, tf.newaxis], tf.ones_like(following), [size + 1]) > 0
    candidates = is_next | tf.concat([starts, [True]], 0)
    next_candidate = tf.gather(places(candidates), tf.cumsum(tf.cast(candidates, tf.int32))[:-1])
    skips_one = tf.reduce_any(candidates[:-1] & (following != next_candidate))
    return rarely(
        skips_one,
        lambda: reachable(starts, select(following < ends, following, size)),
        candidates[:-1],
    )


def utf8_length(code: tf.Tensor) -> tf.Tensor:
    """The number of UTF-8 bytes of each code point; int32."""
    limits = (0x80, 0x800, 0x10000)
    return 1 + tf.add_n([tf.cast(code >= limit, tf.int32) for limit in limits])


def utf8_byte(code: tf.Tensor, length: tf.Tensor, nth: tf.Tensor) -> tf.Tensor:
    """The nth UTF-8 byte of a code point that has `length` of them; all int32 of one shape."""
    shifted = tf.bitwise.right_shift(code, 6 * (length - 1 - nth))
    lead = tf.gather(tf.constant([0, 0, 0xC0, 0xE0, 0xF0]), length)
    return select(
        nth == 0,
        tf.bitwise.bitwise_and(shifted, 0xFF) | lead,
        tf.bitwise.bitwise_and(shifted, 0x3F) | 0x80,
    )
