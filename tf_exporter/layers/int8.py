"""Matrices in int8: products of whole numbers, and tables of rows.

A matrix has a scale for each column, as its columns differ much in size. The rows that are
multiplied by it get a scale each while the graph runs, so a text's result does not depend on the
other texts of a batch. The sums are exact: only the rounding of both factors loses digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2, types_pb2

PRODUCT_NAME = "int8_needs_an_x86_processor_with_VNNI"
"""The name of the op in graphs. TensorFlow's error names it where the op has no kernel."""
_LARGEST = 127
"""The largest absolute value of a quantized weight."""
_STEPS = 255
"""The largest value of a quantized input, which has no sign."""
_MIDDLE = 128
"""The quantized 0 of inputs that have both signs."""
_LOW = 20
"""The quantized 0 of inputs that are hardly negative."""
_SPREAD = 3.0
"""How much larger than most columns of inputs the largest is, for the columns to be scaled."""
_TINY, _SMALL = 1e-20, 1e-5
_EXPECTED = 64 * _STEPS * _LARGEST


class Product(Protocol):
    """A matrix in a form of its own, by which rows are multiplied."""

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """float32 [rows, in] → x · matrix + bias, float32 [rows, out]"""
        ...


class Inputs(NamedTuple):
    """What is known of the rows that are multiplied by a matrix."""

    floor: float | None
    """How far they go below 0 if that is little; None: they have both signs."""
    largest: np.ndarray | None
    """The largest absolute value of each column for some texts, float32 [in]; None: not known."""


