"""The files that `--serving` writes, checked without the servers."""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tf_exporter import convert
from tf_exporter.artifact.publish import MANIFEST
from tf_exporter.artifact.saved_model import signature_tensors
from tf_exporter.artifact.serving import triton
from tf_exporter.artifact.serving.layouts import model_name
from tf_exporter.artifact.serving.tf_serving import (
    BATCH_SIZES,
    BATCHING,
    WARMUP,
    WORDS,
    warmup_requests,
)
from tf_exporter.errors import UnsupportedError, UsageError


@pytest.fixture(scope="module")
def versions(good: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder with the version that TensorFlow Serving loads."""
    base = tmp_path_factory.mktemp("tf-serving") / "a/good"
    conversion = convert(good, base, serving="tf-serving", verify="off")
    assert conversion.output_dir == conversion.saved_model == base / "1"
    return base


@pytest.fixture(scope="module")
def repository(good: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model repository that Triton loads."""
    folder = tmp_path_factory.mktemp("triton") / "models"
    conversion = convert(good, folder, serving="triton", verify="off")
    assert conversion.output_dir == folder / "model"
    assert conversion.saved_model == folder / "model/1/model.savedmodel"
    return folder


def test_tensors_are_those_of_the_graph(versions: Path) -> None:
    """The manifest names the tensors that C and Go need."""
    tensors = json.loads((versions / "1" / MANIFEST).read_text())["tensors"]
    assert tensors == signature_tensors(versions / "1")
    assert tensors.keys() == {"serving_default", "encode_query", "encode_document", "tokenize"}
    graph = tf.saved_model.load(str(versions / "1"))
    for name, signature in graph.signatures.items():
        outputs = signature.structured_outputs
        result = {
            output: (value.dtype.name, value.shape.as_list()) for output, value in outputs.items()
        }
        assert {
            output: (said["dtype"], said["shape"])
            for output, said in tensors[name]["outputs"].items()
        } == result
        assert tensors[name]["inputs"]["input_sequence"]["shape"] is None
    texts = tf.constant(["a b", "c"])
    query = tensors["encode_query"]
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        tf.compat.v1.saved_model.load(session, ["serve"], str(versions / "1"))
        feeds = {query["inputs"]["input_sequence"]["name"]: [b"a b", b"c"]}
        result = session.run(query["outputs"]["sentence_embedding"]["name"], feeds)
    assert np.array_equal(
        result, graph.signatures["encode_query"](input_sequence=texts)["sentence_embedding"]
    )


def test_warmup(versions: Path) -> None:
    """Every signature in every batch size; each record names its signature and arguments."""
    from tensorflow_serving.apis import prediction_log_pb2

    tensors = signature_tensors(versions / "1")
    records = list(tf.data.TFRecordDataset(str(versions / "1" / WARMUP)).as_numpy_iterator())
    assert len(records) == len(tensors) * len(BATCH_SIZES) * len(WORDS) <= 1000
    assert [
        prediction_log_pb2.PredictionLog.FromString(record) for record in records
    ] == warmup_requests(tensors)
    graph = tf.saved_model.load(str(versions / "1"))
    for record in records:
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        arguments = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        result = graph.signatures[request.model_spec.signature_name](
            **{k: tf.constant(v) for k, v in arguments.items()}
        )
        assert len(next(iter(result.values()))) == len(arguments["input_sequence"])
    assert "allowed_batch_sizes" not in (versions / "1" / BATCHING).read_text()


@pytest.mark.parametrize("count", [112, 900, 1100])
def test_warmup_of_many_signatures(count: int) -> None:
    """At most 1,000 requests, which a server allows; `serving_default` has all of its own."""
    names = [*(f"encode_{number}" for number in range(count - 1)), "serving_default"]
    requests = warmup_requests(
        {name: {"inputs": {"input_sequence": {"dtype": "string"}}} for name in names}
    )
    warmed = Counter(request.predict_log.request.model_spec.signature_name for request in requests)
    assert len(requests) == 1000
    assert warmed["serving_default"] == len(BATCH_SIZES) * len(WORDS)
    assert len(warmed) == min(count, 1000 - len(BATCH_SIZES) * len(WORDS) + 1)
    assert max(warmed.values()) - min(warmed.values()) <= len(BATCH_SIZES) * len(WORDS) - 1


def test_next_version(good: Path, tmp_path: Path) -> None:
    for name in ("1", "7", "08", "a9", ".99.partial", "99999999999999999999"):
        (tmp_path / "m" / name).mkdir(parents=True)
    assert (
        convert(good, tmp_path / "m", serving="tf-serving", verify="off").output_dir
        == tmp_path / "m/9"
    )
    (tmp_path / "m" / str(2**63 - 1)).mkdir()
    with pytest.raises(UsageError, match="no version comes after"):
        convert(good, tmp_path / "m", serving="tf-serving", verify="off")


def test_refusals(
    good: Path, versions: Path, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(output: Path | str, message: str, **options: object) -> None:
        with pytest.raises(UsageError, match=message):
            convert(good, output, verify="off", **options)

    for serving in ("tf-serving", "triton"):
        refused(versions / "1", "is a SavedModel itself", serving=serving)
        refused("", "no name|can be made", serving=serving)
    for serving in ("tf-serving", "triton", "triton-tensorflow"):
        refused(tmp_path, "not with --serving", serving=serving, batch_size=4)
    too_long = tmp_path / ("x" * 300)
    refused(too_long, "cannot be read", serving="triton")
    refused(tmp_path, "replaces nothing", serving="tf-serving", force=True)
    refused(repository, "already there", serving="triton")
    refused(tmp_path, "own ops only", serving="triton-tensorflow", tokenizer_ops="tensorflow-text")
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file", "cannot be read", serving="tf-serving")
    refused(tmp_path / "file", "can be made|cannot be written", serving="triton")
    with pytest.raises(UnsupportedError, match="--serving = 'torchserve'"):
        convert(good, tmp_path / "new", serving="torchserve")
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name: None if name == "tensorflow_serving" else find_spec(name),
    )
    refused(tmp_path / "new", r"tf-exporter\[serving\]", serving="tf-serving")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_force_replaces_a_model_of_a_repository(good: Path, repository: Path) -> None:
    (repository / "model/left").write_text("of the one before")
    convert(good, repository, serving="triton", verify="off", force=True)
    assert sorted(path.name for path in (repository / "model").iterdir()) == ["1", "config.pbtxt"]


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("sentence-transformers/all-MiniLM-L6-v2", "all-MiniLM-L6-v2"),
        ("a/b c", "b_c"),
        ("x/..", "model"),
        ("a/ä", "_"),
    ],
)
def test_names(model: str, name: str) -> None:
    assert model_name(model) == name


