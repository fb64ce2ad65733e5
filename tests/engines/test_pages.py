"""docs/serving.md: every command and code block, on a small model under the page's name."""

from __future__ import annotations

import ast
import base64
import json
import platform
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.engines.conftest import Served, needs
from tests.engines.pages import PROJECT, Block, blocks, run
from tests.engines.test_java import needs_maven
from tests.engines.tritonserver import Server, tritonserver
from tests.support.helpers import reference
from tf_exporter import convert
from tf_exporter.artifact.saved_model import signature_tensors

pytestmark = [pytest.mark.engines, pytest.mark.slow]
BLOCKS = blocks()
MODEL = "all-MiniLM-L6-v2"
PACKAGES = (
    "tensorflow_hub",
    "tf_keras",
    "keras",
    "tritonclient",
    "tensorflow_serving",
    "pyspark",
    "apache_beam",
)
# Part of a block's code → a file that the block writes.
MADE = {
    "saved_model_cli": "embeddings/sentence_embedding.npy",
    "--request-batching": "all-MiniLM-L6-v2-joined/saved_model.pb",
    "--serving tf-serving": "models/all-MiniLM-L6-v2/1/saved_model.pb",
    "--serving triton\n": "repository/all-MiniLM-L6-v2/config.pbtxt",
    "spark-submit": "embeddings-spark/chunk=1/_SUCCESS",
    "beam/embed_with_beam.py": "embeddings-beam/chunk=1/_SUCCESS",
    "gcc ": "embeddings.txt",
    "vector_store.py": "store/meta.json",
}
CHECK = """
import numpy
for name in ("embeddings", "same"):
    if name in globals():
        assert numpy.asarray(globals()[name]).shape[-1] == 32
"""


@pytest.fixture
def place(served: Served, tmp_path: Path) -> Path:
    """A folder as the page describes it: the artifact, its source, the examples, a Parquet file."""
    (tmp_path / MODEL).symlink_to(served.folder)
    (tmp_path / "sentence-transformers").mkdir()
    (tmp_path / "sentence-transformers" / MODEL).symlink_to(served.source)
    for folder in ("examples", "java"):
        (tmp_path / folder).symlink_to(PROJECT / folder)
    return tmp_path


@pytest.fixture(scope="module")
def server(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    place = tmp_path_factory.mktemp("triton")
    (place / MODEL).symlink_to(served.source)
    convert(place / MODEL, place / "models", serving="triton", verify="off")
    with tritonserver(place / "models", place / "server") as running:
        yield running


@pytest.mark.parametrize(
    "block", [b for b in BLOCKS if b.runs and b.language != "json"], ids=lambda block: block.name
)
def test_runs(block: Block, place: Path, request: pytest.FixtureRequest) -> None:
    code = block.code
    for package in PACKAGES:
        if f"import {package}" in code or f"from {package}" in code:
            pytest.importorskip(
                package, reason=f"{package} is not installed; make test-engines does that"
            )
    if "mvn" in code:
        needs_maven()
        native = f"{platform.system().lower()}-{platform.machine()}"
        options = f"-Djavacpp.platform={native} -DbuildDirectory={place}/target"
        code = code.replace("mvn --quiet", f"mvn --quiet --offline {options}")
        # Other tests read the library where it would be installed.
        code = code.replace(" install ", " package ")
    if "gcc" in code:
        needs("gcc")
    if "parquet" in code:
        if "spark" in code:
            needs("java")
        pytest.importorskip(
            "pyspark" if "spark" in code else "apache_beam",
            reason="not installed; make test-engines does that",
        )
        write_texts(place / "texts.parquet")
    if "vector_store" in code:
        pytest.importorskip(
            "qdrant_client", reason="qdrant_client is not installed; make test-engines does that"
        )
        model = request.getfixturevalue("multi_vector")
        (place / "colbertv2.0").symlink_to(model.folder)
        (place / "texts.txt").write_text("A recipe for sourdough\nShares lost value\n")
    if ":800" in code:
        server = request.getfixturevalue("server")
        code = code.replace("localhost:8000", server.http).replace("localhost:8001", server.grpc)
    out = run(block, place, code, CHECK)
    if "curl" in code:
        assert json.loads(out)["outputs"][0]["shape"] == [2, 32], out
    for part, path in MADE.items():
        if part in block.code:
            assert (place / path).exists()


def test_what_is_made_is_asked_for() -> None:
    for part in MADE:
        assert any(part in block.code for block in BLOCKS if block.runs), part


def write_texts(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"id": ["a", "b", "c"], "text": ["one text", None, "another"]}), path)


def test_what_is_not_run() -> None:
    """Blocks that need a registry, a cluster or a running server are not run; all others are."""
    for block in BLOCKS:
        needed = ("docker", "kubectl", "grpc.insecure_channel")
        assert block.runs != any(word in block.code for word in needed), block.code
    assert sum(block.runs for block in BLOCKS) >= 18


