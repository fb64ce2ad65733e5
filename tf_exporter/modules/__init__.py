"""The modules of sentence-transformers, by the last part of `type` in modules.json.

What `takes_texts` comes first and has a tokenizer: (source, folder, config, options), and `widths`, what it makes.
A Transformer is made of (source, spec, options, dimensions). All others map features to features: (config, weights),
the weights None where not `weighted`. Their configs are in `tf_exporter.model.modules`.
"""

from __future__ import annotations

from typing import Any

from tf_exporter.modules.bow import BoW
from tf_exporter.modules.cnn import CNN
from tf_exporter.modules.dense import Dense
from tf_exporter.modules.dropout import Dropout
from tf_exporter.modules.layer_norm import LayerNorm
from tf_exporter.modules.logit_score import LogitScore
from tf_exporter.modules.lstm import LSTM
from tf_exporter.modules.normalize import Normalize
from tf_exporter.modules.pooling import Pooling
from tf_exporter.modules.sparse_auto_encoder import SparseAutoEncoder
from tf_exporter.modules.sparse_static_embedding import SparseStaticEmbedding
from tf_exporter.modules.splade_pooling import SpladePooling
from tf_exporter.modules.static_embedding import StaticEmbedding
from tf_exporter.modules.transformer import Transformer
from tf_exporter.modules.weighted_layer_pooling import WeightedLayerPooling
from tf_exporter.modules.word_embeddings import WordEmbeddings
from tf_exporter.modules.word_weights import WordWeights

MODULES: dict[str, Any] = {
    "BoW": BoW,
    "CNN": CNN,
    "Dense": Dense,
    "Dropout": Dropout,
    "LSTM": LSTM,
    "LayerNorm": LayerNorm,
    "LogitScore": LogitScore,
    "Normalize": Normalize,
    "Pooling": Pooling,
    "SparseAutoEncoder": SparseAutoEncoder,
    "SparseStaticEmbedding": SparseStaticEmbedding,
    "SpladePooling": SpladePooling,
    "StaticEmbedding": StaticEmbedding,
    "Transformer": Transformer,
    "WeightedLayerPooling": WeightedLayerPooling,
    "WordEmbeddings": WordEmbeddings,
    "WordWeights": WordWeights,
}
