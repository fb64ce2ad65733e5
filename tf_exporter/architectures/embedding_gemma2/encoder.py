"""EmbeddingGemma 2's text encoder (Google, 2026), as `transformers.models.embedding_gemma2` 5.24.

Gemma 3's layers, each followed by a gate: a projection of the word embeddings multiplies it. The
last hidden state is projected to the width of the embeddings.
"""

from __future__ import annotations

import math

import tensorflow as tf

from tf_exporter.architectures.base import BaseEncoder
from tf_exporter.architectures.embedding_gemma2.config import EmbeddingGemma2Config
from tf_exporter.architectures.gemma3.encoder import Gemma3Layer
from tf_exporter.layers.activations import TRANSFORMERS_ACTIVATIONS
from tf_exporter.layers.attention import Bias, biases_by_type
from tf_exporter.layers.basic import Embedding, FeedForward, Linear, RMSNorm, variable
from tf_exporter.layers.grouped_attention import GroupedAttention
from tf_exporter.layers.rotary import Angles, Rotary
from tf_exporter.model.weights import Weights


class Gate(tf.Module):
    """x + norm(projection(activation(gate(x)) · input)), for an input that each layer has."""

    def __init__(self, weights: Weights, prefix: str, config: EmbeddingGemma2Config):
        super().__init__()
        width, inner = config.width, config.hidden_size_per_layer_input
        self.gate = Linear(weights, (f"{prefix}.per_layer_input_gate",), width, inner, False)
        self.projection = Linear(weights, (f"{prefix}.per_layer_projection",), inner, width, False)
        self.norm = RMSNorm(
            weights, f"{prefix}.post_per_layer_input_norm", width, config.rms_norm_eps
        )
        self._activation = TRANSFORMERS_ACTIVATIONS[config.hidden_activation]

    def __call__(self, x: tf.Tensor, layer_input: tf.Tensor) -> tf.Tensor:
        """float32 [tokens, width], [tokens, inner] → [tokens, width]"""
        return x + self.norm(self.projection(self._activation(self.gate(x)) * layer_input))


class GatedLayer(tf.Module):
    """Gemma 3's layer, a gate, and a factor."""

    def __init__(self, kind: str, layer: Gemma3Layer, gate: Gate, factor: tf.Variable):
        """`kind`: the layer type, which determines the size of heads."""
        super().__init__()
        self.kind, self.layer, self.gate, self.factor = kind, layer, gate, factor

    def __call__(
        self,
        x: tf.Tensor,
        layer_input: tf.Tensor,
        bias: Bias,
        batch: tf.Tensor,
        length: tf.Tensor,
        angles: Angles,
    ) -> tf.Tensor:
        return self.gate(self.layer(x, bias, batch, length, angles), layer_input) * self.factor


class EmbeddingGemma2(BaseEncoder):
    """EmbeddingGemma 2's text encoder: token ids → hidden states. Only the last has hidden_size."""

    config: EmbeddingGemma2Config

    def __init__(self, config: EmbeddingGemma2Config, weights: Weights):
        super().__init__(config)
        width, inner = config.width, config.hidden_size_per_layer_input
        self._causal, self._window, self._types = (
            False,
            config.sliding_window,
            list(config.layer_types),
        )
        self.embed_tokens = Embedding(weights, "embed_tokens", config.vocab_size, width)
        self._width, self._scale = width, math.sqrt(width)
        self._input_scale = width**-0.5
        layers = config.num_hidden_layers
        self.layer_inputs = Linear(
            weights, ("ple.per_layer_model_projection",), width, layers * inner, False
        )
        self.inputs_norm = RMSNorm(
            weights, "ple.per_layer_projection_norm", inner, config.rms_norm_eps
        )
        self.layers = [
            self._layer(weights, f"layers.{index}", name)
            for index, name in enumerate(config.layer_types)
        ]
        self._rotary = {name: Rotary(rope) for name, rope in config.ropes.items()}
        self.norm = RMSNorm(weights, "norm", width, config.rms_norm_eps)
        self.projection = Linear(
            weights, ("embedding_projection",), width, config.embedding_dim, False
        )

    def _layer(self, weights: Weights, prefix: str, kind: str) -> GatedLayer:
        config = self.config
        shared, size = config.heads[kind]
        attention = GroupedAttention(
            weights,
            f"{prefix}.self_attn",
            config.width,
            (config.num_attention_heads, shared),
            size,
            scale=1.0,
            bias=config.attention_bias,
            output_bias=config.attention_bias,
            norm=(config.rms_norm_eps, 0.0),
            norms_values=True,
        )
        ffn = FeedForward(
            weights,
            (f"{prefix}.mlp.gate_proj", f"{prefix}.mlp.up_proj"),
            f"{prefix}.mlp.down_proj",
            config.width,
            config.intermediate_size,
            TRANSFORMERS_ACTIVATIONS[config.hidden_activation],
            gated=True,
            bias=False,
        )
        layer = Gemma3Layer(
            prefix,
            lambda name: RMSNorm(weights, name, config.width, config.rms_norm_eps),
            attention,
            ffn,
        )
        gate = Gate(weights, f"{prefix}.ple_block", config)
        factor = variable(weights.take(f"{prefix}.layer_scalar", (1,)), "layer_scalar")
        return GatedLayer(kind, layer, gate, factor)

    @property
    def token_table(self) -> Embedding:
        return self.embed_tokens

    def __call__(
        self,
        input_ids: tf.Tensor,
        attention_mask: tf.Tensor,
        token_type_ids: tf.Tensor,
        *,
        long: bool = False,
    ) -> list[tf.Tensor]:
        batch, length = tf.unstack(tf.shape(input_ids))
        x = tf.reshape(self.embed_tokens(input_ids) * self._scale, [-1, self._width])
        inputs = self._inputs(x)
        biases = biases_by_type(attention_mask, self._causal, self._window, long)
        angles = {name: rotary(length) for name, rotary in self._rotary.items()}
        states = [x]
        for name, layer, layer_input in zip(self._types, self.layers, inputs):
            states.append(
                layer(states[-1], layer_input, biases[name], batch, length, angles[layer.kind])
            )
        return [*states[:-1], self.projection(self.norm(states[-1]))]

    def _inputs(self, x: tf.Tensor) -> list[tf.Tensor]:
        """The input of each layer's gate, float32 [tokens, inner], from scaled word embeddings."""
        count, inner = self.config.num_hidden_layers, self.config.hidden_size_per_layer_input
        joined = tf.reshape(self.layer_inputs(x) * self._input_scale, [-1, count, inner])
        inputs: list[tf.Tensor] = tf.unstack(self.inputs_norm(joined), num=count, axis=1)
        return inputs
