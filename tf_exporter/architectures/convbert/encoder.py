"""ConvBERT (Z. Jiang et al., 2020), as `transformers.models.convbert` 5.24.

Half of BERT's heads are convolutions. Their kernels are computed from the tokens.
"""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.architectures.bert.encoder import Bert
from tf_exporter.architectures.convbert.config import ConvBertConfig
from tf_exporter.layers.activations import Activation
from tf_exporter.layers.attention import Bias, long_bias, padding_bias
from tf_exporter.layers.basic import FeedForward, LayerNorm, Linear, variable
from tf_exporter.layers.small_batch import attend
from tf_exporter.model.weights import Weights


class ConvBert(Bert):
    """The ConvBERT encoder: token ids → hidden states.

    In the reference, padding leaks into the convolutions. Here, each text has the result that the
    reference computes for it alone.
    """

    config: ConvBertConfig

    def _embedding_size(self) -> int:
        return self.config.embedding_size

    def _project(self, weights: Weights) -> Linear | None:
        width, hidden = self.config.embedding_size, self.config.hidden_size
        return None if width == hidden else Linear(weights, ("embeddings_project",), width, hidden)

    def _layers(self, weights: Weights, act: Activation) -> list[MixedLayer]:
        config = self.config
        return [
            MixedLayer(weights, f"encoder.layer.{index}", config, act)
            for index in range(config.num_hidden_layers)
        ]

    def __call__(
        self,
        input_ids: tf.Tensor,
        attention_mask: tf.Tensor,
        token_type_ids: tf.Tensor,
        *,
        long: bool = False,
    ) -> list[tf.Tensor]:
        batch, length = tf.unstack(tf.shape(input_ids))
        x = self.embedded(input_ids, token_type_ids)
        bias = long_bias(attention_mask) if long else padding_bias(attention_mask)
        present = tf.reshape(tf.cast(attention_mask, tf.float32), [batch * length, 1])
        states = [x]
        for layer in self.layers:
            states.append(layer(states[-1], bias, present, batch, length))
        return states


class MixedLayer(tf.Module):
    """BERT's layer with `MixedAttention`."""

    def __init__(self, weights: Weights, prefix: str, config: ConvBertConfig, act: Activation):
        super().__init__()
        hidden, eps = config.hidden_size, config.layer_norm_eps
        self.attention = MixedAttention(weights, f"{prefix}.attention", config)
        self.attention_norm = LayerNorm(
            weights, f"{prefix}.attention.output.LayerNorm", hidden, eps
        )
        names = (f"{prefix}.intermediate.dense",), f"{prefix}.output.dense"
        self.ffn: FeedForward | GroupedFeedForward
        if config.num_groups == 1:
            self.ffn = FeedForward(weights, *names, hidden, config.intermediate_size, act)
        else:
            self.ffn = GroupedFeedForward(weights, *names, config, act)
        self.output_norm = LayerNorm(weights, f"{prefix}.output.LayerNorm", hidden, eps)

    def __call__(
        self, x: tf.Tensor, bias: Bias, present: tf.Tensor, batch: tf.Tensor, length: tf.Tensor
    ) -> tf.Tensor:
        x = self.attention_norm(self.attention(x, bias, present, batch, length) + x)
        return self.output_norm(self.ffn(x) + x)


