"""Sequence classification heads, for cross-encoders: as the `…ForSequenceClassification` classes of transformers 5.23."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_exporter.activations import TRANSFORMERS_ACTIVATIONS, Activation
from tf_exporter.encoders.blocks import LayerNorm, Linear
from tf_exporter.encoders.config import activation
from tf_exporter.source import ConfigFile
from tf_exporter.weights import Weights

_POOLINGS = ("cls", "mean")


class ClassificationHead(tf.Module):
    """float32 tokens [batch, length, hidden] → logits [batch, labels]: a layer over the first token, and one for the labels."""

    def __init__(
        self,
        file: ConfigFile,
        weights: Weights,
        hidden: int,
        *,
        dense: str,
        act: Activation,
        out: str,
        dense_bias: bool = True,
        norm: Callable[[], LayerNorm] | None = None,
        pooling: str = "cls",
    ):
        """`dense`, `out`: names of the layers; `norm`: of what comes between them."""
        super().__init__()
        self.width = label_count(file)
        self.dense = Linear(weights, (dense,), hidden, hidden, bias=dense_bias)
        self.norm = norm() if norm else None
        self.out = Linear(weights, (out,), hidden, self.width)
        self._act, self._pooling = act, pooling

    def __call__(self, tokens: tf.Tensor, attention_mask: tf.Tensor) -> tf.Tensor:
        """As the class says."""
        x = tokens[:, 0]
        if self._pooling == "mean":
            mask = tf.cast(attention_mask, tf.float32)
            x = tf.reduce_sum(tokens * mask[:, :, tf.newaxis], 1) / tf.reduce_sum(mask, 1, keepdims=True)
        x = self._act(self.dense(x))
        return self.out(x if self.norm is None else self.norm(x))


def label_count(file: ConfigFile) -> int:
    """As `transformers.PretrainedConfig`: the labels there are names for, else their number, else two."""
    id2label, number = file.take("id2label", (dict, type(None))), file.take("num_labels", (int, type(None)))
    if id2label is not None:
        return len(id2label)
    return 2 if number is None else number


def _pooler(file: ConfigFile, weights: Weights, encoder: Any) -> ClassificationHead:
    return ClassificationHead(
        file, weights, encoder.hidden_size, dense="pooler.dense", act=tf.tanh, out="classifier"
    )  # fmt: skip


def _albert(file: ConfigFile, weights: Weights, encoder: Any) -> ClassificationHead:
    return ClassificationHead(file, weights, encoder.hidden_size, dense="pooler", act=tf.tanh, out="classifier")


def _first_token(act: Activation) -> Callable[[ConfigFile, Weights, Any], ClassificationHead]:
    return lambda file, weights, encoder: ClassificationHead(
        file, weights, encoder.hidden_size, dense="classifier.dense", act=act, out="classifier.out_proj"
    )


def _distilbert(file: ConfigFile, weights: Weights, encoder: Any) -> ClassificationHead:
    return ClassificationHead(file, weights, encoder.hidden_size, dense="pre_classifier", act=tf.nn.relu, out="classifier")


def _modernbert(file: ConfigFile, weights: Weights, encoder: Any) -> ClassificationHead:
    config = encoder.config
    file.require("classifier_pooling", _POOLINGS)
    return ClassificationHead(
        file,
        weights,
        encoder.hidden_size,
        dense="head.dense",
        act=activation(file, "classifier_activation", file.take("classifier_activation", str, "gelu")),
        out="classifier",
        dense_bias=file.take("classifier_bias", bool, False),
        norm=lambda: LayerNorm(weights, "head.norm", config.hidden_size, config.norm_eps, config.norm_bias),
        pooling=file.take("classifier_pooling", str, "cls"),
    )


CLASSIFICATION_HEADS: dict[str, Callable[[ConfigFile, Weights, Any], ClassificationHead]] = {
    "albert": _albert,
    "bert": _pooler,
    "camembert": _first_token(tf.tanh),
    "distilbert": _distilbert,
    "electra": _first_token(TRANSFORMERS_ACTIVATIONS["gelu"]),
    "ernie": _pooler,
    "modernbert": _modernbert,
    "mpnet": _first_token(tf.tanh),
    "roberta": _first_token(tf.tanh),
    "xlm-roberta": _first_token(tf.tanh),
}
