"""Signatures that only `--signatures` exports, and those that it leaves out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from sentence_transformers.util import quantize_embeddings

from fixtures import heads, models
from fixtures.models import Normalize, Pooling
from fixtures.multi_vector import write_multi_vector
from tests.support.helpers import InProcessReference, build, reference
from tests.support.refusals import refused
from tf_exporter import InputError, UsageError, VerificationError, convert
from tf_exporter.graph import extras
from tf_exporter.graph.exported import Exported
from tf_exporter.graph.text_model import TextModel
from tf_exporter.names import EXTRAS

TOLERANCE = 1e-5
TEXTS = [*models.texts(3, 9), ""]
ALL = ",".join(EXTRAS)
CALIBRATION = models.texts(11, 40)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("extras") / "model"
    modules = [Pooling(32, "mean"), Normalize()]
    prompts = {"query": "hello "}
    return models.write_model(place, "bert", modules, prompts=prompts)


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of texts."""
    file = tmp_path_factory.mktemp("calibration") / "texts.txt"
    file.write_text("\n".join(text.replace("\n", " ") for text in CALIBRATION), "utf-8")
    return str(file)


@pytest.fixture(scope="module")
def functions(folder: Path) -> dict[str, Any]:
    return Exported(build(folder)).signature_functions(EXTRAS, CALIBRATION)


def test_tokens(folder: Path, functions: dict[str, Any]) -> None:
    outputs = functions["encode_tokens"](tf.constant(TEXTS))
    expected = reference(folder).encode(TEXTS, output_value="token_embeddings")
    counts = outputs["mask"].numpy().sum(1)
    assert counts.tolist() == [len(row) for row in expected]
    for row, count in enumerate(counts):
        result = outputs["token_embeddings"][row, :count].numpy()
        assert np.abs(result - expected[row].numpy()).max() <= TOLERANCE


def test_ids(folder: Path, functions: dict[str, Any]) -> None:
    tokens = functions["tokenize"](tf.constant(TEXTS))
    result = functions["encode_ids"](tokens["input_ids"], tokens["attention_mask"])
    expected = reference(folder).encode(TEXTS)
    assert np.abs(result["sentence_embedding"].numpy() - expected).max() <= TOLERANCE


@pytest.mark.parametrize("dimensions", [1, 7, 32])
def test_truncated(folder: Path, functions: dict[str, Any], dimensions: int) -> None:
    result = functions["encode_truncated"](tf.constant(TEXTS), tf.constant(dimensions))
    own = reference(folder)
    expected = own.encode(TEXTS, truncate_dim=dimensions, normalize_embeddings=True)
    assert np.abs(result["sentence_embedding"].numpy() - expected).max() <= TOLERANCE


@pytest.mark.parametrize("dimensions", [0, -1, 33])
def test_dimensions_out_of_range(functions: dict[str, Any], dimensions: int) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="dimensions must be from 1 to 32"):
        functions["encode_truncated"](tf.constant(TEXTS), tf.constant(dimensions))


def test_binary(folder: Path, functions: dict[str, Any]) -> None:
    result = functions["encode_binary"](tf.constant(TEXTS))["binary_embedding"].numpy()
    expected = quantize_embeddings(reference(folder).encode(TEXTS), precision="ubinary")
    assert result.dtype == np.uint8
    assert np.array_equal(result, expected)


def test_int8(folder: Path, functions: dict[str, Any]) -> None:
    result = functions["encode_int8"](tf.constant(TEXTS))["int8_embedding"].numpy()
    own = reference(folder)
    ranges = own.encode(CALIBRATION)
    embeddings = own.encode(TEXTS)
    expected = quantize_embeddings(embeddings, "int8", calibration_embeddings=ranges)
    assert result.dtype == np.int8
    # A value next to the limit of two parts may be in either.
    steps = (ranges.max(0) - ranges.min(0)) / 255
    place = (embeddings - ranges.min(0)) / steps
    sure = np.abs(place - np.round(place)) > TOLERANCE / steps
    assert sure.mean() > 0.9
    assert np.array_equal(result[sure], expected[sure])
    assert (result == -128).any() or (result == 127).any()


def test_the_arithmetic_of_int8() -> None:
    """The same float32 operations as in the reference: not one value is in another part."""
    random = np.random.default_rng(1)
    values = random.normal(size=(4000, 24)).astype(np.float32)
    calibration = random.normal(size=(150, 24)).astype(np.float32)
    calibration[:, 0] = 0.5
    ranges = np.stack([calibration.min(0), calibration.max(0)])
    function = tf.function(lambda x: extras.in_ranges(x, ranges), autograph=False)
    expected = quantize_embeddings(values, "int8", calibration_embeddings=calibration)
    assert np.array_equal(function(tf.constant(values)).numpy(), expected)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["0 texts"]),
        (b"one text\n\n", ["1 texts"]),
        (b"\xff\xfe", ["not UTF-8"]),
        (b"a\0\nb\n", ["NUL"]),
    ],
)
def test_bad_calibration(folder: Path, tmp_path: Path, content: bytes, words: list[str]) -> None:
    file = tmp_path / "texts.txt"
    file.write_bytes(content)
    refused(folder, InputError, *words, signatures="encode_int8", calibration=str(file))


