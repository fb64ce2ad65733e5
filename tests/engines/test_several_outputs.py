"""Multi-vector models, bge-m3's heads and small vectors in Triton and TensorFlow's C++ loader."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from fixtures import models
from fixtures.hybrid import write_hybrid
from tests.engines.conftest import MultiVector
from tests.engines.test_c import program, run, tensors  # noqa: F401  # a fixture
from tests.engines.tritonserver import Server, tritonserver
from tests.support.helpers import hostile_texts
from tf_exporter import convert
from tf_exporter.artifact.serving.tf_serving import WARMUP

pytestmark = pytest.mark.engines
ATOL = 1e-5
SMALL = "encode_all,encode_sparse,encode_multi_vector,encode_binary,encode_int8,encode_tokens"


class Both:
    """A server of two models, and their graphs in this process."""

    def __init__(self, server: Server, several: Any, small: Any):
        self.server, self.several, self.small = server, several, small


@pytest.fixture(scope="module")
def both(multi_vector: MultiVector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    place = tmp_path_factory.mktemp("several")
    (place / "texts.txt").write_text("\n".join(models.texts(5, 40)), "utf-8")
    hybrid = write_hybrid(place / "hybrid")
    options: dict[str, Any] = {"serving": "triton", "verify": "off"}
    several = convert(multi_vector.source, place / "models", **options)
    small = convert(
        hybrid,
        place / "models",
        signatures=SMALL,
        calibration=str(place / "texts.txt"),
        **options,
    )
    graphs = [tf.saved_model.load(str(own.saved_model)).signatures for own in (several, small)]
    with tritonserver(place / "models", place / "server") as running:
        yield Both(running, *graphs)


def ask(server: Server, model: str, signature: str, inputs: dict[str, list[bytes]]) -> Any:
    """Triton's answer, over gRPC."""
    client = pytest.importorskip("tritonclient.grpc")
    arguments = []
    for name, texts in inputs.items():
        arguments.append(client.InferInput(name, [len(texts), 1], "BYTES"))
        arguments[-1].set_data_from_numpy(np.array(texts, np.object_)[:, None])
    with client.InferenceServerClient(server.grpc) as running:
        return running.infer(model, arguments, parameters={"signature": signature})


def check(answer: Any, expected: dict[str, tf.Tensor]) -> None:
    for name, own in expected.items():
        theirs = answer.as_numpy(name)
        ours = own.numpy() if len(own.shape) > 1 else own.numpy()[:, None]
        assert theirs.dtype == ours.dtype and theirs.shape == ours.shape, name
        exact = ours.dtype != np.float32
        assert np.array_equal(theirs, ours) if exact else np.abs(theirs - ours).max() <= ATOL, name


@pytest.mark.parametrize("signature", ["serving_default", "encode_query", "encode_document"])
def test_vectors_of_tokens(both: Both, signature: str) -> None:
    texts = hostile_texts()[:50]
    answer = ask(both.server, "source", signature, {"input_sequence": texts})
    check(answer, both.several[signature](input_sequence=tf.constant(texts)))


def test_scores_of_pairs(both: Both) -> None:
    queries, documents = hostile_texts()[:30], hostile_texts()[30:60]
    answer = ask(both.server, "source", "score", {"query": queries, "document": documents})
    inputs = {"query": tf.constant(queries), "document": tf.constant(documents)}
    check(answer, both.several["score"](**inputs))


@pytest.mark.parametrize("signature", SMALL.split(","))
def test_small_and_sparse(both: Both, signature: str) -> None:
    texts = hostile_texts()[:40]
    answer = ask(both.server, "hybrid", signature, {"input_sequence": texts})
    check(answer, both.small[signature](input_sequence=tf.constant(texts)))


def test_ids_in_c(program: Path, multi_vector: MultiVector) -> None:  # noqa: F811
    """The ids of the vectors that count, text by text."""
    texts = [text for text in hostile_texts() if b"\n" not in text][:80]
    folder = multi_vector.folder
    encode = tf.saved_model.load(str(folder)).signatures["encode_document"]
    rows = run(program, folder, tensors(folder, "encode_document", "input_ids"), texts, 1)
    for text, row in zip(texts, rows, strict=True):
        assert np.array_equal(row, encode(tf.constant([text]))["input_ids"][0])


def test_warm_up_requests(multi_vector: MultiVector, tmp_path: Path) -> None:
    """Each of them has an answer, those of `score` too."""
    from tensorflow_serving.apis import prediction_log_pb2

    out = convert(multi_vector.source, tmp_path / "out", serving="tf-serving", verify="off")
    signatures = tf.saved_model.load(str(out.saved_model)).signatures
    seen = set()
    for record in tf.data.TFRecordDataset(str(out.saved_model / WARMUP)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        inputs = {
            name: tf.constant(tf.make_ndarray(proto)) for name, proto in request.inputs.items()
        }
        seen.add(request.model_spec.signature_name)
        outputs = signatures[request.model_spec.signature_name](**inputs)
        count = next(iter(inputs.values())).shape[0]
        assert all(output.shape[0] == count for output in outputs.values())
    assert seen == {"serving_default", "encode_query", "encode_document", "tokenize", "score"}
