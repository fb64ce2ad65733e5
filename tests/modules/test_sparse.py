"""Sparse embeddings, compared with SparseEncoder: MLM heads, SPLADE, auto-encoders, Routers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers.sentence_transformer.modules import Pooling
from sentence_transformers.sparse_encoder.modules import SparseAutoEncoder, SpladePooling

from fixtures import heads, models
from fixtures.models import rewrite
from tests.support.helpers import InProcessReference, answer, build
from tests.support.refusals import refused
from tf_exporter import UnsupportedError, convert
from tf_exporter.architectures.registry import with_head
from tf_exporter.errors import WeightsError
from tf_exporter.layers.sparse import UNUSED_INDEX, active
from tf_exporter.verification.reference import Job
from tf_exporter.verification.reference_process import load

ATOL = 1e-5
TEXTS = models.texts(1, 64)


def sparse_difference(folder: Path, name: str = "serving_default", batch_size: int = 32) -> float:
    """The largest absolute difference from the reference."""
    model, theirs = build(folder), load(str(folder), "SparseEncoder", None, None)
    signature = model.signatures[name]
    result = model.encode(tf.constant(TEXTS), signature).numpy()
    leaks = model.pipelines[signature.route].pads_leak
    expected = answer(
        theirs, Job(TEXTS, signature.prompt, 1 if leaks else batch_size, signature.task)
    )
    assert result.shape == expected.shape
    assert expected.any()
    return float(np.abs(result - expected).max())


@pytest.mark.parametrize(
    "model_type",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name not in ("bert", "modernbert")))
        for name in with_head("fill-mask")
    ],
)
def test_architectures(tmp_path: Path, model_type: str) -> None:
    assert sparse_difference(heads.write_sparse_encoder(tmp_path / "model", model_type)) <= ATOL


@pytest.mark.parametrize("strategy", ["max", "sum"])
@pytest.mark.parametrize("activation", ["relu", "log1p_relu"])
def test_pooling(tmp_path: Path, strategy: Any, activation: Any) -> None:
    folder = heads.write_sparse_encoder(
        tmp_path / "model", modules=[SpladePooling(strategy, activation)], max_active_dims=9
    )
    assert sparse_difference(folder) <= ATOL


def test_keys_of_heads(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "classifier_activation": "silu",
        "classifier_bias": True,
        "norm_bias": True,
        "decoder_bias": True,
    }
    assert (
        sparse_difference(
            heads.write_sparse_encoder(tmp_path / "modernbert", "modernbert", **changes)
        )
        <= ATOL
    )
    assert (
        sparse_difference(
            heads.write_sparse_encoder(
                tmp_path / "bert", tie_word_embeddings=False, hidden_act="relu"
            )
        )
        <= ATOL
    )


def test_decoder_of_its_own(tmp_path: Path) -> None:
    """transformers uses a saved decoder unlike the embeddings, even if the config ties them."""
    folder = heads.write_sparse_encoder(tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    tensors["cls.predictions.decoder.weight"] = torch.flip(
        tensors["bert.embeddings.word_embeddings.weight"], [0]
    ).contiguous()
    tensors["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"] * 2
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert sparse_difference(folder) <= ATOL


def test_old_layout(tmp_path: Path) -> None:
    """MLMTransformer as sentence-transformers 5 saved it; SpladePooling's width is unused."""
    folder = heads.write_sparse_encoder(tmp_path / "model")
    (folder / "sentence_bert_config.json").write_text(
        '{"max_seq_length": 20, "do_lower_case": false}'
    )
    modules = (folder / "modules.json").read_text()
    modules = modules.replace(
        "base.modules.transformer.Transformer", "sparse_encoder.models.MLMTransformer"
    )
    modules = modules.replace(
        "sparse_encoder.modules.splade_pooling.SpladePooling", "sparse_encoder.models.SpladePooling"
    )
    (folder / "modules.json").write_text(modules)
    rewrite(
        folder / "1_SpladePooling/config.json",
        embedding_dimension="absent",
        word_embedding_dimension=31,
    )
    assert sparse_difference(folder) <= ATOL


@pytest.mark.parametrize(
    ("normalize", "most"), [(False, None), (True, None), (True, 3), (False, 30)]
)
def test_auto_encoder(tmp_path: Path, normalize: bool, most: int | None) -> None:
    """CSR: the model's own limit overrides the module's k."""
    from sentence_transformers import SparseEncoder
    from sentence_transformers.base.modules import Transformer

    plain = models.write_transformer(tmp_path / "plain", "bert")
    auto_encoder = SparseAutoEncoder(32, hidden_dim=64, k=8, k_aux=16, normalize=normalize)
    models.draw_weights(auto_encoder, 2)
    modules = [Transformer(str(plain), max_seq_length=32), Pooling(32, "mean"), auto_encoder]
    model = SparseEncoder(modules=modules, device="cpu", max_active_dims=most)
    model.save(str(tmp_path / "model"), create_model_card=False)
    assert sparse_difference(tmp_path / "model") <= ATOL


