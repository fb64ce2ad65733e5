"""Builds the modules of sentence-transformers, by the last part of `type` in modules.json."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tf_exporter.model.source import ModelSource
from tf_exporter.model.weights import Weights, open_weights
from tf_exporter.modules.base import Module, TextModule
from tf_exporter.modules.bow.layer import BoW
from tf_exporter.modules.cnn.layer import CNN
from tf_exporter.modules.dense.inline import InlineDense
from tf_exporter.modules.dense.layer import Dense
from tf_exporter.modules.dimensions import Dimensions
from tf_exporter.modules.dropout.layer import Dropout
from tf_exporter.modules.layer_norm.layer import LayerNorm
from tf_exporter.modules.logit_score.layer import LogitScore
from tf_exporter.modules.lstm.layer import LSTM
from tf_exporter.modules.module_spec import ModuleSpec
from tf_exporter.modules.normalize.layer import Normalize
from tf_exporter.modules.pooling.layer import Pooling
from tf_exporter.modules.reading import read_module
from tf_exporter.modules.sparse_auto_encoder.layer import SparseAutoEncoder
from tf_exporter.modules.sparse_static_embedding.layer import SparseStaticEmbedding
from tf_exporter.modules.splade_pooling.layer import SpladePooling
from tf_exporter.modules.static_embedding.layer import StaticEmbedding
from tf_exporter.modules.transformer.layer import Transformer
from tf_exporter.modules.weighted_layer_pooling.layer import WeightedLayerPooling
from tf_exporter.modules.word_embeddings.layer import WordEmbeddings
from tf_exporter.modules.word_weights.layer import WordWeights
from tf_exporter.options import Options

TEXT_MODULES: dict[str, Callable[[ModelSource, str, Any, Options, Dimensions], TextModule]] = {
    "BoW": BoW,
    "SparseStaticEmbedding": SparseStaticEmbedding,
    "StaticEmbedding": StaticEmbedding,
    "WordEmbeddings": WordEmbeddings,
}
"""Modules besides Transformer that have a tokenizer."""
WEIGHTED: dict[str, Callable[[Any, Weights], Module]] = {
    "CNN": CNN,
    "Dense": Dense,
    "LSTM": LSTM,
    "LayerNorm": LayerNorm,
    "SparseAutoEncoder": SparseAutoEncoder,
    "WeightedLayerPooling": WeightedLayerPooling,
}
"""Modules with weights, built from their config."""
WEIGHTLESS: dict[str, Callable[[Any], Module]] = {
    "Dropout": Dropout,
    "LogitScore": LogitScore,
    "Normalize": Normalize,
    "Pooling": Pooling,
    "SpladePooling": SpladePooling,
    "WordWeights": WordWeights,
}
"""Modules whose files of weights, if any, the reference does not read; built from their config."""


def build_module(
    source: ModelSource, spec: ModuleSpec, options: Options, dimensions: Dimensions
) -> Module:
    """Builds a module, and updates `dimensions` to those after it."""
    if spec.transformer is not None:
        return Transformer(source, spec.config.file, spec.transformer, options, dimensions)
    if spec.kind == "InlineDense":
        return InlineDense(source, spec.folder, dimensions)
    config = read_module(spec, dimensions)
    if spec.kind in TEXT_MODULES:
        return TEXT_MODULES[spec.kind](source, spec.folder, config, options, dimensions)
    if spec.kind in WEIGHTLESS:
        return WEIGHTLESS[spec.kind](config)
    weights = open_weights(source, spec.folder)
    module = WEIGHTED[spec.kind](config, weights)
    weights.finish(module.unused)
    return module
