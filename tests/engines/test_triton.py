"""`--serving triton` behind the real tritonserver, over HTTP and gRPC."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from fixtures.heads import write_saved_cross_encoder, write_sparse_encoder
from tests.engines.conftest import Served
from tests.engines.tritonserver import GARBAGE, Server, as_json, post, tritonserver
from tests.exports.test_classifier import write as write_classifier
from tests.support.helpers import answer
from tf_exporter import convert
from tf_exporter.names import CROSS_ENCODER, SPARSE_ENCODER
from tf_exporter.verification.reference import Job
from tf_exporter.verification.reference_process import load
from tf_exporter.verification.sample_texts import decoded

pytestmark = pytest.mark.engines
ATOL = 1e-5


@pytest.fixture(scope="module")
def server(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    place = tmp_path_factory.mktemp("triton")
    write_saved_cross_encoder(place / "reranker")
    write_sparse_encoder(place / "sparse")
    for source in (served.source, place / "reranker", place / "sparse"):
        convert(source, place / "models", serving="triton", verify="off")
    for sentences in (1, 2):
        source = write_classifier(place / f"labels_{sentences}")
        convert(
            source,
            place / "models",
            serving="triton",
            verify="off",
            export_type="classifier",
            sentences=sentences,
        )
    with tritonserver(place / "models", place / "server") as running:
        yield running


def _client(server: Server, kind: str) -> tuple[Any, Any]:
    module = pytest.importorskip(
        f"tritonclient.{kind}", reason="tritonclient is not installed; make test-engines does that"
    )
    return module, module.InferenceServerClient(server.http if kind == "http" else server.grpc)


def infer(
    module: Any, client: Any, texts: list[bytes], output: str = "sentence_embedding", **options: Any
) -> np.ndarray:
    """The answer to a request of [batch, 1] texts."""
    argument = module.InferInput("input_sequence", [len(texts), 1], "BYTES")
    argument.set_data_from_numpy(np.array(texts, np.object_)[:, None])
    result: np.ndarray = client.infer("source", [argument], **options).as_numpy(output)
    return result


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_batches(server: Server, served: Served, kind: str) -> None:
    """Every signature on all texts, hostile ones included, in batches of 50."""
    module, client = _client(server, kind)
    for signature, expected in served.expected.items():
        starts = range(0, len(served.texts), 50)
        parameters: dict[str, Any] = (
            {} if signature == "serving_default" else {"parameters": {"signature": signature}}
        )
        result = np.concatenate(
            [
                infer(module, client, served.texts[start : start + 50], **parameters)
                for start in starts
            ]
        )
        assert result.shape == expected.shape and result.dtype == np.float32
        assert np.abs(result - expected).max() <= ATOL, signature
    client.close()


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_sixteen_at_a_time(server: Server, served: Served, kind: str) -> None:
    """Single texts for two signatures: each client gets its own row of a dynamic batch."""
    signatures = ("encode_query", "encode_document")

    def ask(worker: int) -> float:
        module, client = _client(server, kind)
        worst = 0.0
        for index in range(worker, 4 * len(served.texts), 16):
            row, signature = index % len(served.texts), signatures[index % 2]
            result = infer(module, client, [served.texts[row]], parameters={"signature": signature})
            worst = max(worst, float(np.abs(result - served.expected[signature][row]).max()))
        client.close()
        return worst

    with ThreadPoolExecutor(16) as threads:
        assert max(threads.map(ask, range(16))) <= ATOL


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_scores_of_pairs(server: Server, served: Served, kind: str) -> None:
    """A cross-encoder: two arguments, and one score in a list for each pair."""
    module, client = _client(server, kind)
    first, second = served.texts[:40], served.texts[40:80]
    arguments = []
    for name, texts in (("input_sequence", first), ("pair_sequence", second)):
        arguments.append(module.InferInput(name, [40, 1], "BYTES"))
        arguments[-1].set_data_from_numpy(np.array(texts, np.object_)[:, None])
    result = client.infer("reranker", arguments).as_numpy("scores")
    client.close()
    theirs = load(str(_source(server, "reranker")), CROSS_ENCODER, None, None)
    expected = answer(
        theirs, Job(list(map(decoded, first)), "", 32, "", list(map(decoded, second)))
    )
    assert result.shape == (40, 1) and np.abs(result[:, 0] - expected).max() <= ATOL


def test_sparse_embeddings(server: Server, served: Served) -> None:
    """The whole vector, and the indices and weights of its nonzero values."""
    module, client = _client(server, "grpc")
    argument = module.InferInput("input_sequence", [20, 1], "BYTES")
    argument.set_data_from_numpy(np.array(served.texts[:20], np.object_)[:, None])
    dense = client.infer("sparse", [argument]).as_numpy("sentence_embedding")
    result = client.infer("sparse", [argument], parameters={"signature": "encode_sparse"})
    client.close()
    theirs = load(str(_source(server, "sparse")), SPARSE_ENCODER, None, None)
    expected = answer(theirs, Job(list(map(decoded, served.texts[:20])), "", 32, "", None))
    assert np.abs(dense - expected).max() <= ATOL
    indices, weights = result.as_numpy("indices"), result.as_numpy("weights")
    again = np.zeros_like(dense)
    for row in range(20):
        active = indices[row] >= 0
        again[row, indices[row, active]] = weights[row, active]
    assert np.array_equal(again, dense)


@pytest.mark.parametrize(
    ("name", "signature"), [("labels_1", None), ("labels_1", "classify_pair"), ("labels_2", None)]
)
def test_labels(server: Server, served: Served, name: str, signature: str | None) -> None:
    """Classifiers of one text and of pairs, and the pair signature of the first one."""
    module, client = _client(server, "grpc")
    texts = {"sentence1": served.texts[:20]}
    if (name, signature) != ("labels_1", None):
        texts["sentence2"] = served.texts[20:40]
    arguments = []
    for input_, values in texts.items():
        arguments.append(module.InferInput(input_, [20, 1], "BYTES"))
        arguments[-1].set_data_from_numpy(np.array(values, np.object_)[:, None])
    result = client.infer(
        name, arguments, **({"parameters": {"signature": signature}} if signature else {})
    )
    client.close()
    folder = server.log.parents[1] / "models" / name / "1/model.savedmodel"
    direct = tf.saved_model.load(str(folder)).signatures[signature or "serving_default"]
    expected = direct(**{input_: tf.constant(values) for input_, values in texts.items()})
    assert result.as_numpy("class")[:, 0].tolist() == expected["class"].numpy().tolist()
    assert np.abs(result.as_numpy("logits") - expected["logits"]).max() <= ATOL


def _source(server: Server, name: str) -> Path:
    """The folder of a model beside the repository."""
    return server.log.parents[1] / name


def test_token_ids(server: Server, served: Served) -> None:
    """Each answer is padded to its own longest text, whatever the other clients send."""
    signature = tf.saved_model.load(str(served.folder)).signatures["tokenize"]

    def ask(start: int) -> bool:
        texts = served.texts[start : start + 3]
        module, client = _client(server, "http")
        result = infer(module, client, texts, "input_ids", parameters={"signature": "tokenize"})
        client.close()
        return np.array_equal(result, signature(input_sequence=tf.constant(texts))["input_ids"])

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(ask, range(0, 60, 3)))


def test_json(server: Server, served: Served) -> None:
    """Texts as JSON, as curl sends them."""
    rows = [row for row, text in enumerate(served.texts) if _is_utf8(text)]
    assert len(rows) > 190
    for start in range(0, len(rows), 40):
        part = rows[start : start + 40]
        status, answer = post(server, as_json([served.texts[row].decode() for row in part]))
        assert status == 200, answer
        output = answer["outputs"][0]
        assert (output["name"], output["shape"]) == ("sentence_embedding", [len(part), 32])
        result = np.array(output["data"], np.float32).reshape(output["shape"])
        assert np.abs(result - served.expected["serving_default"][part]).max() <= ATOL


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.parametrize("body", GARBAGE)
def test_garbage(server: Server, served: Served, body: bytes) -> None:
    """The server answers with an error, and then answers the next request."""
    status, answer = post(server, body)
    assert 400 <= status < 600 and answer["error"], answer
    if b"no_such" in body:
        assert "the model has" in answer["error"] and "encode_query" in answer["error"]
    _still_answers(server, served)


@pytest.mark.parametrize("texts", [b"", b"\x05\x00\x00\x00ab", b"\xff\xff\xff\xffab", b"\x01\x00"])
def test_broken_binary(server: Server, served: Served, texts: bytes) -> None:
    """Texts whose stated lengths are wrong."""
    data = {
        "name": "input_sequence",
        "shape": [1, 1],
        "datatype": "BYTES",
        "parameters": {"binary_data_size": len(texts)},
    }
    header = json.dumps({"inputs": [data]}).encode()
    status, answer = post(
        server, header + texts, {"Inference-Header-Content-Length": str(len(header))}
    )
    assert 400 <= status < 600 and answer["error"], answer
    _still_answers(server, served)


def _still_answers(server: Server, served: Served) -> None:
    status, answer = post(server, as_json([served.texts[5].decode()]))
    assert status == 200, answer
    result = np.array(answer["outputs"][0]["data"], np.float32)
    assert np.abs(result - served.expected["serving_default"][5]).max() <= ATOL


def test_configs_are_what_triton_reads(served: Served, tmp_path: Path) -> None:
    """Triton's message type parses both config.pbtxt; no server has the other backend."""
    grpc = pytest.importorskip(
        "tritonclient.grpc", reason="tritonclient is not installed; make test-engines does that"
    )
    from google.protobuf import text_format

    for serving, field in (("triton", "backend"), ("triton-tensorflow", "platform")):
        conversion = convert(served.source, tmp_path / serving, serving=serving, verify="off")
        text = (conversion.output_dir / "config.pbtxt").read_text()
        config = text_format.Parse(text, grpc.model_config_pb2.ModelConfig())
        assert (
            getattr(config, field)
            == {"backend": "python", "platform": "tensorflow_savedmodel"}[field]
        )
        assert [tensor.name for tensor in config.input] == ["input_sequence"]
        assert config.output[0].name == "sentence_embedding" and config.output[0].dims == [32]
        assert config.HasField("dynamic_batching")


def test_a_model_is_added(served: Served, tmp_path: Path) -> None:
    """A server that polls its repository never loads a half-written model."""
    grpc = pytest.importorskip(
        "tritonclient.grpc", reason="tritonclient is not installed; make test-engines does that"
    )
    convert(served.source, tmp_path / "models", serving="triton", verify="off")
    options = ("--model-control-mode=poll", "--repository-poll-secs=1")
    with tritonserver(tmp_path / "models", tmp_path / "server", *options) as server:
        (tmp_path / "second").symlink_to(served.source)
        convert(tmp_path / "second", tmp_path / "models", serving="triton")
        client = grpc.InferenceServerClient(server.grpc)
        started = time.monotonic()
        while not client.is_model_ready("second"):
            assert time.monotonic() - started < 60, server.log.read_text()
            time.sleep(0.2)
        index = client.get_model_repository_index(as_json=True)["models"]
        client.close()
        assert sorted(model["name"] for model in index) == ["second", "source"]
        assert "failed" not in server.log.read_text().lower().replace(
            "failed to initialize nvml", ""
        )
