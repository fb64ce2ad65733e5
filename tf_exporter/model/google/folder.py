"""A folder with one of Google's BERT checkpoints, read as a folder of transformers.

It has bert_config.json, vocab.txt and a checkpoint (bert_model.ckpt.index, bert_model.ckpt.data-…).
The stand-ins for them are config.json, tokenizer_config.json and model.safetensors.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tf_exporter.errors import InputError, UsageError, WeightsError, one_line
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.google import tf1, tf2
from tf_exporter.model.source import TOKENIZER_LIMIT, ModelSource

logger = logging.getLogger("tf_exporter")

CONFIG = "bert_config.json"
_VOCABULARY = "vocab.txt"
_INDEX = ".index"
_WEIGHTS = "model.safetensors"
_ACTIVATIONS = {"gelu": "gelu_new", "relu": "relu"}
"""Google's name → transformers' name. Both of Google's code bases approximate GELU by tanh."""
_NUMBERS = {
    "vocab_size": 0,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
    "type_vocab_size": 16,
}
"""Key → Google's default; the vocabulary has none."""
_RATES = ("hidden_dropout_prob", "attention_probs_dropout_prob")
_IGNORED = frozenset(
    """
    initializer_range directionality pooler_fc_size pooler_num_attention_heads
    pooler_num_fc_layers pooler_size_per_head pooler_type backward_compatible
    """.split()
)
_EPS = 1e-12
"""The epsilon of layer norms, fixed in Google's code."""


def is_googles(source: ModelSource) -> bool:
    """Whether a folder has Google's files, and none of transformers or sentence-transformers."""
    others = ("config.json", "modules.json")
    return source.exists(CONFIG) and not any(source.exists(name) for name in others)


@contextmanager
def translated(source: ModelSource, do_lower_case: bool | None, parent: Path) -> Iterator[None]:
    """Gives the model stand-ins for the files that transformers would have saved.

    Args:
        source: the folder with Google's files.
        do_lower_case: whether texts are lowercased; None: if the vocabulary has no capitals.
        parent: a folder for temporary files that is removed even if this process is killed.

    Raises:
        InputError: a file is missing or is not what it claims to be.
        UnsupportedError: the config is not that of BERT.
        OSError: the temporary files cannot be written.
    """
    config = _config(source)
    if not source.exists(_VOCABULARY):
        raise InputError(
            f"{_VOCABULARY}: missing; the vocabulary, one piece per line, must be beside {CONFIG}"
        )
    if do_lower_case is None:
        do_lower_case = not _has_capitals(source.read_bytes(_VOCABULARY, TOKENIZER_LIMIT))
        logger.info(
            "texts are %s, as the vocabulary is; see --do-lower-case",
            "lower-cased" if do_lower_case else "not lower-cased",
        )
    tensors = _tensors(source, config)
    with tempfile.TemporaryDirectory(dir=parent) as place:
        from safetensors import SafetensorError
        from safetensors.numpy import save_file

        try:
            save_file(tensors, Path(place) / _WEIGHTS, metadata={"format": "pt"})
        except SafetensorError as error:
            raise OSError(one_line(error)) from error
        source.stand_ins |= {
            _WEIGHTS: Path(place) / _WEIGHTS,
            "config.json": {**config, **_architecture(tensors)},
            "tokenizer_config.json": {
                "tokenizer_class": "BertTokenizer",
                "do_lower_case": do_lower_case,
                "model_max_length": config["max_position_embeddings"],
            },
        }
        yield


def check_lower_case(do_lower_case: bool | None) -> None:
    """Refuses the option if the tokenizer's own files decide it."""
    if do_lower_case is not None:
        word = "--do-lower-case" if do_lower_case else "--no-do-lower-case"
        raise UsageError(
            f"{word}: only for preprocessing, encoders and Google's checkpoints; "
            "this model's tokenizer decides it"
        )


def _config(source: ModelSource) -> dict[str, Any]:
    file = ConfigFile(CONFIG, source.read_object(CONFIG))
    config: dict[str, Any] = {"model_type": "bert", "layer_norm_eps": _EPS}
    for key, default in _NUMBERS.items():
        number = file.take(key, int, default)
        if number < 1:
            raise file.unsupported(key, "a positive number")
        config[key] = number
    config |= {key: file.take(key, (int, float), 0.1) for key in _RATES}
    act = file.take("hidden_act", str, "gelu")
    if act not in _ACTIVATIONS:
        raise file.unsupported("hidden_act", _ACTIVATIONS)
    config["hidden_act"] = _ACTIVATIONS[act]
    file.require("embedding_size", (None, config["hidden_size"]))
    file.finish(_IGNORED)
    return config


def _has_capitals(vocabulary: bytes) -> bool:
    """Whether a word piece has a capital letter; special tokens, in brackets, do not count."""
    pieces = vocabulary.decode("utf-8", errors="replace").splitlines()
    return any(
        piece != piece.lower()
        for piece in pieces
        if not (piece.startswith("[") and piece.endswith("]"))
    )


def _tensors(source: ModelSource, config: dict[str, Any]) -> dict[str, np.ndarray]:
    """Name in transformers → float32 array."""
    import tensorflow as tf

    indices = sorted(path.name for path in source.folder.glob(f"*{_INDEX}"))
    if len(indices) != 1:
        listed = ", ".join(indices) or "none"
        raise InputError(
            f"*.ckpt{_INDEX}: exactly one checkpoint is expected beside {CONFIG}; got {listed}"
        )
    prefix = indices[0].removesuffix(_INDEX)
    for path in sorted(source.folder.glob(f"{prefix}.*")):
        source.record(path.name)
    try:
        reader = tf.train.load_checkpoint(str(source.path(indices[0]))[: -len(_INDEX)])
        shapes: dict[str, list[int]] = reader.get_variable_to_shape_map()

        def read(name: str) -> np.ndarray:
            array = np.asarray(reader.get_tensor(name))
            if array.dtype.name not in ("float32", "float16", "float64", "bfloat16"):
                raise WeightsError(
                    f"{prefix}: variable {name} is {array.dtype.name}, not floating point"
                )
            return np.ascontiguousarray(array.astype(np.float32))

        graph = reader.get_tensor(tf2.OBJECT_GRAPH) if tf2.OBJECT_GRAPH in shapes else None
        names: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]]
        names = (
            tf1.names(prefix, shapes) if graph is None else tf2.names(prefix, graph, shapes, config)
        )
        return {
            name: np.ascontiguousarray(change(read(key))) for name, (key, change) in names.items()
        }
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        raise InputError(
            f"{prefix}: not a checkpoint that TensorFlow can read ({one_line(error)})"
        ) from error


def _architecture(tensors: dict[str, np.ndarray]) -> dict[str, Any]:
    if "classifier.weight" in tensors:
        labels = range(len(tensors["classifier.weight"]))
        names = {str(number): f"LABEL_{number}" for number in labels}
        return {"architectures": ["BertForSequenceClassification"], "id2label": names}
    head = any(name.startswith("cls.predictions.") for name in tensors)
    return {"architectures": ["BertForPreTraining" if head else "BertModel"]}
