"""T5 (C. Raffel et al., 2019), mT5 and umT5, as in transformers 5.23: the encoder of each."""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.activations import TRANSFORMERS_ACTIVATIONS
from tf_exporter.architectures.t5 import T5Config
from tf_exporter.encoders.attention import Bias, PreNormLayer, RelativeBias, SelfAttention, long_bias, padding_bias
from tf_exporter.encoders.blocks import Embedding, FeedForward, RMSNorm
from tf_exporter.encoders.encoder import Encoder
from tf_exporter.weights import Weights


class T5(Encoder):
    """Token ids → token embeddings [batch, length, d_model]."""

    config: T5Config
    bias_in_every_layer = False

    def __init__(self, config: T5Config, weights: Weights):
        super().__init__(config)
        features, eps = config.d_model, config.layer_norm_epsilon
        buckets, farthest = config.relative_attention_num_buckets, config.relative_attention_max_distance
        gated, act = config.gated, TRANSFORMERS_ACTIVATIONS[config.activation]
        # Where a checkpoint has both, and they differ, transformers does not tie them.
        name = "encoder.embed_tokens"
        name = name if f"{name}.weight" in weights else "shared"
        self.shared = Embedding(weights, name, config.vocab_size, features)
        self.biases, self.layers = [], []
        for index in range(config.num_layers):
            at = f"encoder.block.{index}.layer"
            if index == 0 or self.bias_in_every_layer:
                name = f"{at}.0.SelfAttention.relative_attention_bias"
                self.biases.append(RelativeBias(weights, name, buckets, config.num_heads, buckets, farthest))
            dense = f"{at}.1.DenseReluDense"
            up = (f"{dense}.wi_0", f"{dense}.wi_1") if gated else (f"{dense}.wi",)
            self.layers.append(
                PreNormLayer(
                    RMSNorm(weights, f"{at}.0.layer_norm", features, eps),
                    SelfAttention(
                        weights,
                        f"{at}.0.SelfAttention",
                        ("q", "k", "v", "o"),
                        features,
                        config.num_heads,
                        size=config.d_kv,
                        scale=1.0,
                        bias=False,
                    ),
                    RMSNorm(weights, f"{at}.1.layer_norm", features, eps),
                    FeedForward(weights, up, f"{dense}.wo", features, config.d_ff, act, gated=gated, bias=False),
                )
            )
        self.final_layer_norm = RMSNorm(weights, "encoder.final_layer_norm", features, eps)

    @property
    def token_table(self) -> Embedding:
        """The word embeddings."""
        return self.shared

    def __call__(
        self, input_ids: tf.Tensor, attention_mask: tf.Tensor, token_type_ids: tf.Tensor, *, long: bool = False
    ) -> tf.Tensor:
        """int32 [batch, length] each, segments unused → float32 [batch, length, d_model]."""
        batch, length = tf.unstack(tf.shape(input_ids))
        x = tf.reshape(self.shared(input_ids), [batch * length, self.hidden_size])
        if long:
            biases: list[Bias] = [long_bias(attention_mask, relative=bias.of_long_texts(length)) for bias in self.biases]
        else:
            mask = padding_bias(attention_mask)
            biases = [bias(length) + mask for bias in self.biases]
        for index, layer in enumerate(self.layers):
            x = layer(x, biases[index if self.bias_in_every_layer else 0], batch, length)
        return tf.reshape(self.final_layer_norm(x), [batch, length, self.hidden_size])


class UMT5(T5):
    """The same, with biases of its own in every layer."""

    bias_in_every_layer = True
