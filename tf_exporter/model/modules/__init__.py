"""The configs of the modules of sentence-transformers. Nothing here imports TensorFlow.

`read(file, dimensions)` of each file checks all that the module's config and the widths before it
tell, and makes the dimensions those behind the module.
"""

from __future__ import annotations

from collections.abc import Callable

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.modules import (
    bow,
    cnn,
    dense,
    dropout,
    layer_norm,
    logit_score,
    lstm,
    normalize,
    pooling,
    sparse_auto_encoder,
    sparse_static_embedding,
    splade_pooling,
    static_embedding,
    weighted_layer_pooling,
    word_embeddings,
    word_weights,
)
from tf_exporter.model.modules.dimensions import Dimensions

MODULE_CONFIGS: dict[str, Callable[[ConfigFile, Dimensions], object]] = {
    "BoW": bow.read,
    "CNN": cnn.read,
    "Dense": dense.read,
    "Dropout": dropout.read,
    "LSTM": lstm.read,
    "LayerNorm": layer_norm.read,
    "LogitScore": logit_score.read,
    "Normalize": normalize.read,
    "Pooling": pooling.read,
    "SparseAutoEncoder": sparse_auto_encoder.read,
    "SparseStaticEmbedding": sparse_static_embedding.read,
    "SpladePooling": splade_pooling.read,
    "StaticEmbedding": static_embedding.read,
    "WeightedLayerPooling": weighted_layer_pooling.read,
    "WordEmbeddings": word_embeddings.read,
    "WordWeights": word_weights.read,
}
"""Kind, the last part of `type` in modules.json → what reads its config.

A Transformer is not here: it has more than one config.
"""
MODULE_KINDS = (*MODULE_CONFIGS, "Transformer")
TAKES_TEXTS = ("BoW", "SparseStaticEmbedding", "StaticEmbedding", "Transformer", "WordEmbeddings")
"""Kinds that have a tokenizer, so that they can be the first."""
