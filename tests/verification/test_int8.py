"""Models in int8: the distance from float32, the layers that stay, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import inf
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from fixtures import heads, jina_tasks, jina_v5, models, multi_vector
from fixtures.models import Normalize, Pooling
from tests.support.helpers import build, embed, reference
from tests.support.int8 import in_int8, needs_kernel
from tf_exporter import UsageError, VerificationError, convert
from tf_exporter.architectures.registry import VERIFIED
from tf_exporter.layers.basic import Linear, MatrixLayer
from tf_exporter.layers.int8 import Product, exact_here
from tf_exporter.names import INT8_PRECISION, INT8_PRECISIONS, INT8_STORAGE
from tf_exporter.verification import int8, tolerances
from tf_exporter.verification.int8 import _Trial, convert_to_int8
from tf_exporter.verification.outputs import compare
from tf_exporter.verification.sample_texts import SENTENCES
from tf_exporter.verification.tolerances import Tolerance, of_embeddings

TEXTS = models.texts(0, 64)
WITH_SEVERAL_SIGNATURES = [
    heads.write_query_document_model,
    jina_tasks.write_jina_tasks,
    jina_v5.write_jina_v5,
    multi_vector.write_multi_vector,
]


def _folder(tmp_path: Path, model_type: str = "bert") -> Path:
    return models.write_model(tmp_path / "model", model_type, [Pooling(32, "mean"), Normalize()])


@pytest.mark.parametrize("precision", INT8_PRECISIONS)
@pytest.mark.parametrize(
    "model_type",
    ["bert", *(pytest.param(name, marks=pytest.mark.slow) for name in VERIFIED if name != "bert")],
)
def test_near_the_reference(model_type: str, precision: str, tmp_path: Path) -> None:
    folder = _folder(tmp_path, model_type)
    tolerance = of_embeddings(precision, 1e-5)
    # This tiny model is within the limit only for texts that the choice of layers has seen.
    seen = TEXTS if model_type == "embedding_gemma2_text" else None
    model, _ = in_int8(folder, precision, tolerance, seen)
    result = embed(model, TEXTS)
    expected = reference(folder).encode(TEXTS, batch_size=1)
    compare("serving_default", result, expected, tolerance, TEXTS)
    # A smaller difference would mean that nothing was rounded.
    assert np.abs(result - expected).max() > 1e-5


def test_what_is_in_int8(tmp_path: Path) -> None:
    """All matrices are; vectors, and tables that are small, stay in float32."""
    model, choice = in_int8(_folder(tmp_path), INT8_STORAGE, Tolerance(inf, 0.5))
    assert choice.float32_layers == ()
    for layer in model.submodules:
        if isinstance(layer, Linear):
            assert layer.int8 is not None
    sizes = {tf.int8: 0, tf.float32: 0}
    for variable in model.variables:
        sizes[variable.dtype] += int(np.prod(variable.shape))
    assert sizes[tf.int8] > 10 * sizes[tf.float32]


def test_shared_tables_stay_shared(tmp_path: Path) -> None:
    """The decoder of a masked language model is its embedding table."""
    folder = heads.write_sparse_encoder(tmp_path / "model")
    model, _ = in_int8(folder, INT8_STORAGE, Tolerance(inf, 0.5))
    first = model.first
    head = next(part for part in first.submodules if type(part).__name__ == "MaskedLMHead")
    assert isinstance(head, MatrixLayer)
    assert head.table is not None
    assert head.table is first.encoder.word_embeddings.table


@pytest.mark.parametrize("precision", INT8_PRECISIONS)
def test_layers_with_large_errors_stay(precision: str, tmp_path: Path) -> None:
    """As many stay in float32 as the tolerance needs."""
    folder = _folder(tmp_path)
    texts = list(SENTENCES)
    expected = embed(build(folder), texts)
    kept, errors = [], []
    for cosine in (0.9, 1 - 4e-5, 1 - 1e-7):
        model, choice = in_int8(folder, precision, Tolerance(inf, cosine), texts)
        kept.append(choice.float32_layers)
        cosines = (embed(model, texts) * expected).sum(1)
        errors.append(1 - float(cosines.min()))
    assert kept[0] == ()
    assert len(kept[2]) > len(kept[1]) > 0
    assert errors[2] < errors[0]


def test_the_layer_that_matters_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large error may change nothing: softmax takes what all keys have in common out."""
    width = 32
    factors = {"encoder.layer.0.output.dense": 1.5}

    def wrong(trial: _Trial, *_: object, **__: object) -> Product:
        weight, bias = trial._layer.weight, trial._layer.bias
        added = np.zeros(weight.shape[1], np.float32)
        if ".key" in trial.name:
            added[width : 2 * width] = 100
        factor = factors.get(trial.name, 1)
        return lambda x: factor * (tf.matmul(x, weight) + bias) + added

    monkeypatch.setattr(_Trial, "_made", wrong)
    _, choice = in_int8(_folder(tmp_path), INT8_STORAGE, Tolerance(inf, 0.9999), list(SENTENCES))
    assert choice.float32_layers == tuple(factors)
    assert ".key" in choice.worst


