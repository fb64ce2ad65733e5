"""Matrices in int8: rounding, sums, and what a row's result depends on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.support.int8 import needs_kernel
from tf_exporter.layers.activations import TRANSFORMERS_ACTIVATIONS
from tf_exporter.layers.basic import FeedForward
from tf_exporter.layers.int8 import (
    Inputs,
    Int8Product,
    Int8Table,
    StoredInt8,
    has_kernel,
    quantized,
)
from tf_exporter.layers.small_batch import compute_small_batch
from tf_exporter.model.weights import Weights

SIZES = [(32, 48), (384, 1536), (1536, 384)]


def _random(rows: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)


def test_kernel_needs_vnni() -> None:
    """The probe agrees with the processor's flags."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        pytest.skip("there is no /proc/cpuinfo")
    flags = cpuinfo.read_text().partition("flags")[2].partition("\n")[0].split()
    assert has_kernel() == bool({"avx512_vnni", "avx_vnni"} & set(flags))


def test_quantized() -> None:
    """The largest value of each column becomes ±127, and zeros stay zeros."""
    matrix = np.array([[1.0, 0.0, -3.0], [0.5, 0.0, 1.0]], np.float32)
    values, scales = quantized(matrix, 1)
    assert values.tolist() == [[127, 0, -127], [64, 0, 42]]
    assert np.allclose(scales, [1 / 127, 1, 3 / 127])
    values, scales = quantized(matrix, 0)
    assert values.tolist() == [[42, 0, -127], [64, 0, 127]]
    assert np.allclose(scales, [3 / 127, 1 / 127])


def _rounded(x: np.ndarray, factor: np.ndarray, zero: int) -> np.ndarray:
    """The inputs as the product sees them, in float64."""
    steps = np.clip(np.floor(x * factor + zero + 0.5), 0, 255) - zero
    rounded: np.ndarray = steps.astype(np.float64) / factor
    return rounded


@pytest.mark.parametrize(("inner", "outer"), SIZES)
def test_product(inner: int, outer: int) -> None:
    """Each row is rounded to 127 steps on both sides. Sums are exact."""
    x, matrix, bias = _random(9, inner), _random(inner, outer, 1), _random(1, outer, 2)[0]
    x[3] = 0
    x[4] *= 1000
    product = Int8Product(matrix, bias, Inputs(None, None), simulated=True)
    values, scales = quantized(matrix, 1)
    factor = 127 / np.maximum(np.abs(x).max(1, keepdims=True), 1e-20)
    expected = _rounded(x, factor, 128) @ (values * scales.astype(np.float64)) + bias
    sizes = np.abs(x).max(1, keepdims=True, initial=1)
    assert (np.abs(product(tf.constant(x)) - expected) / sizes).max() < 1e-4
    error = np.abs(expected - (x @ matrix + bias))[[0, 1, 2, 5, 6]]
    assert 1e-3 < error.mean() < 0.02 * inner**0.5


def test_inputs_that_are_hardly_negative() -> None:
    """They have nearly twice the steps, and small rows are not rounded more finely than needed."""
    x = np.maximum(_random(8, 384), -0.17) * np.logspace(-2, 2, 8, dtype=np.float32)[:, None]
    x = np.maximum(x, -0.17)
    matrix = _random(384, 64, 1)
    values, scales = quantized(matrix, 1)
    product = Int8Product(matrix, None, Inputs(0.17, None), simulated=True)
    factor = np.minimum(235 / x.max(1, keepdims=True), 20 / 0.17)
    expected = _rounded(x, factor, 20) @ (values * scales.astype(np.float64))
    assert np.allclose(product(tf.constant(x)), expected, rtol=1e-4, atol=1e-3)
    exact = x @ (values * scales)
    both = Int8Product(matrix, None, Inputs(None, None), simulated=True)
    errors = [np.abs(own(tf.constant(x))[-1] - exact[-1]).mean() for own in (product, both)]
    assert errors[0] < 0.7 * errors[1]