def test_queries_and_documents(tmp_path: Path) -> None:
    """A Router with a tokenizer and modules for each task.

    In queries, the reference masks a written [PAD] too.
    """
    folder = heads.write_query_document_model(tmp_path / "model")
    assert sparse_difference(folder) <= ATOL
    assert sparse_difference(folder, "encode_document") <= ATOL
    assert sparse_difference(folder, "encode_query", batch_size=1) <= ATOL


def test_default_route(tmp_path: Path) -> None:
    folder = heads.write_query_document_model(tmp_path / "model", default_route="query")
    assert sparse_difference(folder, batch_size=1) <= ATOL
    folder = heads.write_query_document_model(tmp_path / "first", default_route=None)
    assert sparse_difference(folder, batch_size=1) <= ATOL
    folder = heads.write_query_document_model(
        tmp_path / "none", default_route=None, allow_empty_key=False
    )
    refused(folder, UnsupportedError, "router_config.json", "parameters.default_route")


@pytest.mark.slow
def test_conversion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both forms of an embedding, for every task."""
    monkeypatch.setattr("tf_exporter.exports.run.Reference", InProcessReference)
    conversion = convert(heads.write_query_document_model(tmp_path / "model"), tmp_path / "out")
    assert conversion.verification["max_abs_difference"] <= ATOL
    signatures = tf.saved_model.load(str(tmp_path / "out")).signatures
    assert set(signatures) == {
        "serving_default", "encode_query", "encode_document",
        "encode_sparse", "encode_query_sparse", "encode_document_sparse",
        "tokenize", "tokenize_query",
    }  # fmt: skip
    dense = signatures["encode_query"](input_sequence=tf.constant(["hello world hello", ""]))[
        "sentence_embedding"
    ].numpy()
    lists = signatures["encode_query_sparse"](input_sequence=tf.constant(["hello world hello", ""]))
    indices, weights = lists["indices"].numpy(), lists["weights"].numpy()
    assert indices.shape == weights.shape == (2, np.count_nonzero(dense[0]))
    assert np.array_equal(dense[0][indices[0]], weights[0])
    assert (np.diff(weights[0]) <= 0).all()
    assert (indices[1] == UNUSED_INDEX).all() and not weights[1].any()
    empty = signatures["encode_sparse"](input_sequence=tf.constant([], tf.string))
    assert empty["indices"].shape == (0, 0)


def test_active_dimensions() -> None:
    values = tf.constant([[0.0, -3.0, 0.0, 2.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    indices, weights = active(values, None)
    assert indices.numpy().tolist() == [[1, 3], [2, -1], [-1, -1]]
    assert weights.numpy().tolist() == [[-3.0, 2.0], [1.0, 0.0], [0.0, 0.0]]
    assert active(values, 1)[0].numpy().tolist() == [[1], [2], [-1]]
    assert active(values, 9)[0].shape == (3, 4)


def test_refusals(tmp_path: Path) -> None:
    folder = heads.write_sparse_encoder(tmp_path / "model")
    rewrite(folder / "1_SpladePooling/config.json", pooling_strategy="mean")
    refused(folder, UnsupportedError, "1_SpladePooling/config.json", "pooling_strategy", "mean")
    folder = heads.write_sparse_encoder(tmp_path / "tied")
    rewrite(folder / "config.json", tie_word_embeddings=False)
    refused(folder, WeightsError, "cls.predictions.decoder.weight")
    folder = heads.write_query_document_model(tmp_path / "router")
    rewrite(folder / "query_0_SparseStaticEmbedding/config.json", path="idf.json")
    refused(
        folder, UnsupportedError, "query_0_SparseStaticEmbedding/config.json", "path", "idf.json"
    )
    rewrite(folder / "query_0_SparseStaticEmbedding/config.json", path=None)
    router = folder / "router_config.json"
    text = router.read_text()
    router.write_text(
        text.replace(
            "sentence_transformers.base.modules.transformer.Transformer", "evil.code.Transformer"
        )
    )
    refused(
        folder, UnsupportedError, "router_config.json", "types.document_0_Transformer", "evil.code"
    )
    for key in ("__import__(1)", "(('a', [1]), None)"):
        router.write_text(
            text.replace('"route_mappings": {}', f'"route_mappings": {{"{key}": "query"}}')
        )
        refused(folder, UnsupportedError, "route_mappings")
    router.write_text(text)
    rewrite(folder / "config_sentence_transformers.json", prompts={"sparse": "a"})
    refused(folder, UnsupportedError, "prompts", "encode_sparse")
    router.write_text(text.replace("document_0_Transformer", "../outside"))
