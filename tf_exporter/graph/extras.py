"""Further signatures, which are exported only if they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import numpy as np
import tensorflow as tf

from tf_exporter.errors import UnsupportedError, UsageError
from tf_exporter.graph.text_model import TextModel
from tf_exporter.model.untyped import Function
from tf_exporter.names import (
    ATTENTION,
    BINARY,
    BINARY_EMBEDDING,
    CROSS_ENCODER,
    DEFAULT,
    DIMENSIONS,
    EXTRAS,
    IDS,
    INPUT,
    INT8,
    INT8_EMBEDDING,
    OUTPUT,
    PAIR,
    SENTENCE_TRANSFORMER,
    TOKENIZE_WITH_OFFSETS,
    TOKENS,
    TRUNCATED,
    VECTOR_IDS,
    VECTOR_MASK,
    VECTORS,
)

_SMALLEST_NORM = 1e-12
_BITS = 8
_CALIBRATION_BATCH = 256


def check_extras(model: TextModel, names: tuple[str, ...]) -> None:
    """Refuses signatures that a model cannot have. `names`: those that are asked for.

    Raises:
        UsageError: names the signature and what it needs.
    """
    starts = model.token_width is not None
    needs = {
        TOKENIZE_WITH_OFFSETS: (
            model.first.aligned is not None,
            "a model that begins with a Transformer, and has no chat template",
        ),
        TOKENS: (starts, "a model that begins with a Transformer"),
        IDS: (starts, "a model that begins with a Transformer"),
        TRUNCATED: (model.normalizes, "a model whose last module is Normalize"),
    }
    for name in names:
        embeds = name in EXTRAS and name != TOKENIZE_WITH_OFFSETS
        if embeds and model.kind != SENTENCE_TRANSFORMER:
            raise UsageError(f"--signatures {name}: only for a {SENTENCE_TRANSFORMER}")
        has, needed = needs.get(name, (True, ""))
        if not has:
            raise UsageError(f"--signatures {name}: only for {needed}")


def extra_functions(
    model: TextModel, encode: Function, names: tuple[str, ...], calibration: list[str] | None
) -> dict[str, Function]:
    """Name → function, of the further signatures that are asked for.

    Args:
        model: the model.
        encode: texts → embeddings, as `serving_default`.
        names: the names of all signatures that are asked for.
        calibration: texts for the ranges of `encode_int8`.
    """
    text = tf.TensorSpec(None, tf.string, name=INPUT)
    matrix = [tf.TensorSpec([None, None], tf.int32, name=name) for name in (VECTOR_IDS, ATTENTION)]
    number = tf.TensorSpec([], tf.int32, name=DIMENSIONS)

    def tokens(input_sequence: tf.Tensor) -> dict[str, tf.Tensor]:
        return dict(zip((VECTORS, VECTOR_MASK, VECTOR_IDS), model.tokens(input_sequence)))

    def ids(input_ids: tf.Tensor, attention_mask: tf.Tensor) -> dict[str, tf.Tensor]:
        return {OUTPUT: model.encode_ids(input_ids, attention_mask)}

    def truncated(input_sequence: tf.Tensor, dimensions: tf.Tensor) -> dict[str, tf.Tensor]:
        message = f"{DIMENSIONS} must be from 1 to {model.dim}; it is"
        fits = (dimensions >= 1) & (dimensions <= model.dim)
        with tf.control_dependencies([tf.debugging.Assert(fits, [message, dimensions])]):
            kept = encode(input_sequence)[:, : tf.identity(dimensions)]
        norm = tf.norm(kept, axis=1, keepdims=True)
        return {OUTPUT: kept / tf.maximum(norm, _SMALLEST_NORM)}

    def binary(input_sequence: tf.Tensor) -> dict[str, tf.Tensor]:
        return {BINARY_EMBEDDING: packed_bits(encode(input_sequence))}

    ranges = ranges_of(encode, calibration) if calibration else None

    def int8(input_sequence: tf.Tensor) -> dict[str, tf.Tensor]:
        assert ranges is not None  # as `Options.check` says
        return {INT8_EMBEDDING: in_ranges(encode(input_sequence), ranges)}

    def aligned(input_sequence: tf.Tensor) -> dict[str, tf.Tensor]:
        return model.tokenize_with_offsets(input_sequence)

    def aligned_pairs(input_sequence: tf.Tensor, pair_sequence: tf.Tensor) -> dict[str, tf.Tensor]:
        return model.tokenize_with_offsets(input_sequence, pair_sequence)

    made: dict[str, tuple[Callable[..., dict[str, tf.Tensor]], list[tf.TensorSpec]]] = {
        TOKENS: (tokens, [text]),
        IDS: (ids, matrix),
        TRUNCATED: (truncated, [text, number]),
        BINARY: (binary, [text]),
        INT8: (int8, [text]),
        TOKENIZE_WITH_OFFSETS: (
            (aligned_pairs, [text, tf.TensorSpec(None, tf.string, name=PAIR)])
            if model.kind == CROSS_ENCODER
            else (aligned, [text])
        ),
    }
    return {
        name: tf.function(function, input_signature=specs, autograph=False)
        for name, (function, specs) in made.items()
        if name in names
    }


def packed_bits(embeddings: tf.Tensor) -> tf.Tensor:
    """One bit for each positive value, the first in the highest bit: uint8 [batch, ⌈dim / 8⌉]."""
    bits = tf.cast(embeddings > 0, tf.int32)
    bits = tf.pad(bits, [[0, 0], [0, -bits.shape[1] % _BITS]])
    values = tf.reshape(bits, [-1, bits.shape[1] // _BITS, _BITS])
    powers = tf.constant([2**power for power in reversed(range(_BITS))])
    return tf.cast(tf.reduce_sum(values * powers, 2), tf.uint8)


def ranges_of(encode: Function, texts: list[str]) -> np.ndarray:
    """The smallest and the largest value of each dimension of some texts: float32 [2, dim]."""
    embeddings = np.concatenate(
        [
            encode(tf.constant(texts[start : start + _CALIBRATION_BATCH])).numpy()
            for start in range(0, len(texts), _CALIBRATION_BATCH)
        ]
    )
    return np.stack([embeddings.min(0), embeddings.max(0)])


def in_ranges(embeddings: tf.Tensor, ranges: np.ndarray) -> tf.Tensor:
    """Which of 256 equal parts of its range each value is in: int8 [batch, dim].

    As in sentence-transformers 6.2, a value outside of its range is in the part at its end.
    """
    starts = ranges[0]
    steps = (ranges[1] - starts) / np.float32(255)
    steps = np.where(steps == 0, np.float32(1), steps)
    parts = tf.clip_by_value(tf.floor((embeddings - starts) / steps), 0.0, 255.0)
    return tf.cast(parts - 128.0, tf.int8)


def check_free(names: Iterable[str], prompts: Collection[str]) -> None:
    """Refuses signatures that have the name of a prompt's signature.

    Raises:
        UnsupportedError: names the signature.
    """
    for name in names:
        if name in prompts:
            raise UnsupportedError(
                "config_sentence_transformers.json", "prompts", name, "names that are not taken"
            )


def selected(
    functions: dict[str, Function], asked: tuple[str, ...] | None, needed: dict[str, list[str]]
) -> dict[str, Function]:
    """The functions whose signatures are asked for; `serving_default` and `tokenize` always.

    Args:
        functions: all functions by the names of their signatures.
        asked: the names; None: all.
        needed: name → the names of signatures that come with it.

    Raises:
        UsageError: there is no signature of such a name.
    """
    if asked is None:
        return functions
    for name in asked:
        if name not in functions:
            known = ", ".join(dict.fromkeys([*functions, *EXTRAS]))
            raise UsageError(f"--signatures {name}: no such signature; there are {known}")
    kept = {DEFAULT, *(name for name in functions if name.startswith("tokenize")), *asked}
    kept |= {other for name in kept for other in needed.get(name, [])}
    return {name: function for name, function in functions.items() if name in kept}
