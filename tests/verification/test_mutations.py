"""Deliberate mistakes in the graph: quick verification has to catch each of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from fixtures import models
from fixtures.models import Dense, Normalize, Pooling
from tests.support.helpers import InProcessReference
from tf_exporter import VerificationError, convert
from tf_exporter.architectures.bert import encoder as bert
from tf_exporter.architectures.mpnet import encoder as mpnet
from tf_exporter.architectures.reading import read_architecture
from tf_exporter.modules.dense import config as dense_config
from tf_exporter.modules.pooling import config as pooling_config
from tf_exporter.modules.pooling import layer as pooling
from tf_exporter.modules.transformer import config as transformer_spec
from tf_exporter.tokenizers import post_processors
from tf_exporter.tokenizers.unicode import code_points

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folders: dict[str, Path] = {}

    def get(model_type: str) -> Path:
        if model_type not in folders:
            heads = [Pooling(32, "mean"), Dense(32, 24, use_residual=True), Normalize()]
            folders[model_type] = models.write_model(
                tmp_path_factory.mktemp(model_type) / "model", model_type, heads
            )
        return folders[model_type]

    return get


def wrong_config(**changes: Any) -> Callable[..., Any]:
    def read(*arguments: Any) -> Any:
        result = read_architecture(*arguments)
        return result._replace(encoder=dataclasses.replace(result.encoder, **changes))

    return read


def no_mask(attention_mask: tf.Tensor) -> tf.Tensor:
    return tf.zeros_like(attention_mask, tf.float32)[:, tf.newaxis, tf.newaxis, :]


MISTAKES: dict[str, tuple[str, Any, str, Any]] = {
    "epsilon": ("bert", transformer_spec, "read_architecture", wrong_config(layer_norm_eps=1e-3)),
    "no mask": ("bert", bert, "padding_bias", no_mask),
    "pooling": (
        "bert",
        pooling_config,
        "_read_modes",
        lambda file: (file.take("pooling_mode", str) and "cls",),
    ),
    "pooling over padding": (
        "bert",
        pooling,
        "_sum_and_count",
        lambda tokens, mask: (
            tf.reduce_sum(tokens, axis=1),
            tf.cast(tf.shape(mask)[1], tf.float32),
        ),
    ),
    "Dense activation": (
        "bert",
        dense_config,
        "_read_activation",
        lambda file: file.take("activation_function", str) and "ReLU",
    ),
    "no positions from ids": ("mpnet", mpnet, "PADDING_INDEX", 0),
    "buckets": ("mpnet", mpnet, "_MAX_DISTANCE", 64),
    "truncation": (
        "bert",
        post_processors.Truncation,
        "__call__",
        lambda self, tokens: cut_late(self, tokens),
    ),
    "normalizer": (
        "bert",
        code_points.CodePointNormalizer,
        "__call__",
        lambda self, stream: stream,
    ),
}
ORIGINAL_POST = post_processors.Truncation.__call__


def cut_late(self: Any, tokens: Any) -> Any:
    self._max_length += 1
    return ORIGINAL_POST(self, tokens)


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_caught(
    name: str, folders: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_type, *patch = MISTAKES[name]
    folder = folders(model_type)
    monkeypatch.setattr("tf_exporter.exports.run.Reference", InProcessReference)
    monkeypatch.setattr(*patch)
    with pytest.raises(VerificationError, match=r"serving_default|tokenize"):
        convert(folder, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("model_type", ["bert", "mpnet"])
def test_without_a_mistake(
    model_type: str, folders: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tf_exporter.exports.run.Reference", InProcessReference)
    assert convert(folders(model_type), tmp_path / "out").verification["max_abs_difference"] <= 1e-5