@pytest.mark.slow
def test_real_weights_in_int8(minilm: Path) -> None:
    """All layers of all-MiniLM-L6-v2 are in int8, near the embeddings in float32."""
    texts = [*SENTENCES, *TEXTS]
    model, choice = in_int8(minilm, INT8_PRECISION, of_embeddings(INT8_PRECISION, 1e-5))
    assert choice.float32_layers == ()
    cosines = (embed(model, texts) * embed(build(minilm), texts)).sum(1)
    assert cosines.min() > 0.99
    assert cosines.mean() > 0.998


def test_texts_of_the_user(tmp_path: Path) -> None:
    """`--calibration` decides how columns are scaled."""
    folder = _folder(tmp_path)
    results = [
        embed(in_int8(folder, INT8_PRECISION, Tolerance(inf, 0.5), texts)[0], TEXTS)
        for texts in (["a"], ["a"], list(SENTENCES))
    ]
    assert np.array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


@pytest.mark.parametrize("texts", [None, ["a", "b"]])
def test_fixed_number_of_texts(texts: list[str] | None, tmp_path: Path) -> None:
    """The texts for the choice are computed in batches of that size, too."""
    model = build(_folder(tmp_path), batch_size=24)
    choice = convert_to_int8(model, INT8_STORAGE, texts, Tolerance(inf, 0.5))
    assert choice is not None
    assert choice.float32_layers == ()


def test_texts_that_are_an_error(tmp_path: Path) -> None:
    """A token without an embedding is in the texts of the verification; the choice goes on."""
    folder = _folder(tmp_path)
    tokenizer = folder / "tokenizer.json"
    content = json.loads(tokenizer.read_text())
    token = {**content["added_tokens"][0], "id": 10**6, "content": "[NEW]", "special": False}
    content["added_tokens"].append(token)
    tokenizer.write_text(json.dumps(content))
    model = build(folder)
    assert model.pipelines[""].checks
    choice = convert_to_int8(model, INT8_STORAGE, ["a [NEW]", "b"], Tolerance(inf, 0.5))
    assert choice is not None


def test_without_a_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused before anything is built, and the message names what runs anywhere."""
    monkeypatch.setattr(int8, "has_kernel", lambda: False)
    with pytest.raises(UsageError, match=r"VNNI.*int8-storage runs anywhere") as caught:
        convert(_folder(tmp_path), tmp_path / "out", precision=INT8_PRECISION)
    assert caught.value.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_graph_without_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where products are not exact, a graph gives an error that says why, never a result."""
    monkeypatch.setattr("tf_exporter.layers.int8._EXPECTED", -1)
    with pytest.raises(tf.errors.OpError, match="VNNI"):
        tf.function(exact_here)(tf.constant(1))


@pytest.mark.slow
def test_verification_names_the_worst_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(tolerances._EMBEDDINGS, INT8_STORAGE, Tolerance(inf, 1 - 1e-9))
    with pytest.raises(VerificationError, match=r"largest error is .*\(\d\.\d%\)") as caught:
        convert(_folder(tmp_path), tmp_path / "out", precision=INT8_STORAGE)
    assert caught.value.exit_code == 4
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "precision", [pytest.param(INT8_PRECISION, marks=needs_kernel), INT8_STORAGE]
)
def test_converted(precision: str, minilm: Path, tmp_path: Path) -> None:
    """Real weights: verified, at most 0.3 of the size in float32, and the manifest tells."""
    sizes = []
    for own in ("float32", precision):
        out = tmp_path / own
        conversion = convert(minilm, out, precision=own)
        sizes.append(sum(file.stat().st_size for file in out.rglob("*") if file.is_file()))
    assert sizes[1] <= 0.3 * sizes[0]
    written = json.loads((out / "assets.extra" / "tf_exporter.json").read_text())
    assert written["float32_layers"] == []
    assert written.get("requires") == (int8.REQUIRED if precision == INT8_PRECISION else None)
    assert conversion.verification["min_cosine"] >= of_embeddings(precision, 0).cosine


@pytest.mark.slow
@pytest.mark.parametrize(
    "precision", [pytest.param(INT8_PRECISION, marks=needs_kernel), INT8_STORAGE]
)
@pytest.mark.parametrize("write", WITH_SEVERAL_SIGNATURES, ids=lambda write: write.__name__)
def test_several_signatures(write: Callable[[Path], Path], precision: str, tmp_path: Path) -> None:
    """Routes with modules of their own, weights for each task, and heads: all are verified."""
    conversion = convert(write(tmp_path / "model"), tmp_path / "out", precision=precision)
    graph = tf.saved_model.load(tmp_path / "out")
    assert len(graph.signatures) > 1
    saved = tf.train.load_checkpoint(str(tmp_path / "out" / "variables" / "variables"))
    assert tf.int8 in saved.get_variable_to_dtype_map().values()
    assert conversion.verification["embedding_texts"] > 0
    assert conversion.verification["max_abs_difference"] > 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    "precision", [pytest.param(INT8_PRECISION, marks=needs_kernel), INT8_STORAGE]
)
def test_scores(precision: str, tmp_path: Path) -> None:
    folder = heads.write_saved_cross_encoder(tmp_path / "model")
    conversion = convert(folder, tmp_path / "out", precision=precision)
    limit = tolerances.of_scores(precision, 1e-5).difference
    assert 0 < conversion.verification["max_abs_difference"] <= limit
