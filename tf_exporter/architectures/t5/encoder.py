"""T5 (C. Raffel et al., 2019), mT5 and umT5, as in transformers 5.24: encoders only."""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.architectures.base import BaseEncoder
from tf_exporter.architectures.t5.config import T5Config
from tf_exporter.layers.activations import TRANSFORMERS_ACTIVATIONS
from tf_exporter.layers.attention import (
    Bias,
    PreNormLayer,
    RelativeBias,
    SelfAttention,
    long_bias,
    padding_bias,
)
from tf_exporter.layers.basic import Embedding, FeedForward, RMSNorm
from tf_exporter.model.weights import Weights


class T5(BaseEncoder):
    """The encoder of T5 and mT5: token ids → hidden states."""

    config: T5Config
    bias_in_every_layer = False

    def __init__(self, config: T5Config, weights: Weights):
        super().__init__(config)
        features, eps = config.d_model, config.layer_norm_epsilon
        buckets, farthest = (
            config.relative_attention_num_buckets,
            config.relative_attention_max_distance,
        )
        gated, act = config.gated, TRANSFORMERS_ACTIVATIONS[config.activation]
        # transformers does not tie the two if a checkpoint has both and they differ.
        name = "encoder.embed_tokens"
        name = name if f"{name}.weight" in weights else "shared"
        self.shared = Embedding(weights, name, config.vocab_size, features)
        self.biases, self.layers = [], []
        for index in range(config.num_layers):
            prefix = f"encoder.block.{index}.layer"
            if index == 0 or self.bias_in_every_layer:
                name = f"{prefix}.0.SelfAttention.relative_attention_bias"
                self.biases.append(
                    RelativeBias(weights, name, buckets, config.num_heads, buckets, farthest)
                )
            dense = f"{prefix}.1.DenseReluDense"
            up = (f"{dense}.wi_0", f"{dense}.wi_1") if gated else (f"{dense}.wi",)
            self.layers.append(
                PreNormLayer(
                    RMSNorm(weights, f"{prefix}.0.layer_norm", features, eps),
                    SelfAttention(
                        weights,
                        f"{prefix}.0.SelfAttention",
                        ("q", "k", "v", "o"),
                        features,
                        config.num_heads,
                        size=config.d_kv,
                        scale=1.0,
                        bias=False,
                    ),
                    RMSNorm(weights, f"{prefix}.1.layer_norm", features, eps),
                    FeedForward(
                        weights,
                        up,
                        f"{dense}.wo",
                        features,
                        config.d_ff,
                        act,
                        gated=gated,
                        bias=False,
                    ),
                )
            )
        self.final_layer_norm = RMSNorm(weights, "encoder.final_layer_norm", features, eps)

    @property
    def token_table(self) -> Embedding:
        return self.shared

    def __call__(
        self,
        input_ids: tf.Tensor,
        attention_mask: tf.Tensor,
        token_type_ids: tf.Tensor,
        *,
        long: bool = False,
    ) -> list[tf.Tensor]:
        batch, length = tf.unstack(tf.shape(input_ids))
        x = tf.reshape(self.shared(input_ids), [batch * length, self.hidden_size])
        if long:
            biases: list[Bias] = [
                long_bias(attention_mask, relative=bias.for_long_texts(length))
                for bias in self.biases
            ]
        else:
            mask = padding_bias(attention_mask)
            biases = [bias(length) + mask for bias in self.biases]
        states = [x]
        for index, layer in enumerate(self.layers):
            bias = biases[index if self.bias_in_every_layer else 0]
            states.append(layer(states[-1], bias, batch, length))
        return [*states[:-1], self.final_layer_norm(states[-1])]


class UMT5(T5):
    """The encoder of umT5, where every layer has its own relative bias."""

    bias_in_every_layer = True
