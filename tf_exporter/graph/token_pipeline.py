"""The modules that the texts of a multi-vector model go through: several vectors for each text."""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.graph.pipeline import Pipeline, Results
from tf_exporter.tokenizers.post_processors import Encodings, Padded

_EMPTY_DOCUMENT = -1e9
"""The score of a document without a vector, as in sentence-transformers."""


class TokenPipeline(Pipeline):
    """Encodings of texts → the vectors of the tokens that count, and their ids."""

    def vectors(self, encodings: Encodings) -> Results:
        """The vectors that count, first in each row and in the order of their tokens.

        They are as `shortened` returns them.
        """
        return self.shortened(self.results(encodings, None))

    def shortened(self, results: Results) -> Results:
        """The results of texts, without the places that none of these texts needs.

        Returns:
            float32 [batch, longest, dim], with zeros after the last vector of a text; int32 [batch,
            longest], 1 for a vector; and the ids of their tokens, int32 [batch, longest], with
            zeros after the last one. `longest` is the largest number of vectors.
        """
        vectors, mask, ids = results
        longest = tf.reduce_max(tf.concat([tf.reduce_sum(mask, 1), [0]], 0))
        return vectors[:, :longest], mask[:, :longest], ids[:, :longest]

    def _shapes(self) -> tuple[tf.TensorShape, ...]:
        matrix = tf.TensorShape([None, None])
        return tf.TensorShape([None, None, self.dim]), matrix, matrix

    def _empty(self, batch: tf.Tensor, width: tf.Tensor) -> Results:
        matrix = tf.zeros([batch, width], tf.int32)
        return tf.zeros([batch, width, self.dim]), matrix, matrix

    def _widened(self, results: Results, width: tf.Tensor) -> Results:
        missing = width - tf.shape(results[1])[1]
        return tuple(
            tf.pad(result, [[0, 0], [0, missing], [0, 0]][: len(result.shape)])
            for result in results
        )

    def _compute(self, padded: Padded, prompt_length: int | None, long: bool = False) -> Results:
        features = self._features(padded, prompt_length, long)
        mask, ids = features["attention_mask"], features["input_ids"]
        # A stable sort moves what counts to the front.
        order = tf.argsort(1 - mask, axis=1, stable=True)
        mask = tf.gather(mask, order, batch_dims=1)
        vectors = tf.gather(features[self.output], order, batch_dims=1)
        vectors = tf.where(mask[..., tf.newaxis] > 0, vectors, 0.0)
        return vectors, mask, tf.gather(ids, order, batch_dims=1) * mask


def max_sim(query: Results, document: Results, mean: bool) -> tf.Tensor:
    """The scores of documents: the sum, over the vectors of a query, of their largest products.

    Args:
        query: the results of `TokenPipeline.vectors` for one query, or for one for each document.
        document: those of the documents.
        mean: whether the sum is divided by the number of a query's vectors.

    Returns:
        float32 [documents].
    """
    products = tf.matmul(query[0], document[0], transpose_b=True)
    present = document[1][:, tf.newaxis] > 0
    products = tf.where(present, products, products.dtype.min)
    counts = tf.cast(query[1], tf.float32)
    scores = tf.reduce_sum(tf.reduce_max(products, 2) * counts, 1)
    scores = tf.where(tf.reduce_any(document[1] > 0, 1), scores, _EMPTY_DOCUMENT)
    # The reference counts at least one vector.
    return scores / tf.maximum(tf.reduce_sum(counts, 1), 1.0) if mean else scores
