"""One forward pass of a model with bge-m3's heads: the embedding, and what each token has."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from tf_exporter.graph.pipeline import Pipeline, Results
from tf_exporter.layers.sparse import UNUSED_INDEX
from tf_exporter.modules.hybrid import TOKEN_VECTORS, TOKEN_WEIGHTS, HybridHeads
from tf_exporter.tokenizers.post_processors import Encodings, Padded


class Hybrid(NamedTuple):
    """The results for a batch of texts."""

    embedding: tf.Tensor
    """float32 [batch, dim]"""
    weights: tf.Tensor
    """float32 [batch, longest]: the weight of each token; 0 for padding."""
    vectors: tf.Tensor
    """float32 [batch, longest, width]: the vector of each token; 0 for padding."""
    mask: tf.Tensor
    """int32 [batch, longest]: 1 for a token."""
    ids: tf.Tensor
    """int32 [batch, longest]: the ids of the tokens; 0 for padding."""


class HybridPipeline(Pipeline):
    """Encodings of texts → embeddings, and a weight and a vector for each token."""

    def __init__(self, plain: Pipeline, heads: HybridHeads):
        """`plain`: the pipeline of the embeddings alone, whose modules are shared."""
        super().__init__([plain.first, heads, *plain.others], plain.output, plain.dim)
        self._width_of_vectors = heads.dim

    def hybrid(self, encodings: Encodings, prompt_length: int | None) -> Hybrid:
        """All results for texts."""
        return Hybrid(*self.results(encodings, prompt_length))

    def _shapes(self) -> tuple[tf.TensorShape, ...]:
        matrix = tf.TensorShape([None, None])
        vectors = tf.TensorShape([None, None, self._width_of_vectors])
        return tf.TensorShape([None, self.dim]), matrix, vectors, matrix, matrix

    def _empty(self, batch: tf.Tensor, width: tf.Tensor) -> Results:
        vectors = tf.zeros([batch, width, self._width_of_vectors])
        matrix = tf.zeros([batch, width], tf.int32)
        return tf.zeros([batch, self.dim]), tf.zeros([batch, width]), vectors, matrix, matrix

    def _widened(self, results: Results, width: tf.Tensor) -> Results:
        missing = width - tf.shape(results[-1])[1]
        embedding, *others = results
        sides = [[0, 0], [0, missing], [0, 0]]
        return embedding, *(tf.pad(part, sides[: len(part.shape)]) for part in others)

    def _compute(self, padded: Padded, prompt_length: int | None, long: bool = False) -> Results:
        features = self._features(padded, prompt_length, long)
        mask, ids = padded.attention_mask, padded.input_ids
        here = tf.cast(mask, tf.float32)
        weights = features[TOKEN_WEIGHTS] * here
        vectors = features[TOKEN_VECTORS] * here[..., tf.newaxis]
        return features[self.output][:, : self.dim], weights, vectors, mask, ids * mask


def largest_by_id(hybrid: Hybrid, left_out: list[int]) -> tuple[tf.Tensor, tf.Tensor]:
    """The largest weight of each token id of a text, by falling weight and rising id.

    `left_out`: ids that have no weight.

    Returns:
        Indices int32 [batch, k] and weights float32 [batch, k]. Rows with fewer positive weights
        are padded with `UNUSED_INDEX` and 0.
    """
    special = tf.reduce_any(hybrid.ids[..., tf.newaxis] == tf.constant(left_out, tf.int32), -1)
    weights = tf.where(special, 0.0, hybrid.weights)
    falling = tf.argsort(weights, axis=1, direction="DESCENDING", stable=True)
    ids = tf.gather(hybrid.ids, falling, batch_dims=1)
    # Equal ids become neighbours, the largest weight first.
    together = tf.argsort(ids, axis=1, stable=True)
    ids = tf.gather(ids, together, batch_dims=1)
    weights = tf.gather(tf.gather(weights, falling, batch_dims=1), together, batch_dims=1)
    repeated = tf.pad(ids[:, 1:] == ids[:, :-1], [[0, 0], [1, 0]])[:, : tf.shape(ids)[1]]
    weights = tf.where(repeated, 0.0, weights)
    counts = tf.math.count_nonzero(weights, axis=1, dtype=tf.int32)
    weights, places = tf.math.top_k(weights, k=tf.reduce_max(tf.concat([counts, [0]], 0)))
    ids = tf.gather(ids, places, batch_dims=1)
    return tf.where(weights > 0, ids, UNUSED_INDEX), weights
