"""The batch of texts as it flows through the tokenizer: one flat run of codes and where each text starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import tensorflow as tf

from tf_exporter.tokenizers.tables import UNICODE_SIZE

ADDED_TOKEN_BASE = UNICODE_SIZE
"""Code ADDED_TOKEN_BASE + k stands for an occurrence of the k-th added token, from the step that found it on."""


_ROUNDS_AT_LEAST = 3
"""Of pointer doubling without asking whether any is needed."""


class Stream(NamedTuple):
    """`codes` int32 [N]: the code points (and added tokens) of all texts; `row_splits` int32 [batch + 1]."""

    codes: tf.Tensor
    row_splits: tf.Tensor


class Tokens(NamedTuple):
    """`ids` int32 [T] of all texts, `row_splits` int32 [batch + 1]."""

    ids: tf.Tensor
    row_splits: tf.Tensor
    word_starts: tf.Tensor | None = None
    """Bool [T]: whether a token is the first of its word, where the model knows words."""


def added_token_ids(codes: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    """int32 [N]: the id of each added token among the codes, the last of `ids` for all others."""
    return tf.gather(ids, select(codes >= ADDED_TOKEN_BASE, codes - ADDED_TOKEN_BASE, count(ids) - 1))


def decode(texts: tf.Tensor) -> Stream:
    """Bytes [batch] → code points; invalid UTF-8 becomes U+FFFD as in Python's `errors="replace"`."""
    row_splits, codes = tf.raw_ops.UnicodeDecode(
        input=texts,
        input_encoding="UTF-8",
        errors="replace",
        replacement_char=0xFFFD,
        replace_control_characters=False,
        Tsplits=tf.int32,
    )
    return Stream(codes, row_splits)


def count(tensor: tf.Tensor) -> tf.Tensor:
    """The length of a vector as int32."""
    return tf.size(tensor)


def places(flags: tf.Tensor) -> tf.Tensor:
    """Where the flags, bool [N], are true: int32 [true ones]."""
    return tf.cast(tf.squeeze(tf.where(flags), 1), tf.int32)


def offsets(counts: tf.Tensor) -> tf.Tensor:
    """int32 counts [N] → int32 [N + 1]: where the items of each element start, and the total."""
    return tf.concat([[0], tf.cumsum(counts)], 0)


def row_starts(stream: Stream) -> tf.Tensor:
    """Bool [N]: whether an element is the first of its text."""
    length = count(stream.codes)
    marks = tf.scatter_nd(stream.row_splits[:, tf.newaxis], tf.ones_like(stream.row_splits), [length + 1])
    return marks[:-1] > 0


def section_starts(stream: Stream) -> tf.Tensor:
    """Bool [N]: whether an element is the first of what is between added tokens, or of its text."""
    plain = stream.codes < ADDED_TOKEN_BASE
    return plain & (row_starts(stream) | ~shift_right(plain, first=True))


def expand(lengths: tf.Tensor, bits: int = 3) -> tuple[tf.Tensor, tf.Tensor]:
    """int32 lengths [N], each below 2^bits → (owner, nth), int32 [sum]: each element in as many copies as its length says."""
    # One range per element, in steps of its place, tells both the owner and which of its copies it is.
    # In 64 bits where copies may be many, so that long batches do not overflow.
    dtype = tf.int32 if bits <= 3 else tf.int64
    place = tf.cast(tf.range(count(lengths)), dtype)
    first = tf.bitwise.left_shift(place, tf.constant(bits, dtype))
    _, copies = tf.raw_ops.RaggedRange(
        starts=first, limits=first + tf.cast(lengths, dtype), deltas=tf.constant(1, dtype), Tsplits=tf.int32
    )
    owner = tf.bitwise.right_shift(copies, tf.constant(bits, dtype))
    nth = tf.bitwise.bitwise_and(copies, tf.constant((1 << bits) - 1, dtype))
    return tf.cast(owner, tf.int32), tf.cast(nth, tf.int32)


def shift_right(vector: tf.Tensor, first: int) -> tf.Tensor:
    """Element i − 1 at place i, `first` at place 0."""
    return tf.concat([[first], vector], 0)[:-1]


def shift_left(vector: tf.Tensor, last: int) -> tf.Tensor:
    """Element i + 1 at place i, `last` at the last place."""
    return tf.slice(tf.concat([vector, [last]], 0), [1], [-1])


