"""Triton's (2.51) files around a SavedModel: config.pbtxt, and model.py for its Python backend."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from tf_exporter.names import DEFAULT

PYTHON = 'backend: "python"'
TENSORFLOW = 'platform: "tensorflow_savedmodel"'
"""The backend of servers up to release 25.02."""
SAVED_MODEL = "1/model.savedmodel"
MAX_BATCH_SIZE = 64
_TYPES = {
    "string": "TYPE_STRING",
    "float32": "TYPE_FP32",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "int8": "TYPE_INT8",
    "uint8": "TYPE_UINT8",
}


def write_files(folder: Path, values: dict[str, Any], backend: str) -> None:
    """Writes the files of one model of a repository.

    Args:
        folder: the model's folder, with the SavedModel at `SAVED_MODEL`.
        values: its manifest.
        backend: `PYTHON` or `TENSORFLOW`.
    """
    if backend == PYTHON:
        code = (
            resources.files("tf_exporter.artifact.serving")
            .joinpath("triton_model.py")
            .read_text(encoding="utf-8")
        )
        (folder / SAVED_MODEL).parent.joinpath("model.py").write_text(code, encoding="utf-8")
    (folder / "config.pbtxt").write_text(config(values["tensors"], backend), encoding="utf-8")


def config(signatures: dict[str, Any], backend: str) -> str:
    """The text of config.pbtxt. The TensorFlow backend serves one signature only."""
    used = signatures if backend == PYTHON else {DEFAULT: signatures[DEFAULT]}
    inputs, outputs = _all(used, "inputs"), _all(used, "outputs")
    signature = "signature" if backend == PYTHON else "TF_SIGNATURE_DEF"
    return "\n".join(
        [
            backend,
            f"max_batch_size: {MAX_BATCH_SIZE}",
            *(
                _tensor("input", name, tensor["dtype"], [1], _optional(name, used))
                for name, tensor in inputs.items()
            ),
            *(_output(name, tensor, backend) for name, tensor in outputs.items()),
            "# The texts of waiting requests are computed as one batch.",
            "dynamic_batching { }",
            "# One instance uses all cores.",
            "instance_group [ { count: 1 kind: KIND_CPU } ]",
            "# The signature for requests that name no signature.",
            f'parameters {{ key: "{signature}" value {{ string_value: "{DEFAULT}" }} }}',
            "",
        ]
    )


def _all(signatures: dict[str, Any], side: str) -> dict[str, Any]:
    """The `inputs` or `outputs` of all signatures, with those of `serving_default` first."""
    merged = dict(signatures[DEFAULT][side])
    for tensors in signatures.values():
        merged = {**tensors[side], **merged}
    return {
        name: merged[name]
        for name in sorted(merged, key=lambda name: (name not in signatures[DEFAULT][side], name))
    }


def _optional(name: str, signatures: dict[str, Any]) -> str:
    """The `optional` setting of an input that some signatures lack."""
    return (
        ""
        if all(name in tensors["inputs"] for tensors in signatures.values())
        else " optional: true"
    )


def _output(name: str, tensor: dict[str, Any], backend: str) -> str:
    sizes = tensor["shape"][1:]
    # An output [batch] has no dims. model.py makes it [batch, 1]; for the TensorFlow backend,
    # Triton reshapes it.
    reshape = " reshape { shape: [ ] }" if not sizes and backend == TENSORFLOW else ""
    return _tensor("output", name, tensor["dtype"], sizes or [1], reshape)


def _tensor(side: str, name: str, dtype: str, sizes: list[int | None], suffix: str = "") -> str:
    dims = ", ".join("-1" if size is None else str(size) for size in sizes)
    return f'{side} [ {{ name: "{name}" data_type: {_TYPES[dtype]} dims: [ {dims} ]{suffix} }} ]'
