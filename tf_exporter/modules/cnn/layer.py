"""CNN: convolutions of several widths over the tokens, as in sentence-transformers 6.2."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_exporter.layers.basic import variable
from tf_exporter.model.weights import Weights
from tf_exporter.modules.base import Module
from tf_exporter.modules.cnn.config import CNNConfig
from tf_exporter.modules.features import Features


class CNN(Module):
    """`token_embeddings` [batch, length, in] → [batch, length, out_channels · kernels]."""

    pads_leak = True
    """In the reference, padding has embeddings, which affect the tokens next to it."""

    def __init__(self, config: CNNConfig, weights: Weights):
        super().__init__()
        kernels, biases = [], []
        for index, size in enumerate(config.kernel_sizes):
            kernels.append(
                weights.take(f"convs.{index}.weight", (config.channels, config.width, size))
            )
            biases.append(weights.take(f"convs.{index}.bias", (config.channels,)))
        self.kernels = [
            variable(kernel.transpose(2, 1, 0), f"kernel_{index}")
            for index, kernel in enumerate(kernels)
        ]
        self.bias = variable(np.concatenate(biases), "bias")

    def __call__(self, features: Features) -> Features:
        """The tokens of a text have zeros around them, so the result is the same in any batch."""
        mask = tf.cast(features["attention_mask"], tf.float32)[:, :, tf.newaxis]
        x = features["token_embeddings"] * mask
        tokens = tf.concat(
            [tf.nn.conv1d(x, kernel, stride=1, padding="SAME") for kernel in self.kernels], axis=-1
        )
        return {**features, "token_embeddings": tokens + self.bias}
