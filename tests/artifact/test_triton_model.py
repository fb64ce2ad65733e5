"""The code for Triton's Python backend on every export, called as Triton calls it."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from fixtures.heads import write_saved_cross_encoder, write_sparse_encoder
from fixtures.models import write_model
from tests.exports.test_classifier import write
from tf_exporter import convert
from tf_exporter.artifact.serving import triton

EXPORTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "embeddings": (lambda folder: write_model(folder, prompts={"query": "q: "}), {}),
    "scores": (write_saved_cross_encoder, {}),
    "sparse": (write_sparse_encoder, {}),
    "labels": (write, {"export_type": "classifier"}),
    "labels of pairs": (write, {"export_type": "classifier", "sentences": 2}),
    "tensorflow-text": (write, {"export_type": "classifier", "tokenizer_ops": "tensorflow-text"}),
}
SLOW = ("embeddings", "scores", "sparse", "labels of pairs", "tensorflow-text")


class Request:
    """The request that the backend passes to `execute`."""

    def __init__(self, signature: str | None, **texts: list[bytes]) -> None:
        self.signature = signature
        self.texts = {name: np.array(values, np.object_)[:, None] for name, values in texts.items()}

    def parameters(self) -> str:
        return json.dumps({"signature": self.signature} if self.signature else {})


def _by_name(request: Request, name: str) -> Any:
    return SimpleNamespace(as_numpy=lambda: request.texts[name]) if name in request.texts else None


def _response(tensors: Any = (), *, output_tensors: Any = (), error: Any = None) -> Any:
    return SimpleNamespace(outputs=dict(tensors or output_tensors), error=error)


BACKEND = {
    "get_input_tensor_by_name": _by_name,
    "InferenceResponse": _response,
    "Tensor": lambda name, values: (name, values),
    "TritonError": str,
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in EXPORTS],
)
def test_every_export(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_source, options = EXPORTS[name]
    if options.get("tokenizer_ops") == "tensorflow-text":
        pytest.importorskip("tensorflow_text")
    source = tmp_path / "source"
    write_source(source)
    conversion = convert(source, tmp_path / "models", serving="triton", verify="off", **options)
    assert conversion.manifest["custom_ops"] == (
        ["FastWordpieceTokenizeWithOffsets"] if "tokenizer_ops" in options else []
    )
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", SimpleNamespace(**BACKEND))
    spec = importlib.util.spec_from_file_location("served", conversion.output_dir / "1/model.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    served = module.TritonPythonModel()
    config = {"parameters": {"signature": {"string_value": "serving_default"}}}
    folder = {
        "model_repository": str(conversion.output_dir),
        "model_version": "1",
        "model_config": json.dumps(config),
    }
    served.initialize(folder)

    direct = tf.saved_model.load(str(conversion.saved_model)).signatures
    texts = [b"hello world", b"", b"the cat"]
    requests, expected = [], []
    for signature, tensors in conversion.manifest["tensors"].items():
        inputs = {
            input_: texts[index:] + texts[:index] for index, input_ in enumerate(tensors["inputs"])
        }
        requests.append(Request(signature, **inputs))
        expected.append(
            direct[signature](**{input_: tf.constant(values) for input_, values in inputs.items()})
        )
    requests += [Request("encode_nothing", **inputs), Request(None)]
    *answers, unknown, missing = served.execute(requests)
    for answer, result in zip(answers, expected):
        assert answer.error is None and answer.outputs.keys() == result.keys()
        for output, values in result.items():
            said = answer.outputs[output]
            assert np.array_equal(said if values.shape.rank > 1 else said[:, 0], values.numpy())
    assert "the model has" in unknown.error and "is missing" in missing.error


def test_inputs_of_some_signatures_are_optional() -> None:
    """Triton itself refuses requests that lack a required input."""

    def tensors(*inputs: str) -> dict[str, Any]:
        given = {name: {"name": "", "dtype": "string", "shape": None} for name in inputs}
        return {
            "inputs": given,
            "outputs": {"class": {"name": "", "dtype": "string", "shape": [None]}},
        }

    signatures = {
        "serving_default": tensors("sentence1"),
        "classify_pair": tensors("sentence1", "sentence2"),
    }
    text = triton.config(signatures, triton.PYTHON)
    assert 'input [ { name: "sentence1" data_type: TYPE_STRING dims: [ 1 ] } ]' in text
    assert (
        'input [ { name: "sentence2" data_type: TYPE_STRING dims: [ 1 ] optional: true } ]' in text
    )