def test_large_columns() -> None:
    """Few columns that are much larger than the others hardly harm them."""
    x, matrix = _random(64, 384), _random(384, 384, 1)
    x[:, [5, 77]] *= 40
    exact = x @ matrix
    largest = np.abs(x).max(0)
    errors = []
    for known in (None, largest):
        product = Int8Product(matrix, None, Inputs(None, known), simulated=True)
        errors.append(float(np.abs(product(tf.constant(x)) - exact).mean()))
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize("simulated", [pytest.param(False, marks=needs_kernel), True])
def test_rows_do_not_depend_on_each_other(simulated: bool) -> None:
    x, matrix, bias = _random(40, 384), _random(384, 384, 1), _random(1, 384, 2)[0]
    inputs = Inputs(None, np.abs(x).max(0))
    product = Int8Product(matrix, bias, inputs, simulated=simulated)
    together = product(tf.constant(x)).numpy()
    alone = np.concatenate([product(tf.constant(x[row : row + 1])) for row in range(len(x))])
    # Float noise of sums, far below a step of 1/127.
    assert np.allclose(together, alone, rtol=1e-5, atol=1e-4)
    small = compute_small_batch(lambda: product(tf.constant(x))).numpy()
    assert np.allclose(together, small, rtol=1e-5, atol=1e-4)


@needs_kernel
@pytest.mark.parametrize(("inner", "outer"), SIZES)
def test_kernel(inner: int, outer: int) -> None:
    """The op's sums are exact, for extreme values, too."""
    matrix = _random(inner, outer, 1)
    matrix[:, ::7] = np.abs(matrix[:, ::7]).max()
    values, scales = quantized(matrix, 1)
    product = Int8Product(matrix, None, Inputs(None, None))
    for rows in (0, 1, 7, 33, 300):
        x = _random(rows, inner, rows)
        x[::3] = 5.0
        factor = 127 / np.abs(x).max(1, keepdims=True, initial=1e-20)
        expected = _rounded(x, factor, 128) @ (values * scales.astype(np.float64))
        # The op adds what the quantized 0 gives to the scaled sum, both in float32.
        added = 128 * np.abs(values.sum(0, dtype=np.float64)) * scales / factor
        sizes = np.abs(expected) + added + 1e-3 * scales / factor
        allowed = 4 * np.spacing(sizes.astype(np.float32))
        assert (np.abs(product(tf.constant(x)) - expected) <= allowed).all()


def test_table() -> None:
    table, ids = (
        _random(50, 32) * np.linspace(0.1, 9, 50, dtype=np.float32)[:, None],
        [[3, 0], [9, 9]],
    )
    own = Int8Table(table, "table")
    steps = np.abs(table).max(1) / 127
    assert (np.abs(own.rows(tf.constant(ids)) - table[ids]) <= 0.51 * steps[ids][..., None]).all()
    assert np.array_equal(own.first(tf.constant(4)), own.rows(tf.range(4)))
    x = _random(3, 32, 1)
    assert np.allclose(
        own.product(tf.constant(x)), x @ own.first(tf.constant(50)).numpy().T, atol=1e-4
    )


def test_stored() -> None:
    matrix, bias, x = _random(64, 32), _random(1, 32, 1)[0], _random(5, 64, 2)
    values, scales = quantized(matrix, 1)
    expected = x @ (values * scales) + bias
    assert np.allclose(StoredInt8(matrix, bias)(tf.constant(x)), expected, atol=1e-4)


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "silu", "relu"])
def test_floors(activation: str) -> None:
    """`floor` is a bound, and close to it, for GELU with its constants elsewhere, too."""
    arrays = {
        "up.weight": _random(64, 16),
        "up.bias": _random(1, 64, 1)[0],
        "down.weight": _random(16, 64, 2),
        "down.bias": _random(1, 16, 3)[0],
    }
    act = TRANSFORMERS_ACTIVATIONS[activation]
    layer = FeedForward(Weights.of_arrays("file", arrays), ("up",), "down", 16, 64, act)
    x = tf.constant(_random(50, 16, 4))
    before = layer(x).numpy()
    for _ in range(2):
        inner = layer._activation(layer.up(x))
        assert layer.floor is not None
        assert -layer.floor <= float(tf.reduce_min(inner)) <= -0.6 * layer.floor
        layer.simplify_gelu(np.linspace(1, 3, 64, dtype=np.float32))
        assert np.allclose(layer(x), before, atol=2e-5)
