"""Weights in half precision: the distance from float32, and which weights are rounded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from safetensors.torch import load_file, save_file

from fixtures import heads, models
from fixtures.models import Normalize, Pooling
from tests.support.helpers import build, embed, reference
from tf_exporter import WeightsError, convert
from tf_exporter.architectures.registry import VERIFIED
from tf_exporter.verification.outputs import compare
from tf_exporter.verification.tolerances import of_embeddings, of_scores

TEXTS = models.texts(0, 64)
REDUCED = ("bfloat16", "float16")
HALF = {"bfloat16": tf.bfloat16, "float16": tf.float16}


@pytest.mark.parametrize("precision", REDUCED)
@pytest.mark.parametrize(
    "model_type",
    [
        "bert",
        *(pytest.param(name, marks=pytest.mark.slow) for name in VERIFIED if name != "bert"),
    ],
)
def test_near_the_reference(model_type: str, precision: str, tmp_path: Path) -> None:
    folder = models.write_model(tmp_path / "model", model_type, [Pooling(32, "mean"), Normalize()])
    result = embed(build(folder, precision=precision), TEXTS)
    expected = reference(folder).encode(TEXTS, batch_size=1)
    compare("serving_default", result, expected, of_embeddings(precision, 1e-5), TEXTS)
    # A smaller difference would mean that nothing was rounded.
    assert np.abs(result - expected).max() > 1e-5


def _dtypes(model: tf.Module) -> dict[tf.DType, int]:
    """The size in bytes of the variables of each dtype."""
    sizes: dict[tf.DType, int] = {}
    for variable in model.variables:
        sizes[variable.dtype] = sizes.get(variable.dtype, 0) + variable.dtype.size * int(
            np.prod(variable.shape)
        )
    return sizes


def test_what_is_rounded(tmp_path: Path) -> None:
    """No matrix stays in float32; embedding tables do in bfloat16."""
    folder = models.write_model(tmp_path / "model")
    whole = _dtypes(build(folder))[tf.float32]
    half = _dtypes(build(folder, precision="float16"))
    assert half[tf.float32] < 0.1 * whole
    assert half[tf.float16] > 0.45 * whole
    products = _dtypes(build(folder, precision="bfloat16"))
    # The matrices, without three tables; vectors stay in float32.
    assert products[tf.bfloat16] > 0.5 * half[tf.float16]
    assert products[tf.float32] > half[tf.float32]


@pytest.mark.parametrize("precision", REDUCED)
def test_shared_matrices_stay_shared(precision: str, tmp_path: Path) -> None:
    """The decoder of a masked language model is its embedding table."""
    model = build(heads.write_sparse_encoder(tmp_path / "model"), precision=precision)
    transformer = model.first
    assert transformer.head.weight.dtype == HALF[precision]
    if precision == "float16":
        assert transformer.head.weight is transformer.encoder.word_embeddings.weight


@pytest.mark.slow
@pytest.mark.parametrize("precision", REDUCED)
def test_converted(precision: str, tmp_path: Path) -> None:
    """Scores of pairs, verified against float32; the manifest names the precision."""
    folder = heads.write_saved_cross_encoder(tmp_path / "model")
    conversion = convert(folder, tmp_path / "out", precision=precision)
    assert conversion.manifest["precision"] == precision
    assert (
        0 < conversion.verification["max_abs_difference"] <= of_scores(precision, 1e-5).difference
    )


def test_too_large(tmp_path: Path) -> None:
    """Values beyond the range of float16 are refused, but fit bfloat16."""
    folder = models.write_model(tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    tensors["encoder.layer.1.output.dense.weight"] *= 1e6
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    build(folder, precision="bfloat16")
    with pytest.raises(WeightsError, match="float16"):
        build(folder, precision="float16")
