"""The ops and attributes that TensorFlow 2.12 registers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

_LIST = Path(__file__).parents[2] / "fixtures" / "tensorflow_2.12_ops.txt"
OPS = {line.split()[0]: set(line.split()[1:]) for line in _LIST.read_text().splitlines()}
"""Op → its attributes."""


HARMLESS = {"VarHandleOp.debug_name"}
"""Attributes that the loader may drop: this one is a name."""


def unknown_in(function: Any) -> set[str]:
    """`unknown` for a `tf.function` with an input signature."""
    return unknown(function.get_concrete_function().graph.as_graph_def())


def unknown_saved(folder: Path) -> set[str]:
    """`unknown` for a SavedModel."""
    [meta_graph] = saved_model_pb2.SavedModel.FromString(
        (folder / "saved_model.pb").read_bytes()
    ).meta_graphs
    return unknown(meta_graph.graph_def)


def unknown(graph: Any) -> set[str]:
    """Ops of a GraphDef that TensorFlow 2.12 lacks, and unknown attributes not at their default."""
    own = {function.signature.name for function in graph.library.function}
    nodes = [
        *graph.node,
        *(node for function in graph.library.function for node in function.node_def),
    ]
    result = {node.op for node in nodes if node.op not in OPS and node.op not in own}
    for node in nodes:
        for name, value in node.attr.items():
            if node.op in OPS and name not in OPS[node.op] and not name.startswith("_"):
                default = next(
                    attribute.default_value
                    for attribute in op_def_registry.get(node.op).attr
                    if attribute.name == name
                )
                if value != default:
                    result.add(f"{node.op}.{name}")
    return result - HARMLESS
