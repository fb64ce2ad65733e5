"""Scores of pairs, compared with CrossEncoder: all heads, labels, activations, prompts, layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch
from sentence_transformers.base.modules import Dense
from sentence_transformers.sentence_transformer.modules import Pooling

from fixtures import heads, models
from fixtures.models import rewrite
from tests.support.helpers import InProcessReference, answer, build
from tests.support.refusals import refused
from tf_exporter import UnsupportedError, convert
from tf_exporter.architectures.registry import with_head
from tf_exporter.errors import VerificationError, WeightsError
from tf_exporter.verification.reference import Job
from tf_exporter.verification.reference_process import load

ATOL = 1e-5
TEXTS = models.texts(1, 64)
PAIRS = [*reversed(models.texts(2, 64))]


def score_difference(folder: Path, signature: str = "serving_default") -> float:
    """The largest absolute difference from the reference, in batches of 32 and of 1."""
    model, theirs = build(folder), load(str(folder), "CrossEncoder", None, None)
    prompt = model.signatures[signature].prompt
    result = model.predict(
        tf.constant(TEXTS), tf.constant(PAIRS), model.signatures[signature]
    ).numpy()
    leaks = model.pipelines[""].pads_leak
    batch = answer(theirs, Job(TEXTS, prompt, 1 if leaks else 32, "", PAIRS))
    alone = answer(theirs, Job(TEXTS[:8], prompt, 1, "", PAIRS[:8]))
    assert np.isfinite(result).all() and result.shape == batch.shape
    return max(float(np.abs(result - batch).max()), float(np.abs(result[:8] - alone).max()))


@pytest.mark.parametrize(
    "model_type",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name not in ("bert", "qwen2")))
        for name in with_head("sequence-classification")
    ],
)
def test_architectures(tmp_path: Path, model_type: str) -> None:
    folder = heads.write_cross_encoder(tmp_path / "model", model_type, labels=3)
    assert score_difference(folder) <= ATOL


@pytest.mark.parametrize(
    "changes",
    [
        {"classifier_pooling": "mean", "classifier_bias": True, "norm_bias": True},
        {"classifier_pooling": "cls", "classifier_activation": "silu"},
    ],
    ids=str,
)
def test_keys_of_modernbert(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert (
        score_difference(heads.write_cross_encoder(tmp_path / "model", "modernbert", **changes))
        <= ATOL
    )


@pytest.mark.parametrize(
    ("labels", "activation"),
    [(1, None), (2, None), (1, torch.nn.Identity()), (1, torch.nn.Tanh()), (3, torch.nn.Sigmoid())],
)
def test_labels_and_activations(
    tmp_path: Path, labels: int, activation: torch.nn.Module | None
) -> None:
    """By default one score is a probability, and several are logits."""
    folder = heads.write_saved_cross_encoder(
        tmp_path / "model", labels=labels, activation_fn=activation
    )
    assert score_difference(folder) <= ATOL


@pytest.mark.parametrize(
    "settings",
    [
        {
            "sentence_transformers": {
                "activation_fn": "torch.nn.modules.linear.Identity",
                "version": "4.1.0",
            }
        },
        {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"},
        {"sbert_ce_default_activation_function": "some.other.Function"},
        {"num_labels": 1, "id2label": "absent", "label2id": "absent"},
    ],
    ids=str,
)
def test_activation_of_the_transformers_config(tmp_path: Path, settings: dict[str, Any]) -> None:
    """Without modules.json; an activation outside torch is replaced by the default."""
    folder = heads.write_cross_encoder(tmp_path / "model")
    rewrite(folder / "config.json", **settings)
    assert score_difference(folder) <= ATOL


def test_prompts(tmp_path: Path) -> None:
    """A prompt goes before the first text of a pair."""
    folder = heads.write_saved_cross_encoder(
        tmp_path / "model",
        prompts={"query": "the hello: ", "odd": "world "},
        default_prompt_name="odd",
    )
    assert {"serving_default", "predict_query", "predict_odd"} == set(build(folder).signatures)
    assert score_difference(folder) <= ATOL
    assert score_difference(folder, "predict_query") <= ATOL


def test_scores_of_a_dense_module(tmp_path: Path) -> None:
    """An encoder without a head, pooled; a Dense module computes the scores."""
    from sentence_transformers import CrossEncoder
    from sentence_transformers.base.modules import Transformer

    plain = models.write_transformer(tmp_path / "plain", "mpnet")
    dense = Dense(32, 2, activation_function=torch.nn.Identity(), module_output_name="scores")
    models.draw_weights(dense, 1)
    model = CrossEncoder(
        modules=[Transformer(str(plain), max_seq_length=40), Pooling(32, "mean"), dense],
        device="cpu",
    )
    model.save(str(tmp_path / "model"), create_model_card=False)
    assert score_difference(tmp_path / "model") <= ATOL


def test_conversion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The saved graph takes pairs in either shape, and its manifest describes the scores."""
    monkeypatch.setattr("tf_exporter.exports.run.Reference", InProcessReference)
    folder = heads.write_cross_encoder(tmp_path / "model", labels=3)
    rewrite(
        folder / "config.json",
        id2label={"0": "no", "1": "dim", "2": "yes"},
        label2id={"no": 0, "dim": 1, "yes": 2},
    )
    conversion = convert(folder, tmp_path / "out")
    assert conversion.manifest["labels"] == ["no", "dim", "yes"]
    assert "[batch, 3], for no, dim, yes. Texts are" in (tmp_path / "out/README.md").read_text()
    assert "Scores: max abs difference" in conversion.summary[1]
    graph = tf.saved_model.load(str(tmp_path / "out"))
    score = graph.signatures["serving_default"]
    columns = score(
        input_sequence=tf.constant([["hello"], ["the"]]),
        pair_sequence=tf.constant([["world"], ["of"]]),
    )["scores"]
    rows = graph(tf.constant(["hello", "the"]), tf.constant(["world", "of"]))
    assert columns.shape == (2, 3)
    assert np.array_equal(columns, rows)
    nothing = tf.constant([], tf.string)
    assert score(input_sequence=nothing, pair_sequence=nothing)["scores"].shape == (0, 3)
    for function in (score, graph.signatures["tokenize"]):
        with pytest.raises(tf.errors.InvalidArgumentError, match="must have the same length"):
            function(input_sequence=tf.constant(["a", "b"]), pair_sequence=tf.constant(["a"]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="pair_sequence must have shape"):
        score(input_sequence=tf.constant(["a"]), pair_sequence=tf.constant([["a", "b"]]))


@pytest.mark.slow
def test_wrong_segments_are_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mistakes that only pairs show."""
    from tf_exporter.modules.transformer.layer import Transformer

    monkeypatch.setattr("tf_exporter.exports.run.Reference", InProcessReference)
    folder = heads.write_cross_encoder(tmp_path / "model")
    original = Transformer.__call__
    monkeypatch.setattr(
        Transformer,
        "__call__",
        lambda self, features: original(
            self, {**features, "token_type_ids": tf.zeros_like(features["token_type_ids"])}
        ),
    )
    with pytest.raises(VerificationError, match="serving_default"):
        convert(folder, tmp_path / "out")


def test_refusals(tmp_path: Path) -> None:
    folder = heads.write_cross_encoder(tmp_path / "t5", "bert")
    rewrite(folder / "tokenizer_config.json", padding_side="left")
    refused(folder, UnsupportedError, "padding_side", "left")
    folder = heads.write_cross_encoder(tmp_path / "labels", labels=2)
    rewrite(folder / "config.json", id2label={"0": "a", "1": "b", "2": "c"})
    refused(folder, WeightsError, "classifier", "[2, 32], not [3, 32]")
    rewrite(folder / "config.json", id2label={"0": "a", "7": "b"})
    refused(folder, UnsupportedError, "config.json", "id2label", "labels 0, 1")
    folder = heads.write_cross_encoder(tmp_path / "activation")
    rewrite(folder / "config.json", sbert_ce_default_activation_function="torch.nn.Softmax")
    refused(
        folder, UnsupportedError, "config.json", "sbert_ce_default_activation_function", "Softmax"
    )
    rewrite(folder / "config.json", architectures=5)
    refused(folder, UnsupportedError, "architectures", "5")
    rewrite(folder / "config.json", sbert_ce_default_activation_function=None)
    rewrite(
        folder / "config.json",
        architectures=["BertForSequenceClassification"],
        id2label="absent",
        num_labels=10**12,
    )
    refused(folder, UnsupportedError, "num_labels")
    rewrite(folder / "config.json", num_labels=1)
    rewrite(folder / "config.json", sbert_ce_default_activation_function="torch.hub.load")
    refused(folder, UnsupportedError, "sbert_ce_default_activation_function", "torch.hub.load")
    folder = heads.write_saved_cross_encoder(tmp_path / "saved")
    rewrite(folder / "config.json", architectures=["BertModel"])
    refused(folder, UnsupportedError, "architectures", "sequence classification")
    rewrite(folder / "config.json", architectures=["BertForSequenceClassification"])
    rewrite(
        folder / "config_sentence_transformers.json",
        model_type="SentenceTransformer",
        activation_fn="absent",
    )
    refused(folder, UnsupportedError, "modules.json", "sentence_embedding")
    rewrite(folder / "config_sentence_transformers.json", model_type="MultiVectorEncoder")
    refused(folder, UnsupportedError, "modules.json", "token_embeddings")
