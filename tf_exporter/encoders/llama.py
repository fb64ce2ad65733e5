"""The layout of Llama (H. Touvron et al., 2023), which Qwen2, Qwen3 and EuroBERT have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from tf_exporter.encoders.attention import PreNormLayer, biases_by_type
from tf_exporter.encoders.blocks import Embedding, FeedForward, RMSNorm
from tf_exporter.encoders.config import activation, check_heads, read_config, read_layer_types
from tf_exporter.encoders.grouped_attention import GroupedAttention, read_key_value_heads
from tf_exporter.encoders.rotary import FLAT_ROPE_KEYS, Rotary, read_flat_rope
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.weights import Weights

_FARTHEST = 2**31 - 1
_THETA = 10_000.0
"""Where the config has no other."""
_READ_HERE = FLAT_ROPE_KEYS | {"num_key_value_heads", "head_dim", "is_causal"}
_READ_WHERE_CAUSAL = frozenset("use_sliding_window sliding_window max_window_layers layer_types".split())


@dataclass(frozen=True)
class LlamaConfig:
    """What every such config has, with Qwen's defaults; heads, windows and rotary positions are read beside it."""

    vocab_size: int = 151936
    hidden_size: int = 4096
    intermediate_size: int = 22016
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    hidden_act: str = "silu"
    max_position_embeddings: int = 32768
    rms_norm_eps: float = 1e-6

    @property
    def biases(self) -> tuple[bool, bool, bool]:
        """Whether query, key and value have one; the output of attention; the feed-forward part."""
        raise NotImplementedError


class Llama(tf.Module):
    """Token ids → token embeddings [batch, length, hidden_size]."""

    config_class: type[LlamaConfig]
    prefix = "model"
    unused: tuple[str, ...] = (r"lm_head\..*", r"score\..*", r"(.*\.)?rotary_emb\.inv_freq")
    causal = True
    """Whether tokens see only themselves and what is before them, if the config says no other; so do layers have windows."""
    key_value_heads: int | None = 32
    """Where the config has no such key; None: as many as heads."""
    head_size: int | None = None
    """Where the config has no such key; None: the hidden size is divided among the heads."""
    head_size_kinds: tuple[type, ...] = (int,)
    norms_heads = False
    ignored: frozenset[str] = frozenset()

    def __init__(self, file: ConfigFile, weights: Weights):
        super().__init__()
        read_here = _READ_HERE | _READ_WHERE_CAUSAL if self.causal else _READ_HERE
        self.config = config = read_config(file, self.config_class, ignored=self.ignored | read_here)
        hidden, heads, eps = config.hidden_size, config.num_attention_heads, config.rms_norm_eps
        rope = read_flat_rope(file, _THETA, config.max_position_embeddings)
        size = self._read_head_size(file)
        shared = read_key_value_heads(file, heads, self.key_value_heads)
        types = self._read_masks(file)
        act = activation(file, "hidden_act", config.hidden_act)
        self.hidden_size, self.vocab_size, self.type_vocab_size = hidden, config.vocab_size, 0
        self.max_length, self.max_position_embeddings = rope.max_length, config.max_position_embeddings
        bias, output_bias, inner_bias = config.biases
        norm = (eps, 0.0) if self.norms_heads else None
        self.embed_tokens = Embedding(weights, "embed_tokens", config.vocab_size, hidden)
        self.layers = []
        for index in range(config.num_hidden_layers):
            at = f"layers.{index}"
            mlp, up = f"{at}.mlp", (f"{at}.mlp.gate_proj", f"{at}.mlp.up_proj")
            inner = config.intermediate_size
            self.layers.append(
                PreNormLayer(
                    RMSNorm(weights, f"{at}.input_layernorm", hidden, eps),
                    GroupedAttention(
                        weights, f"{at}.self_attn", hidden, (heads, shared), size, bias=bias, output_bias=output_bias, norm=norm
                    ),
                    RMSNorm(weights, f"{at}.post_attention_layernorm", hidden, eps),
                    FeedForward(weights, up, f"{mlp}.down_proj", hidden, inner, act, gated=True, bias=inner_bias),
                )
            )
        # Not before the weights have shown that there are so many layers, and heads of that size.
        self._types = types(config.num_hidden_layers)
        self._rotary = Rotary(rope, size)
        self.norm = RMSNorm(weights, "norm", hidden, eps)

    def _read_head_size(self, file: ConfigFile) -> int:
        size: int | None = file.take("head_dim", self.head_size_kinds, self.head_size)
        if size is None:
            check_heads(file, "num_attention_heads", self.config.hidden_size, self.config.num_attention_heads)
            return self.config.hidden_size // self.config.num_attention_heads
        if size < 1:
            raise file.unsupported("head_dim", "a number of at least 1")
        return size

    def _read_masks(self, file: ConfigFile) -> Callable[[int], list[str]]:
        """From the number of layers to the type of each; whether they are causal, and their window."""
        self._causal, self._window = self.causal, None
        if not self.causal:
            # True would make the reference causal in batches without padding, and only there.
            file.require("is_causal", (False,))
            return lambda layers: ["full_attention"] * layers
        self._causal = file.take("is_causal", bool, True)
        window = file.take("sliding_window", (int, type(None)), 4096)
        self._window = window if file.take("use_sliding_window", bool, False) else None
        first = file.take("max_window_layers", int, 28)
        types = read_layer_types(file, lambda index: self._window is not None and index >= first)
        if self._window is not None and not 1 <= self._window <= _FARTHEST:
            raise file.unsupported("sliding_window", "a number of at least 1")

        def checked(layers: int) -> list[str]:
            found = types(layers)
            if self._window is None and "sliding_attention" in found:
                raise file.unsupported("layer_types", "full_attention alone, where use_sliding_window gives no window")
            return found

        return checked

    def counts_padding(self, pad_id: int) -> bool:
        """As in `Bert`: only distances matter."""
        return False

    def __call__(self, input_ids: tf.Tensor, attention_mask: tf.Tensor, token_type_ids: tf.Tensor) -> tf.Tensor:
        """int32 [batch, length] each, segments unused → float32 [batch, length, hidden_size]."""
        batch, length = tf.unstack(tf.shape(input_ids))
        x = tf.reshape(self.embed_tokens(input_ids), [batch * length, self.hidden_size])
        biases, angles = biases_by_type(attention_mask, self._causal, self._window), self._rotary(length)
        for name, layer in zip(self._types, self.layers):
            x = layer(x, biases[name], batch, length, angles)
        return tf.reshape(self.norm(x), [batch, length, self.hidden_size])
