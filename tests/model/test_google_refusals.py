"""Google's BERT checkpoints that are refused: damaged files, other keys, unknown variables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from fixtures import models
from tests.model.test_google import (
    by_hand,
    garden_encoder,
    node,
    tf1_variables,
    write_tf1,
    write_tf2,
)
from tf_exporter import InputError, UnsupportedError, UsageError, WeightsError, convert

REFUSALS: dict[str, tuple[type[Exception], str, Callable[[Path], Any]]] = {
    "no vocabulary": (
        InputError,
        r"vocab\.txt: missing",
        lambda folder: (folder / "vocab.txt").unlink(),
    ),
    "no checkpoint": (
        InputError,
        r"exactly one checkpoint is expected .*; got none",
        lambda folder: (folder / "bert_model.ckpt.index").unlink(),
    ),
    "two checkpoints": (
        InputError,
        r"exactly one .*; got bert_model\.ckpt\.index, other\.index",
        lambda folder: (folder / "other.index").write_bytes(b""),
    ),
    "truncated": (
        InputError,
        r"not a checkpoint that TensorFlow can read",
        lambda folder: (folder / "bert_model.ckpt.index").write_bytes(
            (folder / "bert_model.ckpt.index").read_bytes()[:100]
        ),
    ),
    "no data": (
        InputError,
        r"not a checkpoint that TensorFlow can read",
        lambda folder: (folder / "bert_model.ckpt.data-00000-of-00001").unlink(),
    ),
    "link": (
        InputError,
        r"link out of the model's folder",
        lambda folder: (folder / "bert_model.ckpt.index").symlink_to(
            (folder / "bert_model.ckpt.index").rename(folder.parent / "x")
        ),
    ),
    "activation": (
        UnsupportedError,
        r"bert_config\.json: hidden_act = 'swish'",
        lambda folder: models.rewrite(folder / "bert_config.json", hidden_act="swish"),
    ),
    "key": (
        UnsupportedError,
        r"bert_config\.json: net_type = 'albert'",
        lambda folder: models.rewrite(folder / "bert_config.json", net_type="albert"),
    ),
    "factorized": (
        UnsupportedError,
        r"bert_config\.json: embedding_size = 8",
        lambda folder: models.rewrite(folder / "bert_config.json", embedding_size=8),
    ),
    "size": (
        WeightsError,
        r"word_embeddings\.weight has shape",
        lambda folder: models.rewrite(
            folder / "bert_config.json", vocab_size=len(models.VOCAB) + 1
        ),
    ),
}


@pytest.fixture(scope="module")
def variables() -> dict[str, np.ndarray]:
    return tf1_variables(by_hand())


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(name: str, variables: dict[str, np.ndarray], tmp_path: Path) -> None:
    error, message, harm = REFUSALS[name]
    source = write_tf1(tmp_path / "source", variables)
    harm(source)
    with pytest.raises(error, match=message):
        convert(source, tmp_path / "out", export_type="encoder", verify="off")
    assert not (tmp_path / "out").exists()


def test_other_variables(variables: dict[str, np.ndarray], tmp_path: Path) -> None:
    other = write_tf1(
        tmp_path / "source", {**variables, "bert/embeddings/more": np.zeros(3, np.float32)}
    )
    with pytest.raises(WeightsError, match="variable bert/embeddings/more has no place in BERT"):
        convert(other, tmp_path / "out", export_type="encoder")
    counted = write_tf1(
        tmp_path / "counted", {**variables, "bert/pooler/dense/bias": np.zeros(32, np.int32)}
    )
    with pytest.raises(WeightsError, match="bert/pooler/dense/bias is int32, not floating point"):
        convert(counted, tmp_path / "out", export_type="encoder")


GARDEN_HARM: dict[str, tuple[type[Exception], str, Callable[[Any], object]]] = {
    "part": (
        WeightsError,
        "the object _pooler_layer of the Model Garden's encoder is missing",
        lambda encoder: delattr(encoder, "_pooler_layer"),
    ),
    "projection": (
        UnsupportedError,
        "embedding_size",
        lambda encoder: setattr(
            encoder, "_embedding_projection", node(kernel=np.zeros([2, 2], np.float32))
        ),
    ),
    "layers": (
        WeightsError,
        "has 2 layers, not 3",
        lambda encoder: encoder._transformer_layers.pop(),
    ),
    "more": (
        WeightsError,
        "variable encoder/extra/.* has no place in BERT",
        lambda encoder: setattr(encoder, "extra", tf.Variable(1.0)),
    ),
}


@pytest.mark.parametrize("name", GARDEN_HARM)
def test_other_encoders(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error, message, harm = GARDEN_HARM[name]
    made = garden_encoder

    def harmed(model: Any, version: int) -> tf.train.Checkpoint:
        encoder = made(model, version)
        if name == "layers":
            encoder._transformer_layers = list(encoder._transformer_layers)[:2]
        else:
            harm(encoder)
        return encoder

    monkeypatch.setattr("tests.model.test_google.garden_encoder", harmed)
    source = write_tf2(tmp_path / "source", by_hand(), 2, "encoder", head=False)
    with pytest.raises(error, match=message):
        convert(source, tmp_path / "out", export_type="encoder", verify="off")


def test_no_encoder_in_it(tmp_path: Path) -> None:
    source = write_tf2(tmp_path / "source", by_hand(), 2, "something", head=False)
    with pytest.raises(
        WeightsError, match="neither of encoder, model is in the checkpoint; it has"
    ):
        convert(source, tmp_path / "out", export_type="encoder")


def test_lower_case_of_other_models(tmp_path: Path) -> None:
    source = models.write_transformer(tmp_path / "source", "bert")
    with pytest.raises(
        UsageError,
        match="--do-lower-case: only for preprocessing, encoders and Google's checkpoints",
    ):
        convert(source, tmp_path / "out", do_lower_case=True)
