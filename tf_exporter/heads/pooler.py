"""Poolers: one vector for each text, from the first token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tf_exporter.errors import UnsupportedError
from tf_exporter.layers.basic import Linear
from tf_exporter.model.weights import Weights

_SEED = 1
"""Seed of the random pooler, so that conversions are reproducible."""


class Pooler(tf.Module):
    """tanh(first token · W + b), as `transformers.models.bert.BertPooler` 5.24."""

    def __init__(self, dense: Linear):
        super().__init__()
        self.dense = dense

    def __call__(self, tokens: tf.Tensor) -> tf.Tensor:
        """float32 [batch, length, hidden] → [batch, hidden]"""
        return tf.tanh(self.dense(tokens[:, 0]))


class FirstToken(tf.Module):
    """The first token's embedding."""

    def __call__(self, tokens: tf.Tensor) -> tf.Tensor:
        """float32 [batch, length, hidden] → [batch, hidden]"""
        return tf.identity(tokens[:, 0])


@dataclass(frozen=True)
class _NewWeights:
    """BERT's initial weights: normal, truncated at two standard deviations; biases are zero."""

    deviation: float

    def __contains__(self, name: str) -> bool:
        return False  # nothing that a layer may have in addition

    def take(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """A new tensor, float32 of `shape`, the same in each call."""
        if len(shape) == 1:
            return np.zeros(shape, np.float32)
        values: np.ndarray = tf.random.stateless_truncated_normal(
            shape, [_SEED, 0], stddev=self.deviation
        ).numpy()
        return values


def build_pooler(
    choice: str, deviation: float, name: str | None, weights: Weights, hidden: int
) -> Pooler | FirstToken:
    """Builds the pooler of `Options.pooler`.

    Args:
        choice: "checkpoint", "identity" or "random".
        deviation: the standard deviation of random weights.
        name: the pooler's layer in the checkpoint; None: the architecture has no pooler.
        weights: the checkpoint.
        hidden: the width of a token embedding.

    Raises:
        UnsupportedError: `choice` is "checkpoint", and the checkpoint has no pooler.
    """
    if choice == "identity":
        return FirstToken()
    if choice == "random":
        new: Any = _NewWeights(deviation)
        return Pooler(Linear(new, ("pooler",), hidden, hidden))
    if name is None or f"{name}.weight" not in weights:
        raise UnsupportedError(
            "arguments", "--pooler", choice, "identity or random, as the checkpoint has no pooler"
        )
    return Pooler(Linear(weights, (name,), hidden, hidden))
