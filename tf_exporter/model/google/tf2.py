"""Objects in checkpoints of the Model Garden's BERT encoders → transformers' names.

These are `tf.train.Checkpoint(encoder=…)`, formerly `model=…`, for `BertEncoder` and
`BertEncoderV2` in tf-models-official 2.20. `BertEncoder` is a Keras functional model, so its layers
are numbered. The name of a variable in the file depends on everything that was saved with it, so it
is looked up in the file's object graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tf_exporter.errors import InputError, UnsupportedError, WeightsError
from tf_exporter.model.google.tf1 import Change, Names
from tf_exporter.model.untyped import Proto

OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_ROOTS = ("encoder", "model")
_NUMBERED = "layer_with_weights-"
_TABLE = ("embeddings", "_position_embeddings", "position_embeddings")
"""Names of the table in the versions of the embedding layers."""


class _Object:
    """An object of the checkpoint, and its children by name."""

    def __init__(self, nodes: Proto, index: int = 0) -> None:
        self._nodes, self._node = nodes, nodes[index]
        self.children = {child.local_name: child.node_id for child in self._node.children}

    def __contains__(self, name: str) -> bool:
        return name in self.children

    def __getitem__(self, name: str) -> _Object:
        index = self.children.get(name)
        if index is None or not 0 <= index < len(self._nodes):
            raise WeightsError(
                f"{OBJECT_GRAPH}: the object {name} of the Model Garden's encoder is missing"
            )
        return _Object(self._nodes, index)

    @property
    def key(self) -> str:
        """The name of a variable in the file."""
        if len(self._node.attributes) != 1:
            raise WeightsError(
                f"{OBJECT_GRAPH}: an object is no variable, unlike in the Model Garden's encoder"
            )
        key: str = self._node.attributes[0].checkpoint_key
        return key


def names(file: str, graph: bytes, shapes: dict[str, list[int]], config: dict[str, Any]) -> Names:
    """The variables of the encoder, and of the masked language model's head if there is one.

    Raises:
        InputError: the object graph cannot be read.
        WeightsError: a variable is missing, or does not belong to BERT.
        UnsupportedError: the embeddings are narrower than the layers.
    """
    root = _Object(_nodes(file, graph))
    name = next((name for name in _ROOTS if name in root), None)
    if name is None:
        raise WeightsError(
            f"{file}: neither of {', '.join(_ROOTS)} is in the checkpoint; "
            f"it has {', '.join(root.children)}"
        )
    result: Names = {}
    _encoder(root[name], config, result)
    if "masked_lm" in root:
        _masked_lm(root["masked_lm"], result)
    used = {key for key, _ in result.values()}
    for key in used - shapes.keys():
        raise WeightsError(f"{file}: variable {key} is missing")
    for key in sorted(shapes.keys() - used):
        if key.startswith(f"{name}/") and ".OPTIMIZER_SLOT" not in key:
            raise WeightsError(f"{file}: variable {key} has no place in BERT")
    return result


def _nodes(file: str, graph: bytes) -> Proto:
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    try:
        nodes = trackable_object_graph_pb2.TrackableObjectGraph.FromString(graph).nodes
    except DecodeError as error:
        raise InputError(f"{file}: its object graph cannot be read ({error})") from error
    if not nodes:
        raise InputError(f"{file}: its object graph is empty")
    return nodes


def _encoder(encoder: _Object, config: dict[str, Any], result: Names) -> None:
    layers = config["num_hidden_layers"]
    if "_embedding_layer" in encoder:
        names = [
            "_embedding_layer",
            "_position_embedding_layer",
            "_type_embedding_layer",
            "_embedding_norm_layer",
        ]
        word, position, kind, norm = (encoder[name] for name in names)
        blocks, pooler, projected = (
            encoder["_transformer_layers"],
            encoder["_pooler_layer"],
            "_embedding_projection" in encoder,
        )
        all_blocks = [blocks[str(index)] for index in range(_count(blocks, ""))]
    else:
        numbered = [
            encoder[f"{_NUMBERED}{index}"] for index in range(max(6, _count(encoder, _NUMBERED)))
        ]
        # A projection would come before the layers.
        projected = "_attention_layer" not in numbered[4]
        word, position, kind, norm, *all_blocks, pooler = numbered
    if projected:
        raise UnsupportedError(
            "bert_config.json", "embedding_size", "another width", "the width of the layers"
        )
    if len(all_blocks) != layers:
        raise WeightsError(
            f"{OBJECT_GRAPH}: the encoder has {len(all_blocks)} layers, not {layers}"
        )
    for table, name in ((word, "word"), (position, "position"), (kind, "token_type")):
        attribute = next((attribute for attribute in _TABLE if attribute in table), _TABLE[0])
        result[f"bert.embeddings.{name}_embeddings.weight"] = (table[attribute].key, np.asarray)
    _norm(norm, "bert.embeddings.LayerNorm", result)
    for index, block in enumerate(all_blocks):
        _block(block, f"bert.encoder.layer.{index}", result)
    _dense(pooler, "bert.pooler.dense", result)


def _count(parent: _Object, prefix: str) -> int:
    """The number of numbered children."""
    return sum(
        name.removeprefix(prefix).isdecimal() for name in parent.children if name.startswith(prefix)
    )


def _block(block: _Object, prefix: str, result: Names) -> None:
    attention = block["_attention_layer"]
    for name in ("query", "key", "value"):
        # [hidden, heads, size] each
        _dense(
            attention[f"_{name}_dense"],
            f"{prefix}.attention.self.{name}",
            result,
            lambda x: x.reshape(len(x), -1).T,
        )
    # [heads, size, hidden]
    _dense(
        attention["_output_dense"],
        f"{prefix}.attention.output.dense",
        result,
        lambda x: x.reshape(-1, x.shape[-1]).T,
    )
    _norm(block["_attention_layer_norm"], f"{prefix}.attention.output.LayerNorm", result)
    _dense(block["_intermediate_dense"], f"{prefix}.intermediate.dense", result)
    _dense(block["_output_dense"], f"{prefix}.output.dense", result)
    _norm(block["_output_layer_norm"], f"{prefix}.output.LayerNorm", result)


def _masked_lm(head: _Object, result: Names) -> None:
    _dense(head["dense"], "cls.predictions.transform.dense", result)
    _norm(head["layer_norm"], "cls.predictions.transform.LayerNorm", result)
    result["cls.predictions.bias"] = (head["bias"].key, np.asarray)


def _dense(layer: _Object, name: str, result: Names, change: Change = np.transpose) -> None:
    result[f"{name}.weight"] = (layer["kernel"].key, change)
    flat: Callable[[np.ndarray], np.ndarray] = np.ravel
    result[f"{name}.bias"] = (layer["bias"].key, flat)


def _norm(layer: _Object, name: str, result: Names) -> None:
    result[f"{name}.weight"] = (layer["gamma"].key, np.asarray)
    result[f"{name}.bias"] = (layer["beta"].key, np.asarray)
