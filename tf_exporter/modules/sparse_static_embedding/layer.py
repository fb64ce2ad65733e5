"""SparseStaticEmbedding: a weight (often idf) for each token, as in sentence-transformers 6.2."""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.layers.basic import variable
from tf_exporter.model.source import ModelSource
from tf_exporter.model.weights import open_weights
from tf_exporter.modules.base import MIN_MICRO_BATCH_TOKENS, TextModule
from tf_exporter.modules.dimensions import Dimensions
from tf_exporter.modules.features import Features
from tf_exporter.modules.sparse_static_embedding.config import SparseStaticEmbeddingConfig
from tf_exporter.options import Options
from tf_exporter.tokenizers.loading import WithoutSpecialTokens, load_tokenizer
from tf_exporter.tokenizers.missing_rows import with_rows
from tf_exporter.tokenizers.pipeline import TokenizerGraph
from tf_exporter.tokenizers.spec import read_tokenizer
from tf_exporter.tokenizers.templates import BARE


class SparseStaticEmbedding(TextModule):
    """Texts → token ids without special tokens → the weight of each id that occurs."""

    pads_leak = True
    """In the reference, padding hides a padding token that is part of a text."""

    def __init__(
        self,
        source: ModelSource,
        folder: str,
        config: SparseStaticEmbeddingConfig,
        options: Options,
        dimensions: Dimensions,
    ):
        super().__init__()
        tokenizer = load_tokenizer(source, folder)
        self.hf_tokenizer = WithoutSpecialTokens(tokenizer)
        read = read_tokenizer(tokenizer, self.hf_tokenizer.max_length, BARE)
        weights = open_weights(source, folder)
        rows = len(tokenizer.get_vocab())
        self.tokenizer_spec = with_rows(read, rows, weights.file, "length of weight", [read.pad_id])
        self.tokenizer = TokenizerGraph(
            self.tokenizer_spec, tokenizer.backend_tokenizer, options.tokenizer_ops
        )
        self.weight = variable(weights.take("weight", (rows,)), "weight")
        weights.finish()
        self.micro_batch_tokens = max(options.micro_batch_tokens, MIN_MICRO_BATCH_TOKENS)
        dimensions.update({"sentence_embedding": int(self.weight.shape[0])})

    def __call__(self, features: Features) -> Features:
        """int32 [batch, length] ids and mask → `sentence_embedding` float32 [batch, vocab].

        An existing `sentence_embedding` is multiplied by it.
        """
        ids, mask = features["input_ids"], features["attention_mask"]
        rows = tf.broadcast_to(tf.range(tf.shape(ids)[0])[:, tf.newaxis], tf.shape(ids))
        shape = tf.stack([tf.shape(ids)[0], self.weight.shape[0]])
        present = tf.scatter_nd(tf.stack([rows, ids], -1), mask, shape) > 0
        embedding = tf.where(present, self.weight, 0.0)
        if "sentence_embedding" in features:
            embedding *= features["sentence_embedding"]
        return {
            **features,
            "sentence_embedding": tf.ensure_shape(embedding, [None, self.weight.shape[0]]),
        }
