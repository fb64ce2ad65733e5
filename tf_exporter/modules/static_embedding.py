"""StaticEmbedding: the mean of rows of a table, as sentence-transformers 6.2; model2vec's files too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import tensorflow as tf

from tf_exporter.encoders.blocks import rows, variable
from tf_exporter.errors import UsageError, WeightsError
from tf_exporter.model.modules.static_embedding import StaticEmbeddingConfig
from tf_exporter.modules.features import Features
from tf_exporter.options import Options
from tf_exporter.source import ModelSource
from tf_exporter.tokenizers.loading import load_raw_tokenizer
from tf_exporter.tokenizers.missing_rows import with_rows
from tf_exporter.tokenizers.pipeline import TokenizerGraph
from tf_exporter.tokenizers.spec import read_tokenizer
from tf_exporter.tokenizers.templates import BARE
from tf_exporter.weights import Weights, open_weights

TOKENS_AT_ONCE = 2**14
"""At least; there is little to compute for a token."""


class StaticEmbedding(tf.Module):
    """Texts → token ids, with no special tokens around them → their mean row; 0 of a text without tokens."""

    takes_texts = True

    def __init__(self, source: ModelSource, folder: str, config: StaticEmbeddingConfig, options: Options):
        super().__init__()
        if options.max_seq_length is not None:
            raise UsageError(f"--max-seq-length {options.max_seq_length}: a StaticEmbedding model has no such limit")
        weights = open_weights(source, folder)
        table = _table(weights)
        weights.finish()
        self.embedding = variable(table, "embedding")
        self.hf_tokenizer = load_raw_tokenizer(source, folder)
        read = read_tokenizer(self.hf_tokenizer, self.hf_tokenizer.max_length)
        read = replace(read, single=BARE[0], pair=BARE[1])
        self.tokenizer_spec = with_rows(read, len(table), weights.file, "rows of the table", [read.pad_id])
        self.tokenizer = TokenizerGraph(self.tokenizer_spec, self.hf_tokenizer.backend_tokenizer, options.tokenizer_ops)
        self.micro_batch_tokens = max(options.micro_batch_tokens, TOKENS_AT_ONCE)
        self.widths = {"sentence_embedding": table.shape[1]}

    def __call__(self, features: Features) -> Features:
        """int32 [batch, length] ids and mask → `sentence_embedding` float32 [batch, dim]."""
        mask = tf.cast(features["attention_mask"], tf.float32)
        found = rows(self.embedding, features["input_ids"]) * mask[:, :, tf.newaxis]
        count = tf.maximum(tf.reduce_sum(mask, axis=1, keepdims=True), 1.0)
        return {**features, "sentence_embedding": tf.reduce_sum(found, axis=1) / count}


def _table(weights: Weights) -> np.ndarray:
    """float32 [tokens, dim]; of model2vec's files, the rows that tokens are mapped to, times their weights."""
    if "embedding.weight" in weights:
        return weights.take_matrix("embedding.weight")
    table = weights.take_matrix("embeddings")
    if "mapping" in weights:
        mapping = weights.take_numbers("mapping")
        if mapping.ndim != 1 or not len(mapping) or mapping.min() < 0 or mapping.max() >= len(table):
            raise WeightsError(f"{weights.file}: tensor mapping is not a list of rows of embeddings")
        table = table[mapping]
    if "weights" in weights:
        table = table * weights.take("weights", (len(table),))[:, np.newaxis]
    return table
