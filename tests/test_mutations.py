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
from tests.helpers import InProcessReference
from tf_exporter import VerificationError, activations, convert, reference
from tf_exporter.encoders import attention, bert, blocks, config, mpnet
from tf_exporter.modules import dense, pooling
from tf_exporter.tokenizers import code_points, post_processors


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def get(model_type: str) -> Path:
        if model_type not in made:
            heads = [Pooling(32, "mean"), Dense(32, 24, use_residual=True), Normalize()]
            made[model_type] = models.write_model(tmp_path_factory.mktemp(model_type) / "model", model_type, heads)
        return made[model_type]

    return get


def wrong_config(**changes: Any) -> Callable[..., Any]:
    original = config.read_config
    return lambda *arguments: dataclasses.replace(original(*arguments), **changes)


def no_mask(attention_mask: tf.Tensor) -> tf.Tensor:
    return tf.zeros_like(attention_mask, tf.float32)[:, tf.newaxis, tf.newaxis, :]


def soft_mask(attention_mask: tf.Tensor) -> tf.Tensor:
    return (1.0 - tf.cast(attention_mask, tf.float32))[:, tf.newaxis, tf.newaxis, :] * -5.0


def shifted_positions(self: Any, input_ids: tf.Tensor, attention_mask: tf.Tensor, token_type_ids: tf.Tensor) -> tf.Tensor:
    table = self.position_embeddings.weight
    self.position_embeddings.weight = tf.roll(table, -1, axis=0)
    try:
        return ORIGINAL_BERT(self, input_ids, attention_mask, token_type_ids)
    finally:
        self.position_embeddings.weight = table


ORIGINAL_BERT = bert.Bert.__call__
ORIGINAL_HEADS = attention.SelfAttention.__init__


def more_heads(self: Any, weights: Any, at: str, names: Any, features: int, heads: int) -> None:
    ORIGINAL_HEADS(self, weights, at, names, features, heads * 2)


def linear_transposed(self: Any, x: tf.Tensor) -> tf.Tensor:
    square = self.weight.shape[0] == self.weight.shape[1]
    product = tf.matmul(x, self.weight, transpose_b=square)
    return product if self.bias is None else tf.nn.bias_add(product, self.bias)


def norm_before_sum(self: Any, x: tf.Tensor, bias: tf.Tensor, batch: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    x = self.attention_norm(self.attention(x, bias, batch, length)) + x
    return self.output_norm(self.ffn(x) + x)


def unscaled(self: Any, x: tf.Tensor, bias: tf.Tensor, batch: tf.Tensor, length: tf.Tensor, angles: None) -> tf.Tensor:
    joined = tf.reshape(self.query_key_value(x), [batch, length, 3, self._heads, self._size])
    query, key, value = tf.unstack(tf.transpose(joined, [2, 0, 3, 1, 4]), num=3)
    mixed = tf.matmul(tf.nn.softmax(tf.matmul(query, key, transpose_b=True) + bias), value)
    return self.output(tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [batch * length, self._heads * self._size]))


MISTAKES: dict[str, tuple[str, Any, str, Any]] = {
    "epsilon": ("bert", bert, "read_config", wrong_config(layer_norm_eps=1e-3)),
    "tanh GELU": ("bert", bert, "activation", lambda *_: activations.TRANSFORMERS_ACTIVATIONS["gelu_new"]),
    "ReLU": ("bert", bert, "activation", lambda *_: activations.TRANSFORMERS_ACTIVATIONS["relu"]),
    "no mask": ("bert", bert, "padding_bias", no_mask),
    "soft mask": ("bert", bert, "padding_bias", soft_mask),
    "positions": ("bert", bert.Bert, "__call__", shifted_positions),
    "head split": ("bert", attention.SelfAttention, "__init__", more_heads),
    "transposed weights": ("bert", blocks.Linear, "__call__", linear_transposed),
    "norm order": ("bert", attention.PostNormLayer, "__call__", norm_before_sum),
    "scaling": ("bert", attention.SelfAttention, "__call__", unscaled),
    "pooling": ("bert", pooling, "_read_modes", lambda file: (file.take("pooling_mode", str) and "cls",)),
    "pooling over padding": ("bert", pooling, "_sum_and_count", lambda tokens, mask: (
        tf.reduce_sum(tokens, axis=1), tf.cast(tf.shape(mask)[1], tf.float32))),
    "Dense activation": ("bert", dense, "_read_activation", lambda file, _: file.take("activation_function", str) and tf.nn.relu),
    "no positions from ids": ("mpnet", mpnet, "_PADDING_INDEX", 0),
    "buckets": ("mpnet", mpnet, "_MAX_DISTANCE", 64),
    "few buckets": ("mpnet", mpnet, "_BUCKETS", 16),
    "mask of mpnet": ("mpnet", mpnet, "padding_bias", no_mask),
    "truncation": ("bert", post_processors.Truncation, "__call__", lambda self, tokens: cut_late(self, tokens)),
    "normalizer": ("bert", code_points.CodePointNormalizer, "__call__", lambda self, stream: stream),
}  # fmt: skip
ORIGINAL_POST = post_processors.Truncation.__call__


def cut_late(self: Any, tokens: Any) -> Any:
    self._max_length += 1
    return ORIGINAL_POST(self, tokens)


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_caught(name: str, folders: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model_type, *patch = MISTAKES[name]
    folder = folders(model_type)
    monkeypatch.setattr(reference, "Reference", InProcessReference)
    monkeypatch.setattr(*patch)
    with pytest.raises(VerificationError, match=r"serving_default|tokenize"):
        convert(folder, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("model_type", ["bert", "mpnet"])
def test_without_a_mistake(
    model_type: str, folders: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "Reference", InProcessReference)
    assert convert(folders(model_type), tmp_path / "out").verification["max_abs_difference"] <= 1e-5
