"""Objects in checkpoints of the Model Garden's BERT encoders → names of transformers.

`tf.train.Checkpoint(encoder=…)`, and `model=` of older ones, of `BertEncoder` and `BertEncoderV2` in tf-models-official 2.20; the
first is a Keras functional model, whose layers are numbered. What a variable is called in the file depends on all that was saved
with it, so it is looked up in the graph of objects that the file holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tf_exporter.errors import InputError, UnsupportedError, WeightsError
from tf_exporter.google.tf1 import Change, Names

OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_ROOTS = ("encoder", "model")
_NUMBERED = "layer_with_weights-"
_TABLE = ("embeddings", "_position_embeddings", "position_embeddings")
"""Attributes that embedding layers have had."""


class _Object:
    """An object of the checkpoint, and its parts by name."""

    def __init__(self, nodes: Any, index: int = 0) -> None:
        self._nodes, self._node = nodes, nodes[index]
        self.children = {child.local_name: child.node_id for child in self._node.children}

    def __contains__(self, name: str) -> bool:
        return name in self.children

    def __getitem__(self, name: str) -> _Object:
        index = self.children.get(name)
        if index is None or not 0 <= index < len(self._nodes):
            raise WeightsError(f"{OBJECT_GRAPH}: an object {name} is missing, which the Model Garden's encoder has")
        return _Object(self._nodes, index)

    @property
    def key(self) -> str:
        """Of a variable: under which name its values are in the file."""
        if len(self._node.attributes) != 1:
            raise WeightsError(f"{OBJECT_GRAPH}: an object is no variable, where the Model Garden's encoder has one")
        key: str = self._node.attributes[0].checkpoint_key
        return key


def names(file: str, graph: bytes, shapes: dict[str, list[int]], config: dict[str, Any]) -> Names:
    """The encoder's variables, and those of the masked language model's head where it is there.

    Raises:
        InputError: the graph of objects cannot be read.
        WeightsError: a variable is missing, or the encoder has more of them.
        UnsupportedError: the embeddings are narrower than the layers.
    """
    root = _Object(_nodes(file, graph))
    name = next((name for name in _ROOTS if name in root), None)
    if name is None:
        raise WeightsError(f"{file}: neither of {', '.join(_ROOTS)} is in the checkpoint; it has {', '.join(root.children)}")
    found: Names = {}
    _encoder(root[name], config, found)
    if "masked_lm" in root:
        _masked_lm(root["masked_lm"], found)
    used = {key for key, _ in found.values()}
    for key in used - shapes.keys():
        raise WeightsError(f"{file}: variable {key} is missing")
    for key in sorted(shapes.keys() - used):
        if key.startswith(f"{name}/") and ".OPTIMIZER_SLOT" not in key:
            raise WeightsError(f"{file}: variable {key} has no place in BERT")
    return found


def _nodes(file: str, graph: bytes) -> Any:
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    try:
        nodes = trackable_object_graph_pb2.TrackableObjectGraph.FromString(graph).nodes
    except DecodeError as error:
        raise InputError(f"{file}: its graph of objects cannot be read ({error})") from error
    if not nodes:
        raise InputError(f"{file}: its graph of objects is empty")
    return nodes


def _encoder(encoder: _Object, config: dict[str, Any], found: Names) -> None:
    layers = config["num_hidden_layers"]
    if "_embedding_layer" in encoder:
        names = ["_embedding_layer", "_position_embedding_layer", "_type_embedding_layer", "_embedding_norm_layer"]
        word, position, kind, norm = (encoder[name] for name in names)
        blocks, pooler, projected = encoder["_transformer_layers"], encoder["_pooler_layer"], "_embedding_projection" in encoder
        all_blocks = [blocks[str(index)] for index in range(_count(blocks, ""))]
    else:
        numbered = [encoder[f"{_NUMBERED}{index}"] for index in range(max(6, _count(encoder, _NUMBERED)))]
        # A projection would stand before the layers.
        projected = "_attention_layer" not in numbered[4]
        word, position, kind, norm, *all_blocks, pooler = numbered
    if projected:
        raise UnsupportedError("bert_config.json", "embedding_size", "another width", "that of the layers")
    if len(all_blocks) != layers:
        raise WeightsError(f"{OBJECT_GRAPH}: the encoder has {len(all_blocks)} layers, not {layers}")
    for table, name in ((word, "word"), (position, "position"), (kind, "token_type")):
        attribute = next((attribute for attribute in _TABLE if attribute in table), _TABLE[0])
        found[f"bert.embeddings.{name}_embeddings.weight"] = (table[attribute].key, np.asarray)
    _norm(norm, "bert.embeddings.LayerNorm", found)
    for index, block in enumerate(all_blocks):
        _block(block, f"bert.encoder.layer.{index}", found)
    _dense(pooler, "bert.pooler.dense", found)


def _count(parent: _Object, prefix: str) -> int:
    """How many numbered parts there are."""
    return sum(name.removeprefix(prefix).isdecimal() for name in parent.children if name.startswith(prefix))


def _block(block: _Object, at: str, found: Names) -> None:
    attention = block["_attention_layer"]
    for name in ("query", "key", "value"):
        # [hidden, heads, size] each
        _dense(attention[f"_{name}_dense"], f"{at}.attention.self.{name}", found, lambda x: x.reshape(len(x), -1).T)
    # [heads, size, hidden]
    _dense(attention["_output_dense"], f"{at}.attention.output.dense", found, lambda x: x.reshape(-1, x.shape[-1]).T)
    _norm(block["_attention_layer_norm"], f"{at}.attention.output.LayerNorm", found)
    _dense(block["_intermediate_dense"], f"{at}.intermediate.dense", found)
    _dense(block["_output_dense"], f"{at}.output.dense", found)
    _norm(block["_output_layer_norm"], f"{at}.output.LayerNorm", found)


def _masked_lm(head: _Object, found: Names) -> None:
    _dense(head["dense"], "cls.predictions.transform.dense", found)
    _norm(head["layer_norm"], "cls.predictions.transform.LayerNorm", found)
    found["cls.predictions.bias"] = (head["bias"].key, np.asarray)


def _dense(layer: _Object, name: str, found: Names, change: Change = np.transpose) -> None:
    found[f"{name}.weight"] = (layer["kernel"].key, change)
    flat: Callable[[np.ndarray], np.ndarray] = np.ravel
    found[f"{name}.bias"] = (layer["bias"].key, flat)


def _norm(layer: _Object, name: str, found: Names) -> None:
    found[f"{name}.weight"] = (layer["gamma"].key, np.asarray)
    found[f"{name}.bias"] = (layer["beta"].key, np.asarray)
