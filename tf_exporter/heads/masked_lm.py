"""Masked language model heads: a score for every token of the vocabulary at every place; what SPLADE models pool.

As the `…ForMaskedLM` classes of transformers 5.23. The last product has the word embeddings for its matrix, unless the checkpoint
has another one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tf_exporter.activations import TRANSFORMERS_ACTIVATIONS, Activation
from tf_exporter.encoders.blocks import Embedding, LayerNorm, Linear, variable
from tf_exporter.encoders.config import activation
from tf_exporter.errors import WeightsError
from tf_exporter.source import ConfigFile
from tf_exporter.weights import Weights


class MaskedLMHead(tf.Module):
    """float32 tokens [batch, length, hidden] → logits [batch, length, vocab]."""

    def __init__(
        self,
        file: ConfigFile,
        weights: Weights,
        embeddings: Embedding,
        hidden: int,
        *,
        dense: str,
        norm: str,
        decoder: str,
        bias: str | None,
        act: Activation,
        eps: float,
        dense_bias: bool = True,
        norm_bias: bool = True,
    ):
        """`dense`, `norm`, `decoder`: names of the layers; `bias`: of the last bias, where it may stand by itself."""
        super().__init__()
        vocab_size, width = embeddings.weight.shape
        self.width: int = vocab_size
        self.dense = Linear(weights, (dense,), hidden, width, bias=dense_bias)
        self.norm = LayerNorm(weights, norm, width, eps, norm_bias)
        self._act = act
        tied = file.take("tie_word_embeddings", bool, True)
        self.decoder = _decoder(weights, embeddings, f"{decoder}.weight", tied)
        self.bias = None
        if f"{decoder}.bias" in weights:
            self.bias = variable(weights.take(f"{decoder}.bias", (vocab_size,)), "bias")
            if bias is not None and bias in weights:
                weights.take(bias, (vocab_size,))  # the same, or else not used
        elif bias is not None:
            if not tied:
                raise WeightsError(f"{weights.file}: tensor {decoder}.bias of shape [{vocab_size}] is missing")
            self.bias = variable(weights.take(bias, (vocab_size,)), "bias")

    def __call__(self, tokens: tf.Tensor, attention_mask: tf.Tensor) -> tf.Tensor:
        """As the class says."""
        flat = self.norm(self._act(self.dense(tf.reshape(tokens, [-1, tokens.shape[-1]]))))
        logits = tf.matmul(flat, self.decoder, transpose_b=True)
        if self.bias is not None:
            logits = tf.nn.bias_add(logits, self.bias)
        return tf.reshape(logits, [*tf.unstack(tf.shape(tokens))[:2], self.width])


def _decoder(weights: Weights, embeddings: Embedding, name: str, tied: bool) -> tf.Variable:
    if name not in weights:
        if not tied:
            raise WeightsError(f"{weights.file}: tensor {name} is missing, and the config does not tie it to the embeddings")
        return embeddings.weight
    matrix = weights.take(name, tuple(embeddings.weight.shape))
    # As transformers does whatever the config says, where a checkpoint has two different ones.
    return embeddings.weight if np.array_equal(matrix, embeddings.weight.numpy()) else variable(matrix, "decoder")


_GELU = TRANSFORMERS_ACTIVATIONS["gelu"]


def _bert(file: ConfigFile, weights: Weights, encoder: Any) -> MaskedLMHead:
    at, config = "cls.predictions", encoder.config
    return MaskedLMHead(
        file, weights, encoder.word_embeddings, config.hidden_size,
        dense=f"{at}.transform.dense", norm=f"{at}.transform.LayerNorm", decoder=f"{at}.decoder", bias=f"{at}.bias",
        act=activation(file, "hidden_act", config.hidden_act), eps=config.layer_norm_eps,
    )  # fmt: skip


def _roberta(file: ConfigFile, weights: Weights, encoder: Any) -> MaskedLMHead:
    return MaskedLMHead(
        file, weights, encoder.word_embeddings, encoder.config.hidden_size,
        dense="lm_head.dense", norm="lm_head.layer_norm", decoder="lm_head.decoder", bias="lm_head.bias",
        act=_GELU, eps=encoder.config.layer_norm_eps,
    )  # fmt: skip


def _distilbert(file: ConfigFile, weights: Weights, encoder: Any) -> MaskedLMHead:
    return MaskedLMHead(
        file, weights, encoder.word_embeddings, encoder.hidden_size,
        dense="vocab_transform", norm="vocab_layer_norm", decoder="vocab_projector", bias=None,
        act=activation(file, "activation", encoder.config.activation), eps=1e-12,
    )  # fmt: skip


def _electra(file: ConfigFile, weights: Weights, encoder: Any) -> MaskedLMHead:
    at = "generator_predictions"
    return MaskedLMHead(
        file, weights, encoder.word_embeddings, encoder.config.hidden_size,
        dense=f"{at}.dense", norm=f"{at}.LayerNorm", decoder="generator_lm_head", bias=None,
        act=_GELU, eps=encoder.config.layer_norm_eps,
    )  # fmt: skip


def _albert(file: ConfigFile, weights: Weights, encoder: Any) -> MaskedLMHead:
    return MaskedLMHead(
        file, weights, encoder.word_embeddings, encoder.config.hidden_size,
        dense="predictions.dense", norm="predictions.LayerNorm", decoder="predictions.decoder", bias="predictions.bias",
        act=activation(file, "hidden_act", encoder.config.hidden_act), eps=encoder.config.layer_norm_eps,
    )  # fmt: skip


def _modernbert(file: ConfigFile, weights: Weights, encoder: Any) -> MaskedLMHead:
    config = encoder.config
    return MaskedLMHead(
        file, weights, encoder.tok_embeddings, config.hidden_size,
        dense="head.dense", norm="head.norm", decoder="decoder", bias=None,
        act=activation(file, "classifier_activation", file.take("classifier_activation", str, "gelu")), eps=config.norm_eps,
        dense_bias=file.take("classifier_bias", bool, False), norm_bias=config.norm_bias,
    )  # fmt: skip


MASKED_LM_HEADS: dict[str, Callable[[ConfigFile, Weights, Any], MaskedLMHead]] = {
    "albert": _albert,
    "bert": _bert,
    "camembert": _roberta,
    "distilbert": _distilbert,
    "electra": _electra,
    "ernie": _bert,
    "modernbert": _modernbert,
    "mpnet": _roberta,
    "roberta": _roberta,
    "xlm-roberta": _roberta,
}
