"""`java/`: the library for the JVM, with its own tests against the Python libraries' answers."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder, SparseEncoder
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from fixtures import heads, models
from tests.engines.conftest import MultiVector, Served
from tests.engines.test_java import maven, needs_maven
from tests.support.helpers import reference
from tf_exporter import convert
from tf_exporter.verification.reference_process import load
from tf_exporter.verification.sample_texts import decoded

LIBRARY = Path(__file__).parents[2] / "java"
QUERY = "how do birds sing"
LABELS = {0: "no", 1: "perhaps", 2: "yes"}
TESTS = {"TextEmbedderTest": 7, "OtherKindsTest": 4, "LoadingTest": 7, "langchain4j.ModelsTest": 3}


def _coded(texts: list[bytes]) -> list[str]:
    return [base64.b64encode(text).decode() for text in texts]


def _embedder(served: Served) -> dict[str, Any]:
    texts = [*served.texts, *(text.encode() for text in models.texts(5, 100))]
    strings = [decoded(text) for text in texts]
    model = reference(served.source)
    return {
        "folder": str(served.folder),
        "texts": _coded(texts),
        "rows": {
            "": model.encode(strings).tolist(),
            "query": model.encode_query(strings).tolist(),
            "document": model.encode_document(strings).tolist(),
        },
        "first_8": model.encode(strings, truncate_dim=8, normalize_embeddings=True).tolist(),
    }


def _reranker(place: Path, texts: list[bytes]) -> dict[str, Any]:
    source = heads.write_cross_encoder(place / "reranker")
    pairs = [(QUERY, decoded(text)) for text in texts]
    return {
        "folder": str(convert(source, place / "reranker_out").saved_model),
        "query": QUERY,
        "documents": _coded(texts),
        "scores": CrossEncoder(str(source), device="cpu").predict(pairs, batch_size=1).tolist(),
    }


def _sparse(place: Path, texts: list[bytes]) -> dict[str, Any]:
    source = heads.write_sparse_encoder(place / "sparse")
    model = SparseEncoder(str(source), device="cpu")
    rows = model.encode([decoded(text) for text in texts], convert_to_sparse_tensor=False)
    return {
        "folder": str(convert(source, place / "sparse_out").saved_model),
        "texts": _coded(texts),
        "rows": rows.tolist(),
    }


def _multi_vector(artifact: MultiVector, texts: list[bytes]) -> dict[str, Any]:
    model: Any = load(str(artifact.source), "MultiVectorEncoder")
    strings = [decoded(text) for text in texts]
    queries, documents = model.encode_query(strings), model.encode_document(strings)
    scores = model.similarity(model.encode_query([QUERY]), documents)[0]
    return {
        "folder": str(artifact.folder),
        "documents": _coded(texts),
        "query": [np.asarray(vectors).tolist() for vectors in queries],
        "document": [np.asarray(vectors).tolist() for vectors in documents],
        "query_text": QUERY,
        "scores": scores.tolist(),
    }


def _classifier(place: Path, texts: list[bytes]) -> dict[str, Any]:
    source = heads.write_plain_head(
        place / "classifier",
        "bert",
        AutoModelForSequenceClassification,
        num_labels=len(LABELS),
        id2label=LABELS,
    )
    tokenizer = AutoTokenizer.from_pretrained(source)
    model = AutoModelForSequenceClassification.from_pretrained(source).eval()
    rows = []
    for text in texts:
        inputs = tokenizer(decoded(text), return_tensors="pt", truncation=True, max_length=48)
        with torch.no_grad():
            rows.append(torch.softmax(model(**inputs).logits[0], 0).tolist())
    out = convert(source, place / "classifier_out", export_type="classifier").saved_model
    return {
        "folder": str(out),
        "texts": _coded(texts),
        "labels": list(LABELS.values()),
        "probabilities": rows,
    }


@pytest.fixture(scope="module")
def cases(
    served: Served, multi_vector: MultiVector, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What the library's tests read: models of each kind, texts, and the references' answers."""
    place = tmp_path_factory.mktemp("kinds")
    texts = served.texts[:120]
    return {
        "embedder": _embedder(served),
        "reranker": _reranker(place, texts),
        "sparse": _sparse(place, texts),
        "multi_vector": _multi_vector(multi_vector, texts),
        "classifier": _classifier(place, [text for text in texts if text.strip()]),
    }


def _tested(cases: dict[str, Any], place: Path, tests: str = "*") -> tuple[int, str]:
    file = place / "cases.json"
    file.write_text(json.dumps(cases))
    options = (f"-Dcases={file}", f"-Dtest={tests}", "-Dsurefire.failIfNoSpecifiedTests=false")
    result = maven(place / "target", "test", *options, project=LIBRARY)
    return result.returncode, result.stdout + result.stderr


@pytest.mark.engines
def test_the_libraries_own_tests(cases: dict[str, Any], tmp_path: Path) -> None:
    needs_maven()
    code, output = _tested(cases, tmp_path)
    assert code == 0, output
    for name, count in TESTS.items():
        [path] = (tmp_path / "target").glob(
            f"*/surefire-reports/TEST-io.github.tfexporter.{name}.xml"
        )
        report = path.read_text()
        assert f'tests="{count}"' in report and 'skipped="0"' in report


@pytest.mark.engines
def test_joined_calls(cases: dict[str, Any], joined: Served, tmp_path: Path) -> None:
    """With `--request-batching`, threads share batches, and each gets its own rows."""
    needs_maven()
    own = {**cases, "embedder": {**cases["embedder"], "folder": str(joined.folder)}}
    code, output = _tested(own, tmp_path, "TextEmbedderTest")
    assert code == 0, output


@pytest.mark.engines
def test_wrong_answers_are_noticed(cases: dict[str, Any], tmp_path: Path) -> None:
    """One value of each kind is off by 2e-5."""
    needs_maven()
    wrong = json.loads(json.dumps(cases))
    wrong["embedder"]["rows"]["query"][7][3] += 2e-5
    wrong["embedder"]["first_8"][7][3] += 2e-5
    wrong["reranker"]["scores"][7] += 2e-5
    wrong["sparse"]["rows"][7][3] += 2e-5
    wrong["multi_vector"]["document"][7][0][3] += 2e-5
    wrong["classifier"]["probabilities"][7][1] += 2e-5
    code, output = _tested(wrong, tmp_path)
    assert code != 0
    failed = set(re.findall(r"(?:TextEmbedder|OtherKinds)Test\.(?!java:)(\w+):", output))
    assert failed == {
        "embeddingsAreThoseOfTheReference",
        "fewerDimensionsAreThoseOfTheReference",
        "stringsAreSentAsUtf8",
        "threadsShareOneModel",
        "rerankerScoresPairs",
        "sparseEmbeddingsHaveTheReferencesValues",
        "multiVectorsAndTheirScores",
        "classesAndTheirProbabilities",
    }
