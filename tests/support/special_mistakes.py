"""Deliberate mistakes in parts that only some encoders have; see `mistakes.py`."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tests.support.encoder_parts import Patch, no_bias, with_parts


def no_softcap(encoder: Any, patch: Patch) -> bool:
    """Scores without their bound."""
    parts = with_parts(encoder, "_softcap")
    for part in parts:
        part._softcap = None
    return bool(parts)


def no_temperature(encoder: Any, patch: Patch) -> bool:
    """Queries without the factors of their positions."""
    if getattr(encoder, "_temperature", None) is None:
        return False
    encoder._temperature = None
    return True


def no_value_norm(encoder: Any, patch: Patch) -> bool:
    """Values that are not normed."""
    parts = with_parts(encoder, "_value_eps")
    for part in parts:
        part._value_eps = None
    return bool(parts)


def embedding_scale(encoder: Any, patch: Patch) -> bool:
    """Word embeddings that are 10% larger."""
    if getattr(encoder, "_scale", None) is None:
        return False
    encoder._scale *= 1.1
    return True


def layer_factors(encoder: Any, patch: Patch) -> bool:
    """Layers without their factor."""
    parts = with_parts(encoder, "factor")
    for part in parts:
        part.factor.assign(tf.ones_like(part.factor))
    return bool(parts)


def layer_inputs(encoder: Any, patch: Patch) -> bool:
    """Each layer has the input of the layer before it."""
    if not hasattr(encoder, "layer_inputs"):
        return False
    weight = encoder.layer_inputs.weight
    weight.assign(tf.roll(weight, weight.shape[1] // len(encoder.layers), axis=1))
    return True


def experts_reversed(encoder: Any, patch: Patch) -> bool:
    """Experts in reverse order, under the same router."""
    parts = with_parts(encoder, "experts")
    for part in parts:
        part.experts = list(part.experts)[::-1]
    return bool(parts)


def one_expert_less(encoder: Any, patch: Patch) -> bool:
    """Without the least probable of the chosen experts."""
    parts = with_parts(encoder, "experts", "_chosen")
    for part in parts:
        part._chosen -= 1
    return bool(parts)


def expert_weights(encoder: Any, patch: Patch) -> bool:
    """Probabilities of the chosen experts that add up to 1."""
    top_k = tf.math.top_k

    def normalized(x: tf.Tensor, k: int) -> Any:
        values, places = top_k(x, k)
        return values / tf.reduce_sum(values, -1, keepdims=True), places

    parts = with_parts(encoder, "experts", "router")
    patch.setattr(tf.math, "top_k", normalized)
    return bool(parts)


def no_expert_bias(encoder: Any, patch: Patch) -> bool:
    """No bias after the experts."""
    return no_bias(with_parts(encoder, "experts", "bias"))


SPECIAL = (
    no_softcap,
    no_temperature,
    no_value_norm,
    embedding_scale,
    layer_factors,
    layer_inputs,
    experts_reversed,
    one_expert_less,
    expert_weights,
    no_expert_bias,
)