def test_calibration_goes_with_its_signature(folder: Path, tmp_path: Path) -> None:
    refused(folder, UsageError, "--calibration", signatures="encode_int8")
    refused(folder, UsageError, "encode_int8", calibration=str(tmp_path / "texts.txt"))
    missing = str(tmp_path / "texts.txt")
    refused(folder, InputError, "cannot be read", signatures="encode_int8", calibration=missing)


@pytest.mark.parametrize("dim", [1, 8, 13, 24])
def test_packed_bits(dim: int) -> None:
    values = np.random.default_rng(dim).normal(size=(5, dim)).astype(np.float32)
    values[0] = 0.0
    packed = extras.packed_bits(tf.constant(values)).numpy()
    assert np.array_equal(packed, np.packbits(values > 0, axis=-1))


@pytest.mark.slow
def test_conversion(folder: Path, calibration: str, tmp_path: Path) -> None:
    """All of them are verified; the default has none of them."""
    conversion = convert(
        folder, tmp_path / "out", signatures=f"encode_query, {ALL}", calibration=calibration
    )
    names = {"serving_default", "tokenize", "encode_query", *EXTRAS}
    assert set(conversion.manifest["signatures"]) == names
    graph = tf.saved_model.load(str(tmp_path / "out"))
    assert set(graph.signatures) == names
    plain = convert(folder, tmp_path / "plain")
    own = {"serving_default", "tokenize", "encode_query", "encode_document"}
    assert set(plain.manifest["signatures"]) == own


REAL_BITS: Any = extras.packed_bits
REAL_RANGES: Any = extras.ranges_of
REAL_PARTS: Any = extras.in_ranges
REAL_IDS: Any = TextModel.encode_ids
REAL_TOKENS: Any = TextModel.tokens
MISTAKES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "bits in another order": lambda patch: patch.setattr(
        extras, "packed_bits", lambda x: tf.reverse(REAL_BITS(x), [1])
    ),
    "not normalized again": lambda patch: patch.setattr(extras, "_SMALLEST_NORM", 1.0),
    "ranges of the wrong axis": lambda patch: patch.setattr(
        extras, "ranges_of", lambda encode, texts: REAL_RANGES(encode, texts)[::-1]
    ),
    "ranges of the first texts": lambda patch: patch.setattr(
        extras, "ranges_of", lambda encode, texts: REAL_RANGES(encode, texts[:8])
    ),
    "rounded to the nearest part": lambda patch: patch.setattr(
        extras, "in_ranges", lambda x, ranges: REAL_PARTS(x + (ranges[1] - ranges[0]) / 510, ranges)
    ),
    "ids with another mask": lambda patch: patch.setattr(
        TextModel, "encode_ids", lambda self, ids, mask: REAL_IDS(self, ids, tf.ones_like(mask))
    ),
    "vectors of other tokens": lambda patch: patch.setattr(
        TextModel, "tokens", lambda self, texts: other_tokens(*REAL_TOKENS(self, texts))
    ),
}


def other_tokens(vectors: Any, mask: Any, ids: Any) -> Any:
    return tf.roll(vectors, 1, 1), mask, ids


@pytest.mark.slow
@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_caught(
    folder: Path, calibration: str, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tf_exporter.exports.run.Reference", InProcessReference)
    MISTAKES[name](monkeypatch)
    with pytest.raises(VerificationError):
        convert(folder, tmp_path / "out", signatures=ALL, calibration=calibration)


def test_unknown_name(folder: Path) -> None:
    refused(folder, UsageError, "encode_other", "encode_query", signatures="encode_other")


@pytest.mark.slow
def test_what_a_model_lacks(tmp_path: Path) -> None:
    folder = models.write_model(tmp_path / "mean", "bert", [Pooling(32, "mean")])
    refused(folder, UsageError, "encode_truncated", "Normalize", signatures="encode_truncated")
    folder = heads.write_static_model(tmp_path / "static", tmp_path / "mean", [])
    refused(folder, UsageError, "encode_tokens", "Transformer", signatures="encode_tokens")
    folder = heads.write_cross_encoder(tmp_path / "cross")
    refused(folder, UsageError, "SentenceTransformer", signatures="encode_ids")


def test_triton_takes_texts_alone(folder: Path) -> None:
    for name in ("encode_ids", "encode_truncated"):
        refused(folder, UsageError, name, "triton", signatures=name, serving="triton")


@pytest.mark.slow
def test_no_warm_up_with_other_inputs(folder: Path, tmp_path: Path) -> None:
    from tensorflow_serving.apis import prediction_log_pb2

    names = ",".join(name for name in EXTRAS if name != "encode_int8")
    out = convert(folder, tmp_path / "out", signatures=names, serving="tf-serving", verify="off")
    path = str(out.saved_model / "assets.extra/tf_serving_warmup_requests")
    warm = set()
    for record in tf.data.TFRecordDataset(path):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        warm.add(log.predict_log.request.model_spec.signature_name)
    own = {"serving_default", "tokenize", "encode_tokens", "encode_binary", "tokenize_with_offsets"}
    assert warm == own


@pytest.mark.slow
def test_a_score_comes_with_its_vectors(tmp_path: Path) -> None:
    folder = write_multi_vector(tmp_path / "model")
    functions = Exported(build(folder)).signature_functions(("score",))
    own = {"serving_default", "tokenize", "score", "encode_query", "encode_document"}
    assert set(functions) == own
    functions = Exported(build(folder)).signature_functions(())
    assert set(functions) == {"serving_default", "tokenize"}
