"""Masked language model heads: a score for every token of the vocabulary at every place; what SPLADE models pool.

As the `…ForMaskedLM` classes of transformers 5.23. The last product has the word embeddings for its matrix, unless the checkpoint
has another one. `decoder.py` has that matrix, and the heads that are nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tf_exporter.activations import TRANSFORMERS_ACTIVATIONS, Activation
from tf_exporter.encoders.blocks import Embedding, LayerNorm, Linear, product, variable
from tf_exporter.encoders.config import activation
from tf_exporter.errors import UnsupportedError
from tf_exporter.heads.decoder import VocabularyHead, decoder_matrix
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.weights import Weights


class MaskedLMHead(tf.Module):
    """float32 tokens [batch, length, hidden] → logits [batch, length, vocab]."""

    takes_first = False

    def __init__(
        self,
        file: ConfigFile,
        weights: Weights,
        embeddings: Embedding,
        hidden: int,
        *,
        dense: str,
        norm: str,
        decoder: str | None,
        bias: str | None,
        act: Activation,
        eps: float,
        dense_bias: bool = True,
        norm_bias: bool = True,
        decoder_bias: bool = True,
        rest: str | None = None,
    ):
        """`dense`, `norm`, `decoder`: names of the layers, the last None where it is the embeddings whatever the config says;
        `bias`: of the last bias, where it may stand by itself; `rest`: of a matrix for the features that embeddings have not.
        """
        super().__init__()
        vocab_size, width = embeddings.weight.shape
        self.width: int = vocab_size
        features = width if rest is None else hidden
        self.dense = Linear(weights, (dense,), hidden, features, bias=dense_bias)
        self.norm = LayerNorm(weights, norm, features, eps, norm_bias)
        self._act = act
        tied = file.take("tie_word_embeddings", bool, True)
        self.decoder = embeddings.weight
        if decoder is not None:
            self.decoder = decoder_matrix(weights, embeddings, f"{decoder}.weight", tied)
        if rest is not None:
            columns = weights.take(f"{rest}.weight", (hidden - width, vocab_size)).T
            self.decoder = variable(np.concatenate([self.decoder.numpy(), columns], 1), "decoder")
        self.bias = variable(_bias(weights, decoder, bias, vocab_size, tied), "bias") if decoder_bias else None

    def __call__(self, tokens: tf.Tensor, attention_mask: tf.Tensor, input_ids: tf.Tensor) -> tf.Tensor:
        """As the class says."""
        flat = self.norm(self._act(self.dense(tf.reshape(tokens, [-1, tokens.shape[-1]]))))
        logits = product(flat, self.decoder, transpose_b=True)
        if self.bias is not None:
            logits = tf.nn.bias_add(logits, self.bias)
        return tf.reshape(logits, [*tf.unstack(tf.shape(tokens))[:2], self.width])


def _bias(weights: Weights, decoder: str | None, alone: str | None, vocab_size: int, tied: bool) -> np.ndarray:
    """That of the decoder; or the one that stands alone, where the config ties them and the checkpoint has no other."""
    if decoder is None:
        assert alone is not None
        return weights.take(alone, (vocab_size,))
    name = f"{decoder}.bias"
    if name in weights:
        if alone is not None and alone in weights:
            weights.take(alone, (vocab_size,))  # the same, or else not used
    elif alone is not None and tied:
        name = alone
    return weights.take(name, (vocab_size,))


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
        decoder_bias=file.take("decoder_bias", bool, True),
    )  # fmt: skip


def _deberta(file: ConfigFile, weights: Weights, encoder: Any) -> MaskedLMHead:
    if file.take("legacy", bool, True):
        return _bert(file, weights, encoder)
    at, config = "lm_predictions.lm_head", encoder.config
    width = encoder.word_embeddings.weight.shape[1]
    if width != config.hidden_size:
        supported = f"{config.hidden_size}, the hidden size, where legacy is false"
        raise UnsupportedError(file.file, "embedding_size", width, supported)
    return MaskedLMHead(
        file, weights, encoder.word_embeddings, config.hidden_size,
        dense=f"{at}.dense", norm=f"{at}.LayerNorm", decoder=None, bias=f"{at}.bias",
        act=activation(file, "hidden_act", config.hidden_act), eps=config.layer_norm_eps,
    )  # fmt: skip


def _mobilebert(file: ConfigFile, weights: Weights, encoder: Any) -> MaskedLMHead:
    at, config = "cls.predictions", encoder.config
    if config.embedding_size > config.hidden_size:
        supported = f"at most {config.hidden_size}, the hidden size"
        raise UnsupportedError(file.file, "embedding_size", config.embedding_size, supported)
    return MaskedLMHead(
        file, weights, encoder.word_embeddings, config.hidden_size,
        dense=f"{at}.transform.dense", norm=f"{at}.transform.LayerNorm", decoder=f"{at}.decoder", bias=f"{at}.bias",
        act=activation(file, "hidden_act", config.hidden_act), eps=config.layer_norm_eps, rest=f"{at}.dense",
    )  # fmt: skip


def _nomic_bert(file: ConfigFile, weights: Weights, encoder: Any) -> MaskedLMHead:
    at, config = "cls.predictions", encoder.config
    # The published code has none of these biases; transformers then makes them zeros.
    biases = {f"{at}.transform.dense.bias", f"{at}.decoder.bias", f"{at}.bias"}
    biased = any(name in weights for name in biases)
    return MaskedLMHead(
        file, weights, encoder.word_embeddings, config.hidden_size,
        dense=f"{at}.transform.dense", norm=f"{at}.transform.layer_norm", decoder=f"{at}.decoder", bias=f"{at}.bias",
        act=activation(file, "hidden_act", config.hidden_act), eps=config.layer_norm_eps,
        dense_bias=biased, decoder_bias=biased,
    )  # fmt: skip


def _gte(file: ConfigFile, weights: Weights, encoder: Any) -> MaskedLMHead:
    if encoder.config.hidden_act != "gelu":
        # What transformers has in the head whatever the config says; the published code has the config's.
        raise UnsupportedError(file.file, "hidden_act", encoder.config.hidden_act, "gelu, where there is a masked LM head")
    norm = next((name for name in ("lm_head.layer_norm", "lm_head.norm") if f"{name}.weight" in weights), "lm_head.layer_norm")
    return MaskedLMHead(
        file, weights, encoder.word_embeddings, encoder.config.hidden_size,
        dense="lm_head.dense", norm=norm, decoder="lm_head.decoder", bias=None,
        act=_GELU, eps=encoder.config.layer_norm_eps,
    )  # fmt: skip


def _eurobert(file: ConfigFile, weights: Weights, encoder: Any) -> VocabularyHead:
    return VocabularyHead(file, weights, encoder.embed_tokens, tied=False, bias=encoder.config.mlp_bias)


MASKED_LM_HEADS: dict[str, Callable[[ConfigFile, Weights, Any], MaskedLMHead | VocabularyHead]] = {
    "albert": _albert,
    "bert": _bert,
    "camembert": _roberta,
    "convbert": _electra,
    "deberta-v2": _deberta,
    "distilbert": _distilbert,
    "electra": _electra,
    "ernie": _bert,
    "eurobert": _eurobert,
    "gte": _gte,
    "jina_embeddings_v3": _roberta,
    "mobilebert": _mobilebert,
    "modernbert": _modernbert,
    "mpnet": _roberta,
    "nomic_bert": _nomic_bert,
    "roberta": _roberta,
    "xlm-roberta": _roberta,
}
