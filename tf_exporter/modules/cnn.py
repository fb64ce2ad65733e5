"""CNN: convolutions of several widths over the tokens, as sentence-transformers 6.2."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_exporter.encoders.blocks import variable
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.modules.features import Dimensions, Features, read_renamed_width
from tf_exporter.weights import Weights


class CNN(tf.Module):
    """`token_embeddings` [batch, length, in] → [batch, length, out_channels · kernels]."""

    takes_texts, weighted = False, True
    pads_leak = True
    """In the reference padding has embeddings of its own, which reach the tokens beside it."""

    def __init__(self, file: ConfigFile, weights: Weights, dimensions: Dimensions):
        super().__init__()
        width = read_renamed_width(file, "in_embedding_dimension", "in_word_embedding_dimension", dimensions)
        channels = file.take("out_channels", int, 256)
        sizes = file.take("kernel_sizes", list, [1, 3, 5])
        if not sizes or any(type(size) is not int or size < 1 or size % 2 == 0 for size in sizes):
            # The reference has an answer of another length for even ones, and none for a text of one token.
            raise file.unsupported("kernel_sizes", "a list of odd numbers")
        file.require("stride_sizes", (None, [1] * len(sizes)))
        file.finish()
        kernels, biases = [], []
        for index, size in enumerate(sizes):
            kernels.append(weights.take(f"convs.{index}.weight", (channels, width, size)))
            biases.append(weights.take(f"convs.{index}.bias", (channels,)))
        self.kernels = [variable(kernel.transpose(2, 1, 0), f"kernel_{index}") for index, kernel in enumerate(kernels)]
        self.bias = variable(np.concatenate(biases), "bias")
        dimensions["token_embeddings"] = channels * len(sizes)

    def __call__(self, features: Features) -> Features:
        """As the class says. A text has the embeddings that it has by itself: beside its tokens there are zeros."""
        mask = tf.cast(features["attention_mask"], tf.float32)[:, :, tf.newaxis]
        x = features["token_embeddings"] * mask
        tokens = tf.concat([tf.nn.conv1d(x, kernel, stride=1, padding="SAME") for kernel in self.kernels], axis=-1)
        return {**features, "token_embeddings": tokens + self.bias}