def quantized(matrix: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """The values of a matrix, int8, and the scales of its slices along `axis`, float32 [slices].

    `axis`: 0 for a scale of each row, 1 for a scale of each column.
    """
    largest = np.abs(matrix).max(axis=1 - axis, keepdims=True, initial=0)
    scales = np.where(largest > 0, largest / _LARGEST, 1).astype(np.float32)
    return np.rint(matrix / scales).astype(np.int8), np.squeeze(scales, 1 - axis)


def has_kernel() -> bool:
    """Whether this machine multiplies int8 matrices, and exactly.

    TensorFlow has a kernel for x86, whose sums of two products overflow without VNNI.
    """
    try:
        return bool(tf.function(_probe)() == _EXPECTED)
    except (tf.errors.OpError, RuntimeError):
        # There is no kernel, or no such op.
        return False


def exact_here(x: tf.Tensor) -> tf.Tensor:
    """`x`, where the graph runs on a machine that `has_kernel`; elsewhere, an error."""
    message = "int8 products are not exact on this processor: x86 with VNNI is needed"
    with tf.control_dependencies([tf.debugging.Assert(_probe() == _EXPECTED, [message])]):
        return tf.identity(x)


def _probe() -> tf.Tensor:
    """A product whose sums overflow where there is no VNNI; `_EXPECTED` elsewhere."""
    row, column = np.full([1, 64], _STEPS, np.uint8), np.full([64, 1], _LARGEST, np.int8)
    vectors = (np.ones(1, np.float32), np.zeros(1, np.float32))
    return _whole_product(tf.bitcast(row, tf.quint8), tf.constant(column), *vectors)[0, 0]


class Int8Product(tf.Module):
    """A matrix by which rows are multiplied in int8."""

    def __init__(
        self,
        matrix: np.ndarray,
        bias: np.ndarray | None,
        inputs: Inputs,
        *,
        simulated: bool = False,
    ):
        """The matrix, float32 [in, out], in int8, and the bias, float32 [out], in float32.

        Args:
            matrix: the matrix.
            bias: what is added to the product.
            inputs: what is known of the rows.
            simulated: whether to compute the sums in float32, which runs on any processor.
        """
        super().__init__()
        self.needs_kernel = not simulated
        self._floor = floor = inputs.floor
        self._zero = _MIDDLE if floor is None else _LOW if floor else 0
        # Where rows are hardly negative, they are wide, and a pass over them costs too much.
        sizes = None if floor is not None else _sizes(matrix, inputs.largest)
        self._sizes = None if sizes is None else 1 / sizes
        values, scales = quantized(matrix if sizes is None else matrix * sizes[:, None], 1)
        self.values = tf.Variable(values, trainable=False, name="int8_weight")
        shift = -self._zero * values.astype(np.int64).sum(0) * scales.astype(np.float64)
        compute = _float_product if simulated else _whole_product

        def product(rounded: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
            y = compute(rounded, self.values.read_value(), scales, shift.astype(np.float32))
            y *= 1.0 / factor
            return y if bias is None else y + bias

        # One function for all branches of the graph, so that the vectors are stored once.
        function = tf.function(
            product,
            input_signature=[
                tf.TensorSpec([None, len(values)], tf.quint8),
                tf.TensorSpec([None, 1], tf.float32),
            ],
            autograph=False,
        ).get_concrete_function()
        # The lambda hides the function from SavedModel.
        self._product = lambda *inputs: function(*inputs)

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """float32 [rows, in] → x · matrix + bias, float32 [rows, out]"""
        x = x if self._sizes is None else x * self._sizes
        factor = self._factor(x)
        rounded, _, _ = tf.raw_ops.QuantizeV2(
            input=x * factor,
            min_range=-float(self._zero),
            max_range=float(_STEPS - self._zero),
            T=tf.quint8,
            mode="MIN_COMBINED",
        )
        return self._product(rounded, factor)

    def _factor(self, x: tf.Tensor) -> tf.Tensor:
        """What each row is multiplied by before it is rounded: float32 [rows, 1]."""
        if self._floor is None:
            largest = tf.reduce_max(tf.abs(x), 1, keepdims=True)
            return _LARGEST / tf.maximum(largest, _TINY)
        largest = tf.reduce_max(x, 1, keepdims=True)
        factor = (_STEPS - self._zero) / tf.maximum(largest, _TINY)
        return tf.minimum(factor, self._zero / self._floor) if self._floor else factor


def _sizes(matrix: np.ndarray, largest: np.ndarray | None) -> np.ndarray | None:
    """What columns of inputs are divided by, and rows of the matrix multiplied: float32 [in].

    Few columns of a transformer's hidden states are much larger than all others, so the others
    would be rounded coarsely. This moves half of the difference into the matrix (G. Xiao et al.,
    2022).
    """
    if largest is None or largest.max(initial=0) < _SPREAD * np.median(largest):
        return None
    return _balance(matrix, largest)


def large_columns(matrix: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """What columns of inputs are divided by so that few large ones do not set the scale of a row.

    Args:
        matrix: float32 [in, out].
        largest: the largest absolute value of each column of inputs, float32 [in].

    Returns:
        float32 [in]; 1 for most columns, and never less.
    """
    sizes = _balance(matrix, largest)
    result: np.ndarray = np.maximum(1, sizes / np.median(sizes)).astype(np.float32)
    return result


def _balance(matrix: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """The root of each input column's size over that of the matrix's row: float32 [in]."""
    rows = np.abs(matrix).max(1)
    sizes: np.ndarray = np.sqrt(np.maximum(largest, _SMALL) / np.maximum(rows, _SMALL))
    return sizes.astype(np.float32)


class StoredInt8(tf.Module):
    """A matrix that is stored in int8, and converted to float32 where it is used."""

    def __init__(self, matrix: np.ndarray, bias: np.ndarray | None):
        """`matrix`: float32 [in, out]; `bias`: float32 [out], added to the product"""
        super().__init__()
        values, self._scales = quantized(matrix, 1)
        self.values = tf.Variable(values, trainable=False, name="int8_weight")
        self._bias = bias

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """float32 [rows, in] → x · matrix + bias, float32 [rows, out]"""
        y = tf.matmul(x, tf.cast(self.values, tf.float32)) * self._scales
        return y if self._bias is None else tf.nn.bias_add(y, self._bias)


class Int8Table(tf.Module):
    """A table in int8 with a scale for each row."""

    def __init__(self, table: np.ndarray, name: str):
        """`table`: float32 [rows, features]; `name`: the name of its variable."""
        super().__init__()
        values, scales = quantized(table, 0)
        self.values = tf.Variable(values, trainable=False, name=name)
        self.scales = tf.Variable(scales, trainable=False, name=f"{name}_scales")

    def rows(self, ids: tf.Tensor) -> tf.Tensor:
        """The rows of int32 ids of any shape: float32 [..., features]."""
        scales = tf.gather(self.scales, ids)[..., tf.newaxis]
        return tf.cast(tf.gather(self.values, ids), tf.float32) * scales

    def first(self, count: tf.Tensor) -> tf.Tensor:
        """The first rows, float32 [count, features]."""
        return tf.cast(self.values[:count], tf.float32) * self.scales[:count, tf.newaxis]

    def product(self, x: tf.Tensor) -> tf.Tensor:
        """float32 [batch, features] → x · tableᵀ, float32 [batch, rows], computed in float32."""
        return tf.matmul(x, tf.cast(self.values, tf.float32), transpose_b=True) * self.scales


def _whole_product(
    x: tf.Tensor, values: tf.Tensor, scales: np.ndarray, shift: np.ndarray
) -> tf.Tensor:
    """Gives x · values · scales + shift: quint8 [rows, in], int8 [in, out] → float32 [rows, out].

    The sums are whole numbers; `scales` and `shift` are float32 [out]. The op (TensorFlow 2.17)
    keeps the values in the layout that the processor wants, although they are a variable. As a
    constant they would be copied about 25 times while a graph is prepared.
    """
    largest = tf.constant(_LARGEST * scales)
    inputs = [x, tf.bitcast(values, tf.qint8), tf.constant(shift), 0.0, float(_STEPS)]
    inputs = [tf.convert_to_tensor(one) for one in (*inputs, -largest, largest)]
    types = [one.dtype.as_datatype_enum for one in inputs]
    attributes = {
        "Tdevice_inputs": _list(type=types),
        "Thost_inputs": _list(),
        "Tdevice_outputs": _list(type=[types_pb2.DT_FLOAT]),
        "Thost_outputs": _list(),
        "T1": attr_value_pb2.AttrValue(type=types[0]),
        "T2": attr_value_pb2.AttrValue(type=types[1]),
        "fused_ops": _list(s=[b"BiasAdd", b"Dequantize"]),
    }
    # TensorFlow has no Python function for this op.
    op = tf.compat.v1.get_default_graph().create_op(
        "_QuantizedMatMul", inputs, [tf.float32], name=PRODUCT_NAME, attrs=attributes
    )
    (result,) = op.outputs
    return result


def _list(**values: Sequence[Any]) -> attr_value_pb2.AttrValue:
    return attr_value_pb2.AttrValue(list=attr_value_pb2.AttrValue.ListValue(**values))


def _float_product(
    x: tf.Tensor, values: tf.Tensor, scales: np.ndarray, shift: np.ndarray
) -> tf.Tensor:
    """The same with sums in float32, which are off by float noise at most."""
    x = tf.cast(tf.bitcast(x, tf.uint8), tf.float32)
    return tf.matmul(x, tf.cast(values, tf.float32)) * scales + shift
