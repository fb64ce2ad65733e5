"""CNN: convolutions of several widths over the tokens, as sentence-transformers 6.2."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_exporter.encoders.blocks import variable
from tf_exporter.model.modules.cnn import CNNConfig
from tf_exporter.modules.features import Features
from tf_exporter.weights import Weights


class CNN(tf.Module):
    """`token_embeddings` [batch, length, in] → [batch, length, out_channels · kernels]."""

    takes_texts, weighted = False, True
    pads_leak = True
    """In the reference padding has embeddings of its own, which reach the tokens beside it."""

    def __init__(self, config: CNNConfig, weights: Weights):
        super().__init__()
        kernels, biases = [], []
        for index, size in enumerate(config.kernel_sizes):
            kernels.append(weights.take(f"convs.{index}.weight", (config.channels, config.width, size)))
            biases.append(weights.take(f"convs.{index}.bias", (config.channels,)))
        self.kernels = [variable(kernel.transpose(2, 1, 0), f"kernel_{index}") for index, kernel in enumerate(kernels)]
        self.bias = variable(np.concatenate(biases), "bias")

    def __call__(self, features: Features) -> Features:
        """As the class says. A text has the embeddings that it has by itself: beside its tokens there are zeros."""
        mask = tf.cast(features["attention_mask"], tf.float32)[:, :, tf.newaxis]
        x = features["token_embeddings"] * mask
        tokens = tf.concat([tf.nn.conv1d(x, kernel, stride=1, padding="SAME") for kernel in self.kernels], axis=-1)
        return {**features, "token_embeddings": tokens + self.bias}
