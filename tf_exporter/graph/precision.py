"""Reduced precision: matrices that take half the space."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from tf_exporter.errors import WeightsError
from tf_exporter.layers.basic import Linear, MatrixLayer, variable


class _Precision(NamedTuple):
    dtype: tf.DType
    tables: bool
    """Whether it also applies to tables, not only to the matrices of products."""


_PRECISIONS = {
    # Products, with bias and GELU, are also computed in bfloat16, with sums in float32. All other
    # ops are float32.
    "bfloat16": _Precision(tf.bfloat16, tables=False),
    # Only stored in float16: converted to float32 where it is used.
    "float16": _Precision(tf.float16, tables=True),
}


def reduce_precision(model: tf.Module, name: str) -> None:
    """Replaces the matrices of a built model by rounded ones. Shared matrices stay shared.

    Raises:
        WeightsError: a number is too large for the type.
    """
    precision = _PRECISIONS.get(name)
    if precision is None:
        return
    rounded: dict[int, tf.Variable] = {}
    for layer in model.submodules:
        if not isinstance(layer, MatrixLayer) or not (layer.is_product or precision.tables):
            continue
        matrix = layer.weight
        if id(matrix) not in rounded:
            values = tf.cast(matrix, precision.dtype)
            if not bool(tf.reduce_all(tf.math.is_finite(values))):
                raise WeightsError(f"{matrix.name}: values too large for --precision {name}")
            rounded[id(matrix)] = variable(values, matrix.name.partition(":")[0])
        layer.weight = rounded[id(matrix)]
        if isinstance(layer, Linear) and layer.in_bfloat16 and layer.bias is not None:
            layer.bias = variable(tf.cast(layer.bias, tf.bfloat16), "bias")
