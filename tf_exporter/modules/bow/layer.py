"""BoW: the weighted count or presence of words in a text, as in sentence-transformers 6.2."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_exporter.errors import UsageError
from tf_exporter.layers.basic import variable
from tf_exporter.model.source import ModelSource
from tf_exporter.modules.base import MIN_MICRO_BATCH_TOKENS, TextModule
from tf_exporter.modules.bow.config import BoWConfig
from tf_exporter.modules.dimensions import Dimensions
from tf_exporter.modules.features import Features
from tf_exporter.modules.word_embeddings.layer import check_ops
from tf_exporter.options import Options
from tf_exporter.tokenizers.spec import WordsSpec
from tf_exporter.tokenizers.whitespace import ListTokenizer, WordTokenizer, word_ids, words_spec

_MAX_EMBEDDING_VALUES = 2**23
"""The most numbers in the embeddings of a micro-batch."""


class BoW(TextModule):
    """Texts → ids of words → `sentence_embedding` [batch, vocab]."""

    def __init__(
        self,
        source: ModelSource,
        folder: str,
        config: BoWConfig,
        options: Options,
        dimensions: Dimensions,
    ):
        super().__init__()
        if options.max_seq_length is not None:
            raise UsageError(
                f"--max-seq-length {options.max_seq_length}: a BoW model has no such limit"
            )
        check_ops(options)
        self.weight = variable(np.array(config.weights, np.float32), "weight")
        self._counts = config.counts
        words = WordsSpec({word: id for id, word in enumerate(config.vocab)}, frozenset(), False)
        self.tokenizer_spec = words_spec(words, None)
        self.tokenizer = WordTokenizer(self.tokenizer_spec, words)
        self.hf_tokenizer = ListTokenizer(word_ids(words), None)
        self.micro_batch_tokens = min(
            max(options.micro_batch_tokens, MIN_MICRO_BATCH_TOKENS),
            max(1, _MAX_EMBEDDING_VALUES // len(config.vocab)),
        )
        dimensions.update({"sentence_embedding": len(config.vocab)})

    def __call__(self, features: Features) -> Features:
        """int32 [batch, length] ids and mask → float32 [batch, vocab]."""
        ids, mask = features["input_ids"], features["attention_mask"]
        rows = tf.broadcast_to(tf.range(tf.shape(ids)[0])[:, tf.newaxis], tf.shape(ids))
        places, shape = (
            tf.stack([rows, ids], -1),
            tf.stack([tf.shape(ids)[0], self.weight.shape[0]]),
        )
        if self._counts:
            # Adds one weight at a time, as the reference does, so that sums are rounded alike.
            embedding = tf.scatter_nd(
                places, tf.gather(self.weight, ids) * tf.cast(mask, tf.float32), shape
            )
        else:
            embedding = tf.where(tf.scatter_nd(places, mask, shape) > 0, self.weight, 0.0)
        return {
            **features,
            "sentence_embedding": tf.ensure_shape(embedding, [None, self.weight.shape[0]]),
        }
