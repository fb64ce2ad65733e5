"""Word embeddings in the host's memory.

The table is the largest part of many models, and each call reads only a small number of its rows.
"""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tf_exporter.architectures.base import BaseEncoder
from tf_exporter.errors import UsageError

CPU = "/device:CPU:0"


def keep_on_cpu(model: tf.Module) -> set[str]:
    """Puts the lookup of all encoders' word embeddings on the CPU; returns their variables' names.

    Raises:
        UsageError: there is no encoder.
    """
    tables = [
        part.token_table for part in (model, *model.submodules) if isinstance(part, BaseEncoder)
    ]
    if not tables:
        raise UsageError("--embeddings-on-cpu: the model has no encoder with word embeddings")
    for table in tables:
        table.device = CPU
    return {table.weight.name.partition(":")[0] for table in tables}


def place_variables(folder: Path, names: set[str]) -> None:
    """Changes a SavedModel so that the variables with these names are loaded on the CPU.

    TensorFlow can save only the devices of all variables or of none, and all are on the CPU during
    a conversion.
    """
    path = folder / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for meta_graph in saved.meta_graphs:
        for saved_object in meta_graph.object_graph_def.nodes:
            if (
                saved_object.WhichOneof("kind") == "variable"
                and saved_object.variable.name in names
            ):
                saved_object.variable.device = CPU
        for node in meta_graph.graph_def.node:
            if node.op == "VarHandleOp" and node.attr["shared_name"].s.decode() in names:
                node.device = CPU
    path.write_bytes(saved.SerializeToString())
