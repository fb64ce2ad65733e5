"""bge-m3's heads: sparse weights and vectors of tokens beside the embedding, in one pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch

from fixtures import models
from fixtures.hybrid import add_heads, flag_embedding, write_hybrid
from fixtures.models import Normalize, Pooling
from fixtures.popular_writers import embedding
from fixtures.public_folders import public_folders, write_public_folder
from tests.support.helpers import InProcessReference, build
from tests.support.refusals import refused
from tf_exporter import InputError, UnsupportedError, UsageError, VerificationError, convert
from tf_exporter.errors import ConversionError, WeightsError
from tf_exporter.graph import hybrid_pipeline, text_model
from tf_exporter.graph.exported import Exported
from tf_exporter.modules.hybrid import HybridHeads
from tf_exporter.names import HYBRID

TOLERANCE = 1e-5
TEXTS = [*models.texts(5, 40), "", "hello hello hello", "<unk> </s> [UNK]", "the " * 60]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hybrid(tmp_path_factory.mktemp("hybrid") / "model")


def weights_of(outputs: dict[str, Any], row: int) -> dict[int, float]:
    pairs = zip(outputs["indices"].numpy()[row], outputs["weights"].numpy()[row])
    return {int(id): float(weight) for id, weight in pairs if id >= 0}


@pytest.mark.parametrize(
    ("model_type", "width"),
    [
        ("bert", 12),
        pytest.param("xlm-roberta", None, marks=pytest.mark.slow),
        pytest.param("modernbert", None, marks=pytest.mark.slow),
    ],
)
def test_as_flag_embedding(tmp_path: Path, model_type: str, width: int | None) -> None:
    place = write_hybrid(tmp_path / "model", model_type, width)
    functions = Exported(build(place)).signature_functions()
    expected = flag_embedding(place, TEXTS)
    together = functions["encode_all"](tf.constant(TEXTS))
    sparse = functions["encode_sparse"](tf.constant(TEXTS))
    several = functions["encode_multi_vector"](tf.constant(TEXTS))
    plain = functions["serving_default"](tf.constant(TEXTS))["sentence_embedding"]
    assert np.abs(together["sentence_embedding"] - plain).max() <= TOLERANCE
    assert any(len(own.weights) < len(own.vectors) - 1 for own in expected)
    for row, own in enumerate(expected):
        assert np.abs(plain[row].numpy() - own.embedding).max() <= TOLERANCE
        for outputs in (together, sparse):
            ours = weights_of(outputs, row)
            assert ours.keys() == own.weights.keys()
            assert all(abs(ours[id] - own.weights[id]) <= TOLERANCE for id in ours)
        for outputs in (together, several):
            count = int(tf.reduce_sum(outputs["mask"][row]))
            assert count == len(own.vectors)
            assert outputs["mask"][row, :count].numpy().all()
            vectors = outputs["token_embeddings"][row, :count].numpy()
            assert np.abs(vectors - own.vectors).max(initial=0) <= TOLERANCE
            assert not outputs["token_embeddings"][row, count:].numpy().any()


def test_unigram(tmp_path: Path) -> None:
    """bge-m3's tokenizer, whose special tokens have other names and ids."""
    write = embedding("xlm-roberta", lambda: Pooling(32, "cls"), Normalize, tokenizer="xlm-roberta")
    place = add_heads(write(tmp_path / "model"))
    sparse = Exported(build(place)).signature_functions()["encode_sparse"](tf.constant(TEXTS))
    for row, own in enumerate(flag_embedding(place, TEXTS)):
        ours = weights_of(sparse, row)
        assert ours.keys() == own.weights.keys()
        assert all(abs(ours[id] - own.weights[id]) <= TOLERANCE for id in ours)


def test_many_texts_and_none(folder: Path) -> None:
    """Micro-batches give what single texts do; an empty batch has no rows."""
    functions = Exported(build(folder, micro_batch_tokens=64)).signature_functions()
    together = functions["encode_all"](tf.constant(TEXTS))
    for row in (0, 7, len(TEXTS) - 1):
        alone = functions["encode_all"](tf.constant(TEXTS[row : row + 1]))
        for name, own in alone.items():
            ours = together[name].numpy()[row][: own.shape[1]]
            assert np.allclose(ours, own.numpy()[0], atol=TOLERANCE)
    nothing = functions["encode_all"](tf.constant([], tf.string))
    assert all(output.shape[0] == 0 for output in nothing.values())


@pytest.mark.slow
def test_conversion(folder: Path, tmp_path: Path) -> None:
    conversion = convert(folder, tmp_path / "out")
    assert set(HYBRID) <= set(conversion.manifest["signatures"])
    loaded = tf.saved_model.load(str(tmp_path / "out")).signatures
    assert set(HYBRID) <= set(loaded)
    only = convert(folder, tmp_path / "one", signatures="encode_sparse")
    assert set(only.manifest["signatures"]) == {"serving_default", "tokenize", "encode_sparse"}
    none = convert(folder, tmp_path / "none", signatures="serving_default")
    assert set(none.manifest["signatures"]) == {"serving_default", "tokenize"}


@pytest.mark.slow
@pytest.mark.skipif(not public_folders(), reason="the shared test data is absent")
def test_published_configs(tmp_path: Path) -> None:
    """A public model trained from bge-m3, at its own width and lengths."""
    folder = add_heads(write_public_folder(tmp_path / "model", "xlm-roberta-09"))
    conversion = convert(folder, tmp_path / "out")
    assert set(HYBRID) <= set(conversion.manifest["signatures"])
    assert conversion.verification["max_abs_difference"] <= TOLERANCE


