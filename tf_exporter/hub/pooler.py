"""Poolers: one vector for a text, from the encoder's first token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tf_exporter.encoders.blocks import Linear
from tf_exporter.errors import UnsupportedError
from tf_exporter.weights import Weights

NAMES: dict[str, str | None] = {
    "albert": "pooler",
    "bert": "pooler.dense",
    "camembert": "pooler.dense",
    "distilbert": None,
    "electra": None,
    "ernie": "pooler.dense",
    "mpnet": "pooler.dense",
    "roberta": "pooler.dense",
    "xlm-roberta": "pooler.dense",
}
"""model_type → what its checkpoints call the pooler, in transformers 5.23; these architectures give all layers' outputs."""
_SEED = 1
"""Of the random pooler, so that a conversion can be repeated."""


class Pooler(tf.Module):
    """tanh(first token · W + b), as `transformers.models.bert.BertPooler` 5.23."""

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
    """A weight matrix as BERT starts with, normal and cut off at two standard deviations, and zeros for the bias."""

    deviation: float

    def take(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """float32 of `shape`, the same each time."""
        if len(shape) == 1:
            return np.zeros(shape, np.float32)
        values: np.ndarray = tf.random.stateless_truncated_normal(shape, [_SEED, 0], stddev=self.deviation).numpy()
        return values


def build_pooler(choice: str, deviation: float, model_type: str, weights: Weights, hidden: int) -> Pooler | FirstToken:
    """The pooler that was asked for; `deviation`: of new weights; `hidden`: width of a token embedding.

    Raises:
        UnsupportedError: "checkpoint", and it has none.
    """
    if choice == "identity":
        return FirstToken()
    if choice == "random":
        new: Any = _NewWeights(deviation)
        return Pooler(Linear(new, ("pooler",), hidden, hidden))
    name = NAMES[model_type]
    if name is None or f"{name}.weight" not in weights:
        raise UnsupportedError("arguments", "--pooler", choice, "identity or random, as the checkpoint has no pooler")
    return Pooler(Linear(weights, (name,), hidden, hidden))
