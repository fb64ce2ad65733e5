"""The configs of the modules of sentence-transformers. Nothing here imports TensorFlow.

Each module's `read(file, dimensions)` checks the config against the widths before the module, and
updates `dimensions` to the widths after it.
"""

from __future__ import annotations

from collections.abc import Callable

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.modules.bow import config as bow
from tf_exporter.modules.cnn import config as cnn
from tf_exporter.modules.dense import config as dense
from tf_exporter.modules.dimensions import Dimensions
from tf_exporter.modules.dropout import config as dropout
from tf_exporter.modules.layer_norm import config as layer_norm
from tf_exporter.modules.logit_score import config as logit_score
from tf_exporter.modules.lstm import config as lstm
from tf_exporter.modules.multi_vector_mask import config as multi_vector_mask
from tf_exporter.modules.normalize import config as normalize
from tf_exporter.modules.pooling import config as pooling
from tf_exporter.modules.sparse_auto_encoder import config as sparse_auto_encoder
from tf_exporter.modules.sparse_static_embedding import config as sparse_static_embedding
from tf_exporter.modules.splade_pooling import config as splade_pooling
from tf_exporter.modules.static_embedding import config as static_embedding
from tf_exporter.modules.weighted_layer_pooling import config as weighted_layer_pooling
from tf_exporter.modules.word_embeddings import config as word_embeddings
from tf_exporter.modules.word_weights import config as word_weights

MODULE_CONFIGS: dict[str, Callable[[ConfigFile, Dimensions], object]] = {
    "BoW": bow.read,
    "CNN": cnn.read,
    "Dense": dense.read,
    "Dropout": dropout.read,
    "LSTM": lstm.read,
    "LayerNorm": layer_norm.read,
    "LogitScore": logit_score.read,
    "MultiVectorMask": multi_vector_mask.read,
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
"""Kind, the last part of `type` in modules.json → the function that reads its config.

Transformer is not here: it has more than one config.
"""
INLINE_CONFIGS = {"InlineDense": dense.read_inline}
"""Kinds that are in no modules.json: the projection of Stanford's ColBERT."""
MODULE_KINDS = (*MODULE_CONFIGS, "Transformer")
TAKES_TEXTS = ("BoW", "SparseStaticEmbedding", "StaticEmbedding", "Transformer", "WordEmbeddings")
"""Kinds that have a tokenizer, so they can come first."""
