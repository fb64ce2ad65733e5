"""StaticEmbedding: the mean of table rows, as in sentence-transformers 6.2 and model2vec."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_exporter.errors import UsageError, WeightsError
from tf_exporter.layers.basic import MatrixLayer, variable
from tf_exporter.model.source import ModelSource
from tf_exporter.model.weights import Weights, open_weights
from tf_exporter.modules.base import MIN_MICRO_BATCH_TOKENS, TextModule
from tf_exporter.modules.dimensions import Dimensions
from tf_exporter.modules.features import Features
from tf_exporter.modules.static_embedding.config import StaticEmbeddingConfig
from tf_exporter.options import Options
from tf_exporter.tokenizers.loading import load_raw_tokenizer
from tf_exporter.tokenizers.missing_rows import with_rows
from tf_exporter.tokenizers.pipeline import TokenizerGraph
from tf_exporter.tokenizers.spec import read_tokenizer
from tf_exporter.tokenizers.templates import BARE


class StaticEmbedding(TextModule, MatrixLayer):
    """Texts → token ids without special tokens → the mean of their rows; 0 without tokens."""

    def __init__(
        self,
        source: ModelSource,
        folder: str,
        config: StaticEmbeddingConfig,
        options: Options,
        dimensions: Dimensions,
    ):
        super().__init__()
        if options.max_seq_length is not None:
            raise UsageError(
                f"--max-seq-length {options.max_seq_length}: "
                "a StaticEmbedding model has no such limit"
            )
        weights = open_weights(source, folder)
        table = _table(weights)
        weights.finish()
        self.weight = variable(table, "embedding")
        self.hf_tokenizer = load_raw_tokenizer(source, folder)
        read = read_tokenizer(self.hf_tokenizer, self.hf_tokenizer.max_length, BARE)
        self.tokenizer_spec = with_rows(
            read, len(table), weights.file, "rows of the table", [read.pad_id]
        )
        self.tokenizer = TokenizerGraph(
            self.tokenizer_spec, self.hf_tokenizer.backend_tokenizer, options.tokenizer_ops
        )
        self.micro_batch_tokens = max(options.micro_batch_tokens, MIN_MICRO_BATCH_TOKENS)
        dimensions.update({"sentence_embedding": table.shape[1]})

    def __call__(self, features: Features) -> Features:
        """int32 [batch, length] ids and mask → `sentence_embedding` float32 [batch, dim]."""
        mask = tf.cast(features["attention_mask"], tf.float32)
        embeddings = self.rows(features["input_ids"]) * mask[:, :, tf.newaxis]
        count = tf.maximum(tf.reduce_sum(mask, axis=1, keepdims=True), 1.0)
        return {**features, "sentence_embedding": tf.reduce_sum(embeddings, axis=1) / count}


def _table(weights: Weights) -> np.ndarray:
    """float32 [tokens, dim]. A model2vec file can have a row number and a weight for each token."""
    if "embedding.weight" in weights:
        return weights.take_matrix("embedding.weight")
    table = weights.take_matrix("embeddings")
    if "mapping" in weights:
        mapping = weights.take_numbers("mapping")
        if (
            mapping.ndim != 1
            or not len(mapping)
            or mapping.min() < 0
            or mapping.max() >= len(table)
        ):
            raise WeightsError(
                f"{weights.file}: tensor mapping is not a list of row numbers of embeddings"
            )
        table = table[mapping]
    if "weights" in weights:
        table = table * weights.take("weights", (len(table),))[:, np.newaxis]
    return table