def from_json(body: dict[str, Any], tensors: dict[str, Any]) -> tuple[str, dict[str, tf.Tensor]]:
    """The signature and arguments of a REST request, by the documentation of TensorFlow Serving."""
    signature = body.get("signature_name", "serving_default")
    inputs = tensors[signature]["inputs"]

    def value(text: Any) -> bytes:
        return base64.b64decode(text["b64"]) if isinstance(text, dict) else text.encode()

    if "inputs" in body:
        columns = (
            body["inputs"]
            if isinstance(body["inputs"], dict)
            else {next(iter(inputs)): body["inputs"]}
        )
    else:
        rows = [
            row if isinstance(row, dict) and "b64" not in row else {next(iter(inputs)): row}
            for row in body["instances"]
        ]
        columns = {name: [row[name] for row in rows] for name in rows[0]}
    assert columns.keys() == inputs.keys()
    assert all(tensor["dtype"] == "string" for tensor in inputs.values())
    return signature, {
        name: tf.constant([value(text) for text in texts]) for name, texts in columns.items()
    }


@pytest.mark.parametrize(
    "block",
    [block for block in BLOCKS if block.language == "json"],
    ids=lambda block: block.code[:40],
)
def test_rest_requests(block: Block, served: Served) -> None:
    """The request's tensors fit the signature, and the answers are the reference's."""
    signature, arguments = from_json(json.loads(block.code), signature_tensors(served.folder))
    result = (
        tf.saved_model.load(str(served.folder))
        .signatures[signature](**arguments)["sentence_embedding"]
        .numpy()
    )
    model = reference(served.source)
    texts = [text.decode(errors="replace") for text in arguments["input_sequence"].numpy()]
    expected = model.encode_query(texts) if signature == "encode_query" else model.encode(texts)
    assert np.abs(result - expected).max() <= 1e-5


def test_grpc_request(served: Served) -> None:
    """The message in the page has a signature and arguments that the model has."""
    [code] = [block.code for block in BLOCKS if "PredictRequest()" in block.code]
    space: dict[str, Any] = {}
    exec(code, space)  # noqa: S102  # our own page
    request = type(space["request"]).FromString(space["request"].SerializeToString())
    tensors = signature_tensors(served.folder)[request.model_spec.signature_name]
    assert request.model_spec.name == MODEL and request.inputs.keys() == tensors["inputs"].keys()
    proto = request.inputs["input_sequence"]
    assert tf.dtypes.as_dtype(proto.dtype).name == tensors["inputs"]["input_sequence"]["dtype"]
    graph = tf.saved_model.load(str(served.folder))
    result = graph.signatures[request.model_spec.signature_name](
        input_sequence=tf.constant(tf.make_ndarray(proto))
    )
    assert result["sentence_embedding"].shape == (2, 32)


@pytest.mark.parametrize("name", ["tensorflow-serving.yaml", "triton.yaml"])
def test_kubernetes_schemas(name: str) -> None:
    validator = pytest.importorskip(
        "kubernetes_validate", reason="not installed; make test-engines does that"
    )
    import yaml

    resources = list(yaml.safe_load_all((PROJECT / "examples/kubernetes" / name).read_text()))
    assert [resource["kind"] for resource in resources] == ["Deployment", "Service"]
    for resource in resources:
        validator.validate(resource, validator.latest_version(), strict=True)
    containers = resources[0]["spec"]["template"]["spec"]["containers"]
    containers[0]["imagee"] = "mistake"
    with pytest.raises(validator.ValidationError):
        validator.validate(resources[0], validator.latest_version(), strict=True)


KSERVE = Path(sys.prefix) / "kserve" / "kserve" / "models"
"""Where `make test-engines` unpacks KServe's classes, without its many dependencies."""


def kserve_class(name: str) -> dict[str, str]:
    """The JSON keys and types of one of KServe's classes, read from its source."""
    path = KSERVE / (re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() + ".py")
    [definition] = [
        node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)
    ]
    maps = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in definition.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Dict)
    }
    return {
        key: maps["openapi_types"][attribute] for attribute, key in maps["attribute_map"].items()
    }


def check_kserve(value: Any, kind: str) -> None:
    """Raises if a key or a type is not KServe's; values of Kubernetes' types have to be objects."""
    if kind.startswith("V1beta1"):
        known = kserve_class(kind)
        assert value.keys() <= known.keys(), value.keys() - known.keys()
        for key, part in value.items():
            check_kserve(part, known[key])
        return
    assert isinstance(value, {"str": str, "int": int}.get(kind, dict)), (value, kind)


def test_kserve_manifest() -> None:
    if not KSERVE.is_dir():
        pytest.skip("kserve is not installed; make test-engines does that")
    import yaml

    resource = yaml.safe_load((PROJECT / "examples/kubernetes/kserve.yaml").read_text())
    check_kserve(resource, "V1beta1InferenceService")
    assert (
        resource["apiVersion"] == "serving.kserve.io/v1beta1"
        and resource["spec"]["predictor"]["model"]["storageUri"]
    )
    for mistake in ({"storageURI": "x"}, {"runtimeVersion": 2.19}):
        wrong = {**resource["spec"]["predictor"]["model"], **mistake}
        with pytest.raises(AssertionError):
            check_kserve(
                {**resource, "spec": {"predictor": {"model": wrong}}}, "V1beta1InferenceService"
            )
