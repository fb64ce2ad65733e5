"""bge-m3's heads: a weight and a vector for each token, as in FlagEmbedding 1.4."""

from __future__ import annotations

import importlib.util

import tensorflow as tf

from tf_exporter.errors import WeightsError
from tf_exporter.layers.basic import Linear
from tf_exporter.model.source import ModelSource
from tf_exporter.model.untyped import TransformersTokenizer
from tf_exporter.model.weights import Weights, read_weights
from tf_exporter.modules.base import Module
from tf_exporter.modules.features import Features
from tf_exporter.modules.model_spec import ModelSpec
from tf_exporter.names import HYBRID, SENTENCE_TRANSFORMER
from tf_exporter.options import Options

SPARSE_FILE, VECTOR_FILE = "sparse_linear.pt", "colbert_linear.pt"
"""Files beside the model. The reference reads both or none."""
TOKEN_WEIGHTS, TOKEN_VECTORS = "token_weights", "token_vectors"
"""Features that the heads add."""
_SMALLEST_NORM = 1e-12
_LEFT_OUT = ("cls_token", "eos_token", "pad_token", "unk_token")


def has_heads(source: ModelSource, spec: ModelSpec) -> bool:
    """Whether the heads' files are beside a model whose tokens they fit."""
    first = next(iter(spec.pipelines.values()))[0].transformer
    return (
        spec.kind == SENTENCE_TRANSFORMER
        and len(spec.pipelines) == 1
        and first is not None
        # The reference loads the model from the folder of these files.
        and (first.folder, first.task, first.tasks) == ("", "feature-extraction", None)
        and source.exists(SPARSE_FILE)
        and source.exists(VECTOR_FILE)
    )


def exports_heads(source: ModelSource, spec: ModelSpec, options: Options) -> bool:
    """Whether a model's heads are exported: if they are asked for, or if nothing else is.

    In the latter case, they are left out where torch cannot read them, or shapes are fixed.
    """
    asked = options.chosen_signatures
    if asked is not None:
        return has_heads(source, spec) and any(name in HYBRID for name in asked)
    readable = importlib.util.find_spec("torch") is not None
    fixed = options.batch_size or options.sequence_length
    return has_heads(source, spec) and readable and not fixed


class HybridHeads(Module):
    """max(0, x·w + b) and x·W + b for the state x of each token; the vector has unit length."""

    def __init__(self, source: ModelSource, source_feature: str, width: int):
        """`source_feature`: the feature with the states, float32 [batch, length, width].

        Raises:
            WeightsError: the matrices have other shapes.
        """
        super().__init__()
        self._source = source_feature
        self.sparse, rows = _linear(source, SPARSE_FILE, width)
        if rows != 1:
            raise WeightsError(f"{SPARSE_FILE}: tensor weight has {rows} rows, not 1")
        self.vectors, self.dim = _linear(source, VECTOR_FILE, width)

    def __call__(self, features: Features) -> Features:
        """Adds `token_weights`, [batch, length], and `token_vectors`, [batch, length, dim]."""
        x = features[self._source]
        flat, shape = tf.reshape(x, [-1, x.shape[-1]]), tf.shape(x)[:2]
        weights = tf.nn.relu(self.sparse(flat))
        vectors = self.vectors(flat)
        norm = tf.sqrt(tf.reduce_sum(tf.square(vectors), axis=-1, keepdims=True))
        vectors = vectors / tf.maximum(norm, _SMALLEST_NORM)
        return {
            **features,
            TOKEN_WEIGHTS: tf.reshape(weights, shape),
            TOKEN_VECTORS: tf.reshape(vectors, tf.concat([shape, [self.dim]], 0)),
        }


def _linear(source: ModelSource, file: str, width: int) -> tuple[Linear, int]:
    """The layer in a file, and the number of its outputs."""
    weights = read_weights(source, file)
    matrix, bias = weights.take_matrix("weight"), weights.take_floats("bias")
    weights.finish()
    rows, columns = matrix.shape
    if columns != width or bias.shape != (rows,):
        raise WeightsError(
            f"{file}: tensors weight {[*matrix.shape]} and bias {[*bias.shape]} do not take the "
            f"{width} values of a token"
        )
    own = Weights.of_arrays(file, {"linear.weight": matrix, "linear.bias": bias})
    return Linear(own, ("linear",), width, rows), rows


def left_out_ids(tokenizer: TransformersTokenizer) -> list[int]:
    """The ids of special tokens, which have no weight in a sparse embedding."""
    named = tokenizer.special_tokens_map
    tokens = [named[name] for name in _LEFT_OUT if name in named]
    return sorted({tokenizer.convert_tokens_to_ids(token) for token in tokens})
