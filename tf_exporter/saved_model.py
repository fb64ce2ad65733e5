"""What a SavedModel on the disk says of itself: its ops, and the tensors of its signatures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

DEFAULT = "serving_default"
"""The signature of requests that name none."""
Tensors = dict[str, dict[str, dict[str, Any]]]
"""`inputs` and `outputs` → name of the argument or result → `name` of the graph's tensor, `dtype`, `shape`."""


def _meta_graphs(folder: Path) -> list[Any]:
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((folder / "saved_model.pb").read_bytes())
    return list(saved.meta_graphs)


def graph_ops(folder: Path) -> list[str]:
    """The names of all ops of a SavedModel, those in functions included."""
    ops: set[str] = set()
    own: set[str] = set()
    for meta_graph in _meta_graphs(folder):
        graph: Any = meta_graph.graph_def
        ops.update(node.op for node in graph.node)
        ops.update(node.op for function in graph.library.function for node in function.node_def)
        # Calls of the graph's own functions are ops to the file, not to a server.
        own.update(function.signature.name for function in graph.library.function)
    return sorted(ops - own)


def signature_tensors(folder: Path) -> dict[str, Tensors]:
    """Signature → its tensors, for languages that feed and fetch by the graph's own names, as C and Go.

    `shape` has None for a size that differs from call to call, and is None where the number of dimensions does too.
    """
    from tensorflow import dtypes

    def described(info: Any) -> dict[str, Any]:
        sizes = [None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim]
        shape = None if info.tensor_shape.unknown_rank else sizes
        return {"name": info.name, "dtype": dtypes.as_dtype(info.dtype).name, "shape": shape}

    def all_described(infos: Any) -> dict[str, dict[str, Any]]:
        return {name: described(info) for name, info in sorted(infos.items())}

    signatures = _meta_graphs(folder)[0].signature_def
    return {
        name: {"inputs": all_described(signature.inputs), "outputs": all_described(signature.outputs)}
        for name, signature in sorted(signatures.items())
        if not name.startswith("__")  # TensorFlow's own, which initialises
    }
