"""Deliberate mistakes in an encoder that has been built.

Each function returns whether it changed anything.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from tests.support.encoder_parts import Patch, no_bias, with_parts
from tests.support.special_mistakes import SPECIAL
from tf_exporter.layers import attention
from tf_exporter.layers.activations import TRANSFORMERS_ACTIVATIONS
from tf_exporter.layers.attention import RelativeBias
from tf_exporter.layers.basic import Linear
from tf_exporter.layers.rotary import Rotary


def _patched(patch: Patch, name: str, replacement: Any) -> bool:
    """Replaces this name in every module of architectures and layers that has it."""
    files = [
        module
        for path, module in sys.modules.items()
        if path.startswith(("tf_exporter.architectures.", "tf_exporter.layers."))
        and hasattr(module, name)
    ]
    for module in files:
        patch.setattr(module, name, replacement)
    return bool(files)


def epsilon(encoder: Any, patch: Patch) -> bool:
    """Adds 0.01 to every epsilon."""
    norms = with_parts(encoder, "eps")
    for norm in norms:
        norm.eps += 0.01
    return bool(norms)


def no_gain(encoder: Any, patch: Patch) -> bool:
    """Norms without their weight."""
    norms = with_parts(encoder, "eps", "weight")
    for norm in norms:
        norm.weight.assign(tf.ones_like(norm.weight))
    return bool(norms)


def no_norm_bias(encoder: Any, patch: Patch) -> bool:
    """Norms without their bias."""
    norms = with_parts(encoder, "eps", "bias")
    for norm in norms:
        norm.bias.assign(tf.zeros_like(norm.bias))
    return bool(norms)


def activation(encoder: Any, patch: Patch) -> bool:
    """Another activation: the tanh form of GELU, or ReLU."""
    parts = with_parts(encoder, "_activation") or with_parts(encoder, "_act")
    for part in parts:
        name = "_activation" if hasattr(part, "_activation") else "_act"
        exact = getattr(part, name) is TRANSFORMERS_ACTIVATIONS["gelu"]
        relu = getattr(part, name) is tf.nn.relu
        setattr(
            part,
            name,
            TRANSFORMERS_ACTIVATIONS["gelu_new" if exact else "gelu" if relu else "relu"],
        )
    return bool(parts)


def transposed(encoder: Any, patch: Patch) -> bool:
    """Square matrices transposed, as torch stores them."""
    square = [
        part
        for part in encoder.submodules
        if isinstance(part, Linear) and part.weight.shape[0] == part.weight.shape[1]
    ]
    for part in square:
        part.weight.assign(tf.transpose(part.weight))
    return bool(square)


def _query_products(encoder: Any) -> Iterator[tuple[tf.Variable, int, int]]:
    """The weights of each product with queries, the width of the queries and of one head."""
    for part in with_parts(encoder, "query_key_value", "_size"):
        product = getattr(part.query_key_value, "products", part.query_key_value)
        yield product.weight, part._heads * part._size, part._size
    for part in with_parts(encoder, "inputs", "_size"):
        yield part.inputs.weight, part._heads * part._size, part._size
    for part in with_parts(encoder, "query_key"):
        width = part.query_key.weight.shape[1] // 2
        yield part.query_key.weight, width, width // part._config.num_attention_heads


def heads(encoder: Any, patch: Patch) -> bool:
    """Each head has the query of the head before it."""
    changed = False
    for weight, width, size in _query_products(encoder):
        weight.assign(tf.concat([tf.roll(weight[:, :width], size, axis=1), weight[:, width:]], 1))
        changed = True
    return changed


def head_split(encoder: Any, patch: Patch) -> bool:
    """The features of the queries' heads interleaved."""
    changed = False
    for weight, width, size in _query_products(encoder):
        columns = tf.reshape(tf.transpose(tf.reshape(tf.range(width), [width // size, size])), [-1])
        weight.assign(
            tf.concat([tf.gather(weight[:, :width], columns, axis=1), weight[:, width:]], 1)
        )
        changed = True
    return changed


def query_without_key(encoder: Any, patch: Patch) -> bool:
    """Keys in place of queries."""
    changed = False
    for weight, width, _ in _query_products(encoder):
        if weight.shape[1] >= 2 * width:
            weight.assign(tf.concat([weight[:, width : 2 * width], weight[:, width:]], 1))
            changed = True
    return changed


def scaling(encoder: Any, patch: Patch) -> bool:
    """Scores that are 10% larger."""
    parts = [part for part in with_parts(encoder, "_scale") if part is not encoder]
    for part in parts:
        part._scale *= 1.1
    return bool(parts)


def no_output_bias(encoder: Any, patch: Patch) -> bool:
    """Attention without the bias of its output product."""
    return no_bias(
        [part.output for part in with_parts(encoder, "output") if isinstance(part.output, Linear)]
    )


def no_feed_forward_bias(encoder: Any, patch: Patch) -> bool:
    """Feed-forward parts without their first bias."""
    return no_bias([part.up for part in with_parts(encoder, "up", "down")])


def gate(encoder: Any, patch: Patch) -> bool:
    """The two halves of a gated product exchanged."""
    parts = [part for part in with_parts(encoder, "_gated") if part._gated]
    for part in parts:
        part.up.weight.assign(tf.roll(part.up.weight, part.up.weight.shape[1] // 2, axis=1))
    return bool(parts)


def layers_reversed(encoder: Any, patch: Patch) -> bool:
    """The layers in reverse order; no change where they share weights or one has no norm."""
    layers = list(encoder.layers)
    if len({id(layer) for layer in layers}) < 2:
        return False
    encoder.layers = layers[::-1]
    return True


def layer_missing(encoder: Any, patch: Patch) -> bool:
    """One layer less."""
    encoder.layers = list(encoder.layers)[:-1]
    return True


def positions(encoder: Any, patch: Patch) -> bool:
    """Positions that start at one too many."""
    tables = [part.position_embeddings for part in with_parts(encoder, "position_embeddings")]
    for table in tables:
        table.weight.assign(tf.roll(table.weight, -1, axis=0))
    return bool(tables)


def segments(encoder: Any, patch: Patch) -> bool:
    """No segment embeddings."""
    tables = [part.token_type_embeddings for part in with_parts(encoder, "token_type_embeddings")]
    for table in tables:
        table.weight.assign(tf.zeros_like(table.weight))
    return bool(tables)


def distances(encoder: Any, patch: Patch) -> bool:
    """Relative positions with the opposite sign."""
    biases = [part for part in encoder.submodules if isinstance(part, RelativeBias)]
    for bias in biases:
        bias._buckets = tf.reverse(tf.convert_to_tensor(bias._buckets), [0])
    rows = with_parts(encoder, "_farthest", "_rows")
    for part in rows:
        part._rows = tf.reverse(tf.convert_to_tensor(part._rows), [0])
    return bool(biases or rows)


def _rotaries(encoder: Any) -> list[Rotary]:
    rotaries = getattr(encoder, "_rotary", [])
    return (
        [rotaries]
        if isinstance(rotaries, Rotary)
        else list(rotaries.values() if hasattr(rotaries, "values") else rotaries)
    )


def rope_theta(encoder: Any, patch: Patch) -> bool:
    """Another base of the rotary positions."""
    rotaries = _rotaries(encoder)
    for rotary in rotaries:
        rotary._frequencies = rotary._frequencies**1.05
    return bool(rotaries)


def rope_interleaved(encoder: Any, patch: Patch) -> bool:
    """Rotary pairs of neighbouring features, not of the two halves."""

    def rotated(x: tf.Tensor, angles: Any) -> tf.Tensor:
        cosines, sines = angles
        x, rest = x[..., : cosines.shape[-1]], x[..., cosines.shape[-1] :]
        other = tf.reshape(tf.stack([-x[..., 1::2], x[..., ::2]], -1), tf.shape(x))
        return tf.concat([x * cosines + other * sines, rest], -1)

    return bool(_rotaries(encoder)) and _patched(patch, "rotated", rotated)


def _never_sees_padding(encoder: Any) -> bool:
    """Whether it is causal, with positions that forbid padding on the left."""
    causal = getattr(encoder, "_causal", False) is True
    return causal and bool(encoder.config.counts_padding(0))


def no_mask(encoder: Any, patch: Patch) -> bool:
    """Padding is not masked."""
    return not _never_sees_padding(encoder) and _patched(
        patch,
        "padding_bias",
        lambda mask: tf.zeros_like(mask, tf.float32)[:, tf.newaxis, tf.newaxis, :],
    )


def soft_mask(encoder: Any, patch: Patch) -> bool:
    """Padding is masked too weakly."""
    return not _never_sees_padding(encoder) and _patched(
        patch,
        "padding_bias",
        lambda mask: (1.0 - tf.cast(mask, tf.float32))[:, tf.newaxis, tf.newaxis, :] * -3.0,
    )


def window(encoder: Any, patch: Patch) -> bool:
    """Local layers that see one token further."""
    if isinstance(getattr(encoder, "_window", None), int):
        encoder._window += 1
        return True
    original = attention.window_bias
    return hasattr(sys.modules[type(encoder).__module__], "window_bias") and _patched(
        patch, "window_bias", lambda length, size: original(length, size + 1)
    )


def causality(encoder: Any, patch: Patch) -> bool:
    """Causal layers see the following tokens, or others do not."""
    if not isinstance(getattr(encoder, "_causal", None), bool):
        return False
    encoder._causal = not encoder._causal
    return True


def layer_types(encoder: Any, patch: Patch) -> bool:
    """Local attention in global layers."""
    types = getattr(encoder, "_types", None)
    if types is None or len(set(types)) < 2:
        return False
    encoder._types = list(types)[::-1]
    return bool(list(types) != encoder._types)


def norm_order(encoder: Any, patch: Patch) -> bool:
    """The first norm of each layer on the other side of the residual sum."""

    def post(
        layer: Any, x: tf.Tensor, bias: Any, batch: Any, length: Any, angles: Any = None
    ) -> tf.Tensor:
        x = layer.attention_norm(layer.attention(x, bias, batch, length, angles)) + x
        return layer.output_norm(layer.ffn(x) + x)

    def pre(
        layer: Any, x: tf.Tensor, bias: Any, batch: Any, length: Any, *positions: Any
    ) -> tf.Tensor:
        x = x + layer.attention(x, bias, batch, length, *positions)
        return x + layer.ffn(layer.ffn_norm(x))

    patch.setattr(attention.PostNormLayer, "__call__", post)
    patch.setattr(attention.PreNormLayer, "__call__", pre)
    return any(
        isinstance(part, (attention.PostNormLayer, attention.PreNormLayer))
        for part in encoder.submodules
    )


def last_norm(encoder: Any, patch: Patch) -> bool:
    """No norm after the last layer."""
    name = next(
        (name for name in ("final_norm", "final_layer_norm", "norm") if hasattr(encoder, name)),
        None,
    )
    if name is None:
        return False
    setattr(encoder, name, tf.identity)
    return True


def first_norm(encoder: Any, patch: Patch) -> bool:
    """No norm of the embeddings."""
    if not hasattr(encoder, "embeddings_norm"):
        return False
    encoder.embeddings_norm = tf.identity
    return True


MISTAKES: dict[str, Callable[[Any, Patch], bool]] = {
    function.__name__: function
    for function in (
        epsilon, no_gain, no_norm_bias, activation, transposed, heads, head_split,
        query_without_key, scaling, no_output_bias, no_feed_forward_bias, gate, layers_reversed,
        layer_missing, positions, segments, distances, rope_theta, rope_interleaved, no_mask,
        soft_mask, window, causality, layer_types, norm_order, last_norm, first_norm, *SPECIAL,
    )
}  # fmt: skip
