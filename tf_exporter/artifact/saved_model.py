"""The ops of a SavedModel on the disk, and the tensors of its signatures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tf_exporter.model.untyped import Proto

Tensors = dict[str, dict[str, dict[str, Any]]]
"""`inputs` or `outputs` → argument or result → `name` of the graph's tensor, `dtype`, `shape`."""


def _meta_graphs(folder: Path) -> list[Proto]:
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((folder / "saved_model.pb").read_bytes())
    return list(saved.meta_graphs)


def graph_ops(folder: Path) -> list[str]:
    """The sorted names of all ops of a SavedModel, including those in its functions."""
    ops: set[str] = set()
    own: set[str] = set()
    for meta_graph in _meta_graphs(folder):
        graph: Any = meta_graph.graph_def
        ops.update(node.op for node in graph.node)
        ops.update(node.op for function in graph.library.function for node in function.node_def)
        # The file lists calls of the graph's own functions as ops; they need no kernel.
        own.update(function.signature.name for function in graph.library.function)
    return sorted(ops - own)


def signature_tensors(folder: Path) -> dict[str, Tensors]:
    """Signature → its tensors, for languages such as C and Go that use the graph's own names.

    In `shape`, None is a size that varies between calls. A `shape` of None has a varying rank.
    """
    from tensorflow import dtypes

    def described(info: Proto) -> dict[str, Any]:
        sizes = [None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim]
        shape = None if info.tensor_shape.unknown_rank else sizes
        return {"name": info.name, "dtype": dtypes.as_dtype(info.dtype).name, "shape": shape}

    def all_described(infos: Proto) -> dict[str, dict[str, Any]]:
        return {name: described(info) for name, info in sorted(infos.items())}

    signatures = _meta_graphs(folder)[0].signature_def
    return {
        name: {
            "inputs": all_described(signature.inputs),
            "outputs": all_described(signature.outputs),
        }
        for name, signature in sorted(signatures.items())
        if not name.startswith("__")  # TensorFlow's own, for initialization
    }