@pytest.mark.slow
def test_other_options(folder: Path, tmp_path: Path) -> None:
    reduced = convert(folder, tmp_path / "bfloat16", precision="bfloat16")
    assert set(HYBRID) <= set(reduced.manifest["signatures"])
    fixed = convert(folder, tmp_path / "fixed", batch_size=4, sequence_length=16)
    assert not set(HYBRID) & set(fixed.manifest["signatures"])
    assert any("left out" in line for line in fixed.summary)
    short = convert(folder, tmp_path / "short", truncate_dim=8)
    assert set(HYBRID) <= set(short.manifest["signatures"])


def test_fixed_shapes(folder: Path) -> None:
    for options in ({"batch_size": 4}, {"sequence_length": 16}):
        [name] = options
        flag = "--" + name.replace("_", "-")
        refused(folder, UsageError, flag, signatures="encode_all", **options)


def test_padding_on_the_left(tmp_path: Path) -> None:
    """The heads are left out, and the model converts as before."""
    place = write_hybrid(tmp_path / "model", "modernbert")
    models.rewrite(place / "tokenizer_config.json", padding_side="left")
    assert not set(HYBRID) & set(Exported(build(place)).signature_functions())


def test_a_file_alone_is_not_read(tmp_path: Path) -> None:
    place = write_hybrid(tmp_path / "model")
    (place / "sparse_linear.pt").unlink()
    assert not set(HYBRID) & set(Exported(build(place)).signature_functions())
    refused(place, UsageError, "encode_sparse", signatures="encode_sparse")


def wrong_vectors(place: Path) -> None:
    torch.save({"weight": torch.zeros(8, 31), "bias": torch.zeros(8)}, place / "colbert_linear.pt")


def two_rows(place: Path) -> None:
    torch.save({"weight": torch.zeros(2, 32), "bias": torch.zeros(2)}, place / "sparse_linear.pt")


def no_bias(place: Path) -> None:
    torch.save({"weight": torch.zeros(1, 32)}, place / "sparse_linear.pt")


def more(place: Path) -> None:
    tensors = torch.load(place / "sparse_linear.pt", weights_only=True)
    torch.save({**tensors, "scale": torch.ones(1)}, place / "sparse_linear.pt")


def code(place: Path) -> None:
    torch.save({"weight": print}, place / "sparse_linear.pt")


@pytest.mark.parametrize(
    ("change", "kind", "word"),
    [
        (wrong_vectors, WeightsError, "colbert_linear.pt"),
        (two_rows, WeightsError, "sparse_linear.pt"),
        (no_bias, WeightsError, "bias"),
        (more, WeightsError, "scale"),
        (code, InputError, "sparse_linear.pt"),
    ],
)
def test_bad_heads(
    tmp_path: Path, change: Callable[[Path], None], kind: type[ConversionError], word: str
) -> None:
    place = write_hybrid(tmp_path / "model")
    change(place)
    refused(place, kind, word)


def test_a_prompt_of_the_same_name(tmp_path: Path) -> None:
    place = write_hybrid(tmp_path / "model", prompts={"all": "hello "})
    refused(place, UnsupportedError, "prompts", "encode_all")


REAL_LARGEST: Any = hybrid_pipeline.largest_by_id
REAL_CALL: Any = HybridHeads.__call__
MISTAKES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "special tokens have weights": lambda patch: patch.setattr(
        text_model, "largest_by_id", lambda hybrid, ids: REAL_LARGEST(hybrid, [99])
    ),
    "the unknown token has a weight": lambda patch: patch.setattr(
        text_model, "largest_by_id", lambda hybrid, ids: REAL_LARGEST(hybrid, ids[:-1])
    ),
    "the smallest weight of an id": lambda patch: patch.setattr(
        text_model, "largest_by_id", lambda hybrid, ids: smallest(hybrid, ids)
    ),
    "weights without relu": lambda patch: patch.setattr(HybridHeads, "__call__", negative),
    "vectors not normalized": lambda patch: patch.setattr(
        "tf_exporter.modules.hybrid._SMALLEST_NORM", 1e6
    ),
    "vectors of the tokens before": lambda patch: patch.setattr(HybridHeads, "__call__", moved),
}


def smallest(hybrid: Any, ids: Any) -> Any:
    same = hybrid.ids[:, :, tf.newaxis] == hybrid.ids[:, tf.newaxis, :]
    every = tf.where(same, hybrid.weights[:, tf.newaxis, :], float("inf"))
    least = tf.reduce_min(every, -1)
    return REAL_LARGEST(hybrid._replace(weights=least), ids)


def negative(self: Any, features: Any) -> Any:
    result = REAL_CALL(self, features)
    return {**result, "token_weights": result["token_weights"] + 0.01}


def moved(self: Any, features: Any) -> Any:
    result = REAL_CALL(self, features)
    return {**result, "token_vectors": tf.roll(result["token_vectors"], 1, 1)}


@pytest.mark.slow
@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_caught(
    folder: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tf_exporter.exports.run.Reference", InProcessReference)
    MISTAKES[name](monkeypatch)
    with pytest.raises(VerificationError):
        convert(folder, tmp_path / "out")