class MixedAttention(tf.Module):
    """Attention heads, and convolution heads whose kernels are computed from each token."""

    def __init__(self, weights: Weights, prefix: str, config: ConvBertConfig):
        super().__init__()
        hidden, width = config.hidden_size, config.conv_kernel_size
        self._heads, self._inner, self._width = config.heads, hidden // 2, width
        self._size = self._inner // self._heads
        names = ("query", "key", "value", "conv_out_layer")
        self.inputs = Linear(
            weights, tuple(f"{prefix}.self.{name}" for name in names), hidden, self._inner
        )
        conv = f"{prefix}.self.key_conv_attn_layer"
        self.depthwise = variable(
            weights.take(f"{conv}.depthwise.weight", (hidden, 1, width)).transpose(1, 2, 0)[
                ..., None
            ],
            "depthwise",
        )
        self.pointwise = variable(
            weights.take(f"{conv}.pointwise.weight", (self._inner, hidden, 1))[..., 0].T,
            "pointwise",
        )
        self.pointwise_bias = variable(
            weights.take(f"{conv}.bias", (self._inner, 1))[:, 0], "pointwise_bias"
        )
        self.kernel = Linear(
            weights, (f"{prefix}.self.conv_kernel_layer",), self._inner, self._heads * width
        )
        self.output = Linear(weights, (f"{prefix}.output.dense",), hidden, hidden)

    def __call__(
        self, x: tf.Tensor, bias: Bias, present: tf.Tensor, batch: tf.Tensor, length: tf.Tensor
    ) -> tf.Tensor:
        """Mixes tokens, as `SelfAttention`; `present`: 1 or 0 (padding), [batch · length, 1]."""
        query, key, value, mixed = tf.split(self.inputs(x), 4, axis=-1)
        near = tf.reshape(x * present, [batch, 1, length, x.shape[-1]])
        near = tf.nn.depthwise_conv2d(near, self.depthwise, strides=[1, 1, 1, 1], padding="SAME")
        near = tf.nn.bias_add(
            tf.matmul(tf.reshape(near, tf.shape(x)), self.pointwise), self.pointwise_bias
        )
        kernel = tf.nn.softmax(
            tf.reshape(self.kernel(near * query), [batch, length, self._heads, self._width])
        )
        convolved = self._convolved(
            tf.reshape(mixed * present, [batch, length, self._heads, self._size]), kernel, length
        )

        def by_head(x: tf.Tensor) -> tf.Tensor:
            return tf.transpose(
                tf.reshape(x, [batch, length, self._heads, self._size]), [0, 2, 1, 3]
            )

        attended = attend(by_head(query), by_head(key), by_head(value), bias, self._size**-0.5)
        attended = tf.transpose(attended, [0, 2, 1, 3])
        return self.output(tf.reshape(tf.concat([attended, convolved], 2), tf.shape(x)))

    def _convolved(self, x: tf.Tensor, kernel: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        """`x` [batch, length, heads, size] convolved by `kernel` [batch, length, heads, width]."""
        side = self._width // 2
        padded = tf.pad(x, [[0, 0], [side, side], [0, 0], [0, 0]])
        neighbours = tf.stack(
            [padded[:, start : start + length] for start in range(self._width)], axis=2
        )
        return tf.reduce_sum(
            neighbours * tf.transpose(kernel, [0, 1, 3, 2])[..., tf.newaxis], axis=2
        )


class GroupedLinear(tf.Module):
    """A linear layer that maps each group of input features to a group of output features."""

    def __init__(
        self, weights: Weights, name: str, in_features: int, out_features: int, groups: int
    ):
        super().__init__()
        self._groups = groups
        self.weight = variable(
            weights.take(f"{name}.weight", (groups, in_features // groups, out_features // groups)),
            "weight",
        )
        self.bias = variable(weights.take(f"{name}.bias", (out_features,)), "bias")

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """[rows, in] → [rows, out]"""
        grouped = tf.reshape(x, [-1, self._groups, self.weight.shape[1]])
        product = tf.matmul(tf.transpose(grouped, [1, 0, 2]), self.weight)
        return tf.nn.bias_add(
            tf.reshape(tf.transpose(product, [1, 0, 2]), [-1, self.bias.shape[0]]), self.bias
        )


class GroupedFeedForward(tf.Module):
    """A feed-forward block of `GroupedLinear` layers."""

    def __init__(
        self, weights: Weights, up: tuple[str], down: str, config: ConvBertConfig, act: Activation
    ):
        super().__init__()
        hidden, inner, groups = config.hidden_size, config.intermediate_size, config.num_groups
        self.up = GroupedLinear(weights, *up, hidden, inner, groups)
        self.down = GroupedLinear(weights, down, inner, hidden, groups)
        self._activation = act

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """[rows, features] → [rows, features]"""
        return self.down(self._activation(self.up(x)))
