"""TensorFlow Serving's (2.21) versions, warm-up requests and batching parameters."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

from tf_exporter.errors import UsageError
from tf_exporter.names import DEFAULT

WARMUP = "assets.extra/tf_serving_warmup_requests"
BATCHING = "batching_params.pbtxt"
BATCH_SIZES = (1, 8, 32)
WORDS = (1, 10, 100)
_MOST_REQUESTS = 1000
"""A server does not load a version that has more warm-up requests."""
_MOST_VERSIONS = 2**63
"""The server reads a version as an int64."""

_BATCHING_PARAMETERS = """\
# Read with --enable_batching --enable_per_model_batching_parameters.
# The texts of many requests are computed as one batch.
# batch_timeout_micros 0: waiting texts are computed as soon as a thread is free.
# num_batch_threads: the best value is the number of the server's cores.
max_batch_size { value: 64 }
batch_timeout_micros { value: 0 }
num_batch_threads { value: 4 }
max_enqueued_batches { value: 1000 }
"""
"""Without `allowed_batch_sizes`, which would pad batches with texts that no request asked for."""


def next_version(base: Path, force: bool) -> Path:
    """BASE/N, with N one above the highest version there, or 1 without any.

    Raises:
        UsageError: the folder cannot be read, `force` is set, or tensorflow-serving-api is not
            installed.
    """
    if force:
        raise UsageError(
            "--force: --serving tf-serving replaces nothing, a conversion becomes the next version"
        )
    if importlib.util.find_spec("tensorflow_serving") is None:
        raise UsageError(
            "--serving tf-serving: needs tensorflow-serving-api "
            "(pip install 'tf-exporter[serving]')"
        )
    try:
        names = [path.name for path in base.iterdir()] if base.exists() else []
    except OSError as error:
        raise UsageError(f"{base}: cannot be read ({error.strerror})") from error
    versions = [
        int(name)
        for name in names
        if re.fullmatch("[0-9]{1,19}", name) and int(name) < _MOST_VERSIONS
    ]
    version = max(versions, default=0) + 1
    if version == _MOST_VERSIONS:
        raise UsageError(f"{base}: no version comes after {version - 1}")
    return base / str(version)


def write_files(folder: Path, values: dict[str, Any]) -> None:
    """Writes the warm-up requests and batching parameters beside a SavedModel's graph.

    Args:
        folder: the SavedModel's folder.
        values: its manifest.
    """
    import tensorflow as tf

    (folder / WARMUP).parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(folder / WARMUP)) as writer:
        for request in warmup_requests(values["tensors"]):
            writer.write(request.SerializeToString())
    (folder / BATCHING).write_text(_BATCHING_PARAMETERS, encoding="utf-8")


def warmup_requests(signatures: dict[str, Any]) -> list[Any]:
    """The `PredictionLog`s that warm up a server.

    Each signature that takes texts alone gets single texts and batches, short and long. A server
    answers them before it shows a version as available. If there are too many signatures for that,
    all get the first of their requests, and as many as possible get the others.
    """
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    signatures = {
        name: tensors
        for name, tensors in signatures.items()
        if all(tensor["dtype"] == "string" for tensor in tensors["inputs"].values())
    }
    # The default is the most used signature.
    first = [name for name in signatures if name == DEFAULT]
    rest = [name for name in signatures if name != DEFAULT]
    shapes = [(size, words) for size in BATCH_SIZES for words in WORDS]
    planned = [(name, shape) for names in (first, rest) for shape in shapes for name in names]
    requests = []
    for signature, (size, words) in planned[:_MOST_REQUESTS]:
        request = predict_pb2.PredictRequest()
        request.model_spec.signature_name = signature
        texts = tf.make_tensor_proto([" ".join(["warm"] * words)] * size, tf.string)
        for name in signatures[signature]["inputs"]:
            request.inputs[name].CopyFrom(texts)
        requests.append(
            prediction_log_pb2.PredictionLog(
                predict_log=prediction_log_pb2.PredictLog(request=request)
            )
        )
    return requests