def test_names_of_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is the one the user gives, not that of a link's target."""
    (tmp_path / "e5/1").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "e5")
    monkeypatch.chdir(tmp_path / "e5/1")
    assert [model_name(name) for name in (".", "..", "../../link", str(tmp_path / "link/"))] == [
        "1",
        "e5",
        "link",
        "link",
    ]


def test_triton_config(repository: Path) -> None:
    """The text of config.pbtxt; the tests of the engines load it in the server."""
    text = (repository / "model/config.pbtxt").read_text()
    assert text.splitlines()[:4] == [
        'backend: "python"',
        "max_batch_size: 64",
        'input [ { name: "input_sequence" data_type: TYPE_STRING dims: [ 1 ] } ]',
        'output [ { name: "sentence_embedding" data_type: TYPE_FP32 dims: [ 8 ] } ]',
    ]
    assert 'output [ { name: "input_ids" data_type: TYPE_INT32 dims: [ -1 ] } ]' in text
    tensors = signature_tensors(repository / "model/1/model.savedmodel")
    old = triton.config(tensors, triton.TENSORFLOW)
    assert (
        "input_ids" not in old
        and 'key: "TF_SIGNATURE_DEF"' in old
        and 'platform: "tensorflow_savedmodel"' in old
    )


def test_scores() -> None:
    """One number for each pair: [batch] in TensorFlow, [batch, 1] in Triton."""
    tensors = {
        "serving_default": {
            "inputs": {
                name: {"name": "", "dtype": "string", "shape": None}
                for name in ("input_sequence", "pair_sequence")
            },
            "outputs": {"scores": {"name": "", "dtype": "float32", "shape": [None]}},
        }
    }
    python, old = triton.config(tensors, triton.PYTHON), triton.config(tensors, triton.TENSORFLOW)
    assert 'output [ { name: "scores" data_type: TYPE_FP32 dims: [ 1 ] } ]' in python
    assert (
        'output [ { name: "scores" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] } } ]'
        in old
    )
    assert 'name: "pair_sequence"' in python and 'name: "pair_sequence"' in old
