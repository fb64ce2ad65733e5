"""Reduced precision: the matrices that are kept in half the space."""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.encoders.blocks import Embedding, Linear, variable
from tf_exporter.errors import WeightsError
from tf_exporter.heads.decoder import VocabularyHead
from tf_exporter.heads.masked_lm import MaskedLMHead
from tf_exporter.modules.static_embedding import StaticEmbedding
from tf_exporter.modules.word_embeddings import WordEmbeddings

_PRODUCTS: dict[type[tf.Module], str] = {Linear: "weight", VocabularyHead: "decoder", MaskedLMHead: "decoder"}
_TABLES: dict[type[tf.Module], str] = {Embedding: "weight", StaticEmbedding: "embedding", WordEmbeddings: "weight"}


_MATRICES = {
    "float32": (tf.float32, {}),
    # The products are computed in bfloat16 too, with sums in float32; all between them is float32.
    "bfloat16": (tf.bfloat16, _PRODUCTS),
    # Stored, not computed in: turned into float32 where it is used.
    "float16": (tf.float16, {**_PRODUCTS, **_TABLES}),
}
"""Precision → the type, and class → the attribute that holds the matrix kept in it."""


def reduce_precision(model: tf.Module, name: str) -> None:
    """Replaces the matrices of a built model by their rounded selves; those that are shared stay shared.

    Raises:
        WeightsError: a number is too large for the type.
    """
    dtype, matrices = _MATRICES[name]
    rounded: dict[int, tf.Variable] = {}
    for module in model.submodules if matrices else ():
        attribute = next((of for kind, of in matrices.items() if isinstance(module, kind)), None)
        if attribute is None:
            continue
        matrix = getattr(module, attribute)
        if id(matrix) not in rounded:
            values = tf.cast(matrix, dtype)
            if not bool(tf.reduce_all(tf.math.is_finite(values))):
                raise WeightsError(f"{matrix.name}: values too large for --precision {name}")
            rounded[id(matrix)] = variable(values, matrix.name.partition(":")[0])
        setattr(module, attribute, rounded[id(matrix)])
