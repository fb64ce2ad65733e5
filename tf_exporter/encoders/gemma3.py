"""Gemma 3's text encoder (Gemma team, 2025), as `transformers.models.gemma3` 5.23: norms on both sides of each part."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from tf_exporter.encoders.attention import biases_by_type
from tf_exporter.encoders.blocks import Embedding, FeedForward, RMSNorm
from tf_exporter.encoders.config import activation, check_heads, read_config, read_layer_types
from tf_exporter.encoders.grouped_attention import GroupedAttention, read_key_value_heads
from tf_exporter.encoders.rotary import Angles, Rotary, read_ropes_by_type, shortest
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.weights import Weights

_FARTHEST = 2**31 - 1
_PATTERN = 6
_GAIN = 1.0
"""What is added to the weights of all norms."""
_THETAS = {"full_attention": ("rope_theta", 1_000_000.0), "sliding_attention": ("rope_local_base_freq", 10_000.0)}
_READ_HERE = frozenset(
    """
    num_key_value_heads is_causal use_bidirectional_attention sliding_window layer_types sliding_window_pattern
    _sliding_window_pattern rope_parameters rope_scaling rope_theta rope_local_base_freq attn_logit_softcapping
    partial_rotary_factor
    """.split()
)
_UNUSED_KEYS = frozenset("final_logit_softcapping cache_implementation".split())


@dataclass(frozen=True)
class Gemma3Config:
    """`transformers.Gemma3TextConfig`: the keys that change a token embedding, but for masks and rotary positions."""

    vocab_size: int = 262_208
    hidden_size: int = 2304
    intermediate_size: int = 9216
    num_hidden_layers: int = 26
    num_attention_heads: int = 8
    head_dim: int = 256
    hidden_activation: str = "gelu_pytorch_tanh"
    max_position_embeddings: int = 131_072
    rms_norm_eps: float = 1e-6
    attention_bias: bool = False
    query_pre_attn_scalar: int = 256


class Gemma3Layer(tf.Module):
    """Attention and feed-forward, a norm before and after each."""

    def __init__(self, at: str, norm: Callable[[str], RMSNorm], attention: GroupedAttention, ffn: FeedForward):
        super().__init__()
        self.attention_norm, self.attention_output_norm = norm(f"{at}.input_layernorm"), norm(f"{at}.post_attention_layernorm")
        self.ffn_norm, self.ffn_output_norm = norm(f"{at}.pre_feedforward_layernorm"), norm(f"{at}.post_feedforward_layernorm")
        self.attention, self.ffn = attention, ffn

    def __call__(self, x: tf.Tensor, bias: tf.Tensor, batch: tf.Tensor, length: tf.Tensor, angles: Angles) -> tf.Tensor:
        """As `SelfAttention`."""
        x = x + self.attention_output_norm(self.attention(self.attention_norm(x), bias, batch, length, angles))
        return x + self.ffn_output_norm(self.ffn(self.ffn_norm(x)))


class Gemma3(tf.Module):
    """Token ids → token embeddings [batch, length, hidden_size]."""

    config_class = Gemma3Config
    prefix = "model"
    unused = (r"lm_head\..*", r"score\..*", r"(.*\.)?rotary_emb\..*inv_freq")

    def __init__(self, file: ConfigFile, weights: Weights):
        super().__init__()
        self.config = config = read_config(file, self.config_class, ignored=_UNUSED_KEYS | _READ_HERE)
        # The reference takes it and leaves it out of attention.
        file.require("attn_logit_softcapping", (None,))
        file.require("partial_rotary_factor", (1.0, 1))
        hidden, heads, size = config.hidden_size, config.num_attention_heads, config.head_dim
        check_heads(file, "num_attention_heads", hidden, heads)
        shared = read_key_value_heads(file, heads, 4)
        ropes = read_ropes_by_type(file, _THETAS, config.max_position_embeddings, scaled=("full_attention",))
        types, self._causal, self._window = _read_layer_types(file), *_read_masks(file)
        act = activation(file, "hidden_activation", config.hidden_activation)
        self.hidden_size, self.vocab_size, self.type_vocab_size = hidden, config.vocab_size, 0
        self.max_length, self.max_position_embeddings = shortest(ropes.values()), config.max_position_embeddings
        self.embed_tokens = Embedding(weights, "embed_tokens", config.vocab_size, hidden)
        self._scale = math.sqrt(hidden)
        self.layers = []
        for index in range(config.num_hidden_layers):
            at = f"layers.{index}"
            attention = GroupedAttention(
                weights,
                f"{at}.self_attn",
                hidden,
                (heads, shared),
                size,
                scale=config.query_pre_attn_scalar**-0.5,
                bias=config.attention_bias,
                output_bias=config.attention_bias,
                norm=(config.rms_norm_eps, _GAIN),
            )
            up = (f"{at}.mlp.gate_proj", f"{at}.mlp.up_proj")
            ffn = FeedForward(weights, up, f"{at}.mlp.down_proj", hidden, config.intermediate_size, act, gated=True, bias=False)
            self.layers.append(Gemma3Layer(at, lambda name: self._norm(weights, name), attention, ffn))
        # Not before the weights have shown that there are so many layers, and heads of that size.
        self._types = types(config.num_hidden_layers)
        self._rotary = {name: Rotary(rope, size) for name, rope in ropes.items()}
        self.norm = self._norm(weights, "norm")

    def _norm(self, weights: Weights, name: str) -> RMSNorm:
        return RMSNorm(weights, name, self.hidden_size, self.config.rms_norm_eps, _GAIN)

    def counts_padding(self, pad_id: int) -> bool:
        """As in `Bert`: only distances matter."""
        return False

    def __call__(self, input_ids: tf.Tensor, attention_mask: tf.Tensor, token_type_ids: tf.Tensor) -> tf.Tensor:
        """int32 [batch, length] each, segments unused → float32 [batch, length, hidden_size]."""
        batch, length = tf.unstack(tf.shape(input_ids))
        x = tf.reshape(self.embed_tokens(input_ids) * self._scale, [batch * length, self.hidden_size])
        biases = biases_by_type(attention_mask, self._causal, self._window)
        angles = {name: rotary(length) for name, rotary in self._rotary.items()}
        for name, layer in zip(self._types, self.layers):
            x = layer(x, biases[name], batch, length, angles[name])
        return tf.reshape(self.norm(x), [batch, length, self.hidden_size])


def _read_layer_types(file: ConfigFile) -> Callable[[int], list[str]]:
    """As listed, or every n-th in full."""
    every: int = file.take("sliding_window_pattern", int, _PATTERN)
    if every < 1:
        raise file.unsupported("sliding_window_pattern", "a number of at least 1")
    if file.values.get("layer_types") is None:
        # The reference saves it under this name, and does not read it.
        file.require("_sliding_window_pattern", (every,))
    return read_layer_types(file, lambda index: (index + 1) % every > 0)


def _read_masks(file: ConfigFile) -> tuple[bool, int]:
    """Whether tokens see only what is before them, and the window of sliding layers, as `biases_by_type` takes it."""
    both_sides = file.take("use_bidirectional_attention", (bool, type(None)), False)
    causal = file.take("is_causal", bool, True)
    window: int = file.take("sliding_window", int, 4096)
    least = 0 if both_sides else 1
    if not least <= window <= _FARTHEST:
        raise file.unsupported("sliding_window", f"a number of at least {least}")
    if not both_sides:
        return causal, window
    # Half of it, and what is nearer than one more; or as near, where `is_causal` has its own inclusive window besides.
    return False, window // 2 + (not causal)
