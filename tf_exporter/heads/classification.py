"""Sequence classification heads, for cross-encoders: as the `…ForSequenceClassification` classes of transformers 5.23."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_exporter.activations import TRANSFORMERS_ACTIVATIONS, Activation
from tf_exporter.encoders.blocks import LayerNorm, Linear
from tf_exporter.encoders.config import activation
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.weights import Weights

_POOLINGS = ("cls", "mean")
_EUROBERT_POOLINGS = {"bos": "cls", "mean": "mean", "late": "late"}


class ClassificationHead(tf.Module):
    """float32 tokens [batch, length, hidden] → logits [batch, labels]: a layer over what is pooled, and one for the labels.

    Pooling takes the first token ("cls"), the mean of all, or the mean of what the first layer made of each ("late").
    """

    def __init__(
        self,
        file: ConfigFile,
        weights: Weights,
        hidden: int,
        *,
        dense: str | None,
        act: Activation = tf.identity,
        out: str,
        dense_bias: bool = True,
        norm: Callable[[], LayerNorm] | None = None,
        pooling: str = "cls",
    ):
        """`dense`, `out`: names of the layers, the first of which there need not be; `norm`: of what comes between them."""
        super().__init__()
        self.width = label_count(file)
        self.dense = Linear(weights, (dense,), hidden, hidden, bias=dense_bias) if dense else None
        self.norm = norm() if norm else None
        self.out = Linear(weights, (out,), hidden, self.width)
        self.takes_first = pooling == "cls"
        self._act, self._pooling = act, pooling

    def __call__(self, tokens: tf.Tensor, attention_mask: tf.Tensor, input_ids: tf.Tensor) -> tf.Tensor:
        """As the class says."""
        if self._pooling == "late":
            rows = self._inner(tf.reshape(tokens, [-1, tokens.shape[-1]]))
            # The layer for the labels is linear: it may as well follow the mean.
            return self.out(_mean(tf.reshape(rows, tf.shape(tokens)), attention_mask))
        x = _mean(tokens, attention_mask) if self._pooling == "mean" else tokens[:, 0]
        return self.out(self._inner(x))

    def _inner(self, x: tf.Tensor) -> tf.Tensor:
        """[rows, hidden] → [rows, hidden]"""
        x = self._act(x if self.dense is None else self.dense(x))
        return x if self.norm is None else self.norm(x)


def _mean(tokens: tf.Tensor, attention_mask: tf.Tensor) -> tf.Tensor:
    mask = tf.cast(attention_mask, tf.float32)
    return tf.reduce_sum(tokens * mask[:, :, tf.newaxis], 1) / tf.reduce_sum(mask, 1, keepdims=True)


class LastTokenHead(tf.Module):
    """float32 tokens [batch, length, hidden] → logits [batch, labels] of the last one, as `GenericForSequenceClassification`.

    The last one that is not the config's padding, by its id: a padding token that is written in the text does not count.
    """

    takes_first = False

    def __init__(self, file: ConfigFile, weights: Weights, hidden: int, default_pad_id: int | None):
        """`default_pad_id`: where the config has no such key."""
        super().__init__()
        self.width = label_count(file)
        self.score = Linear(weights, ("score",), hidden, self.width, bias=False)
        self.pad_id: int | None = file.take("pad_token_id", (int, type(None)), default_pad_id)
        if self.pad_id is None:
            # The reference then takes no more than one pair at a time.
            raise file.unsupported("pad_token_id", "the id of a token: what is last is told by it")

    def __call__(self, tokens: tf.Tensor, attention_mask: tf.Tensor, input_ids: tf.Tensor) -> tf.Tensor:
        """As the class says; of a text of padding alone, the first token."""
        place = tf.range(1, tf.shape(input_ids)[1] + 1)
        counts = tf.cast(tf.not_equal(input_ids, self.pad_id), tf.int32)
        # Twice as far where it counts, so that one which does is before all that do not; of those, the first.
        rank = attention_mask * tf.where(counts > 0, place + tf.shape(input_ids)[1], tf.reverse(place, [0]))
        return self.score(tf.gather(tokens, tf.argmax(rank, axis=1, output_type=tf.int32), batch_dims=1))


def label_count(file: ConfigFile) -> int:
    """As `transformers.PretrainedConfig`: the labels there are names for, else their number, else two."""
    id2label, number = file.take("id2label", (dict, type(None))), file.take("num_labels", (int, type(None)))
    if id2label is not None:
        return len(id2label)
    return 2 if number is None else number


Head = ClassificationHead | LastTokenHead
_Maker = Callable[[ConfigFile, Weights, Any], Head]
_GELU = TRANSFORMERS_ACTIVATIONS["gelu"]


def _pooler(file: ConfigFile, weights: Weights, encoder: Any) -> Head:
    return ClassificationHead(
        file, weights, encoder.hidden_size, dense="pooler.dense", act=tf.tanh, out="classifier"
    )  # fmt: skip


def _albert(file: ConfigFile, weights: Weights, encoder: Any) -> Head:
    return ClassificationHead(file, weights, encoder.hidden_size, dense="pooler", act=tf.tanh, out="classifier")


def _first_token(act: Activation) -> _Maker:
    return lambda file, weights, encoder: ClassificationHead(
        file, weights, encoder.hidden_size, dense="classifier.dense", act=act, out="classifier.out_proj"
    )


def _distilbert(file: ConfigFile, weights: Weights, encoder: Any) -> Head:
    return ClassificationHead(file, weights, encoder.hidden_size, dense="pre_classifier", act=tf.nn.relu, out="classifier")


def _modernbert(file: ConfigFile, weights: Weights, encoder: Any) -> Head:
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


def _deberta(file: ConfigFile, weights: Weights, encoder: Any) -> Head:
    # The pooler has a size of its own, which only this one fits.
    file.require("pooler_hidden_size", (encoder.hidden_size,))
    act = activation(file, "pooler_hidden_act", file.take("pooler_hidden_act", str, "gelu"))
    return ClassificationHead(file, weights, encoder.hidden_size, dense="pooler.dense", act=act, out="classifier")


def _convbert(file: ConfigFile, weights: Weights, encoder: Any) -> Head:
    return _first_token(activation(file, "hidden_act", encoder.config.hidden_act))(file, weights, encoder)


def _mobilebert(file: ConfigFile, weights: Weights, encoder: Any) -> Head:
    if file.take("classifier_activation", bool, True):
        return _pooler(file, weights, encoder)
    return ClassificationHead(file, weights, encoder.hidden_size, dense=None, out="classifier")


def _eurobert(file: ConfigFile, weights: Weights, encoder: Any) -> Head:
    file.require("classifier_pooling", tuple(_EUROBERT_POOLINGS))
    pooling: str = file.take("classifier_pooling", str, "late")
    # What the published code calls it. transformers does not read it, and takes its own default.
    file.require("clf_pooling", (pooling,))
    return ClassificationHead(
        file,
        weights,
        encoder.hidden_size,
        dense="dense",
        act=_GELU,
        out="classifier",
        pooling=_EUROBERT_POOLINGS[pooling],
    )


def _last_token(default_pad_id: int | None) -> _Maker:
    return lambda file, weights, encoder: LastTokenHead(file, weights, encoder.hidden_size, default_pad_id)


CLASSIFICATION_HEADS: dict[str, _Maker] = {
    "albert": _albert,
    "bert": _pooler,
    "camembert": _first_token(tf.tanh),
    "convbert": _convbert,
    "deberta-v2": _deberta,
    "distilbert": _distilbert,
    "electra": _first_token(_GELU),
    "ernie": _pooler,
    "eurobert": _eurobert,
    "gemma3_text": _last_token(0),
    "gte": _pooler,
    "jina_embeddings_v3": _first_token(tf.tanh),
    "mobilebert": _mobilebert,
    "modernbert": _modernbert,
    "mpnet": _first_token(tf.tanh),
    "nomic_bert": _pooler,
    "qwen2": _last_token(None),
    "qwen3": _last_token(None),
    "roberta": _first_token(tf.tanh),
    "xlm-roberta": _first_token(tf.tanh),
}
