"""LSTM: recurrent layers over the tokens, as in sentence-transformers 6.2.

Source: S. Hochreiter and J. Schmidhuber, 1997.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_exporter.layers.basic import variable
from tf_exporter.model.weights import Weights
from tf_exporter.modules.base import Module
from tf_exporter.modules.features import Features
from tf_exporter.modules.lstm.config import LSTMConfig


class _Layer(tf.Module):
    """A layer of `torch.nn.LSTM` in one or two directions. The gates are i, f, g, o."""

    def __init__(self, weights: Weights, index: int, features: int, hidden: int, directions: int):
        super().__init__()
        names = [f"l{index}{suffix}" for suffix in ("", "_reverse")[:directions]]
        inputs = [
            weights.take(f"encoder.weight_ih_{name}", (4 * hidden, features)).T for name in names
        ]
        states = [
            weights.take(f"encoder.weight_hh_{name}", (4 * hidden, hidden)).T for name in names
        ]
        biases = [
            sum(weights.take(f"encoder.bias_{kind}_{name}", (4 * hidden,)) for kind in ("ih", "hh"))
            for name in names
        ]
        self.input = variable(np.stack(inputs), "input")
        self.state = variable(np.stack(states), "state")
        self.bias = variable(np.stack(biases)[:, np.newaxis], "bias")
        self._hidden, self._directions = hidden, directions

    def __call__(self, x: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
        """[batch, length, features] → [batch, length, directions · hidden].

        The values after the end of a text have no meaning.
        """
        batch, length = tf.unstack(tf.shape(x)[:2])
        both = [x, tf.reverse_sequence(x, lengths, seq_axis=1)][: self._directions]
        flat = tf.reshape(tf.stack(both), [self._directions, batch * length, x.shape[-1]])
        gates = tf.reshape(
            tf.matmul(flat, self.input) + self.bias,
            [self._directions, batch, length, 4 * self._hidden],
        )
        steps = tf.transpose(gates, [2, 0, 1, 3])
        shape = tf.stack([self._directions, batch, self._hidden])
        start = tf.ensure_shape(tf.zeros(shape), [self._directions, None, self._hidden])

        def step(
            time: tf.Tensor, h: tf.Tensor, c: tf.Tensor, outputs: tf.TensorArray
        ) -> tuple[tf.Tensor, ...]:
            i, f, g, o = tf.split(steps[time] + tf.matmul(h, self.state), 4, axis=-1)
            c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
            h = tf.sigmoid(o) * tf.tanh(c)
            return time + 1, h, c, outputs.write(time, h)

        *_, outputs = tf.while_loop(
            lambda time, *_: time < length,
            step,
            (
                tf.constant(0),
                start,
                start,
                tf.TensorArray(tf.float32, length, element_shape=start.shape),
            ),
            parallel_iterations=1,
        )
        # [length, directions, batch, hidden] → one [batch, length, hidden] for each direction.
        ways = tf.unstack(tf.transpose(outputs.stack(), [1, 2, 0, 3]), self._directions)
        ways[1:] = [tf.reverse_sequence(way, lengths, seq_axis=1) for way in ways[1:]]
        return tf.concat(ways, axis=-1)


class LSTM(Module):
    """`token_embeddings` [batch, length, in] → [batch, length, directions · hidden_dim]."""

    def __init__(self, config: LSTMConfig, weights: Weights):
        super().__init__()
        self.layers = []
        width = config.width
        for index in range(config.layers):
            self.layers.append(_Layer(weights, index, width, config.hidden, config.directions))
            width = config.hidden * config.directions

    def __call__(self, features: Features) -> Features:
        """The values after the end of a text are 0. A text without words has one token: padding."""
        lengths = tf.maximum(features["sentence_lengths"], 1)
        x = features["token_embeddings"]
        for layer in self.layers:
            x = layer(x, lengths)
        present = tf.sequence_mask(lengths, tf.shape(x)[1])[:, :, tf.newaxis]
        return {**features, "token_embeddings": tf.where(present, x, 0.0)}