def select(flags: tf.Tensor, then: tf.Tensor | int, otherwise: tf.Tensor | int) -> tf.Tensor:
    """As `tf.where(flags, then, otherwise)`, by ops that take half as long for short vectors."""
    if isinstance(then, tf.Tensor) and isinstance(otherwise, tf.Tensor) and then.shape.rank == otherwise.shape.rank == 1:
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
    """A branch of a conditional, as one node: of an inlined one every node is visited even where it is not taken."""
    if tf.executing_eagerly():
        return compute
    function: Callable[[], Vectors] = tf.function(compute, autograph=False, experimental_attributes={"_noinline": True})
    return function


def one_function(compute: Callable[..., Result]) -> Callable[..., Result]:
    """The same, once in a graph however often it is called: signatures differ in little but their prompts."""
    function = tf.function(compute, autograph=False)
    # No attribute of a module that a SavedModel would list as a function of its own. Outside of a graph every size of a batch
    # would be traced anew.
    return lambda *arguments: compute(*arguments) if tf.executing_eagerly() else function(*arguments)


def rarely(flag: tf.Tensor, compute: Callable[[], Vectors], otherwise: Vectors) -> Vectors:
    """`compute()` where the flag, a bool, is true; tensors (or tuples of them), all of one axis."""
    results: Vectors = tf.cond(flag, not_inlined(compute), lambda: otherwise)
    for result in tf.nest.flatten(results):
        result.set_shape([None])
    return results


def run_ends(flags: tf.Tensor) -> tf.Tensor:
    """Bool [N] → int32 [N]: where the run of true flags that goes on at each place ends; the place itself where false."""
    stops = tf.concat([places(~flags), count(flags)[tf.newaxis]], 0)
    return tf.gather(stops, tf.cumsum(tf.cast(~flags, tf.int32), exclusive=True))


def reachable(starts: tf.Tensor, following: tf.Tensor) -> tf.Tensor:
    """Bool [N]: which places are reached from the `starts`, bool [N], by going from each to `following`, int32 [N].

    `following` of N (or more) ends a chain. Pointer doubling: after k rounds, places up to 2^k − 1 steps away are marked.
    """
    size = count(following)
    following = tf.concat([tf.minimum(following, size), size[tf.newaxis]], 0)
    reached = tf.concat([starts, [False]], 0)

    def double(reached: tf.Tensor, following: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        landed = tf.scatter_nd(following[:, tf.newaxis], tf.cast(reached, tf.int32), [size + 1]) > 0
        return reached | landed, tf.gather(following, following)

    for _ in range(_ROUNDS_AT_LEAST):
        reached, following = double(reached, following)
    reached, _ = tf.while_loop(
        lambda _, following: tf.reduce_any(following < size), double, (reached, following), parallel_iterations=1
    )
    return reached[:size]


def reachable_ahead(starts: tf.Tensor, following: tf.Tensor, ends: tf.Tensor) -> tf.Tensor:
    """As `reachable` for chains of matches, where `following` is ahead and at most `ends`, where the chain's word ends.

    Mostly every place, reached or not, leads to one that is reached: then each of those is the next after the one before,
    and no chain has to be followed.
    """
    size = count(following)
    led_to = tf.scatter_nd(following[:, tf.newaxis], tf.ones_like(following), [size + 1]) > 0
    stops = led_to | tf.concat([starts, [True]], 0)
    following_stop = tf.gather(places(stops), tf.cumsum(tf.cast(stops, tf.int32))[:-1])
    astray = tf.reduce_any(stops[:-1] & (following != following_stop))
    return rarely(astray, lambda: reachable(starts, select(following < ends, following, size)), stops[:-1])


def utf8_length(code: tf.Tensor) -> tf.Tensor:
    """The bytes of a code point in UTF-8; int32."""
    limits = (0x80, 0x800, 0x10000)
    return 1 + tf.add_n([tf.cast(code >= limit, tf.int32) for limit in limits])


def utf8_byte(code: tf.Tensor, length: tf.Tensor, nth: tf.Tensor) -> tf.Tensor:
    """The nth byte of a code point whose UTF-8 has `length` bytes; all int32 of one shape."""
    shifted = tf.bitwise.right_shift(code, 6 * (length - 1 - nth))
    lead = tf.gather(tf.constant([0, 0, 0xC0, 0xE0, 0xF0]), length)
    return select(nth == 0, tf.bitwise.bitwise_and(shifted, 0xFF) | lead, tf.bitwise.bitwise_and(shifted, 0x3F) | 0x80)
