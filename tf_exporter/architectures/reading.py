"""Reading all that config.json says of a model: its encoder, its head, and the keys that neither reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tf_exporter.architectures.config import FIXED, IGNORED, EncoderConfig
from tf_exporter.architectures.heads import HeadConfig
from tf_exporter.architectures.registry import ARCHITECTURES, with_head
from tf_exporter.errors import UnsupportedError
from tf_exporter.model.config_file import ConfigFile


class Configs(NamedTuple):
    """What a Transformer module is built from."""

    encoder: EncoderConfig
    head: HeadConfig
    all_layers: bool
    """Whether what goes into each layer is asked for, besides what comes out of the last."""


def read_architecture(file: ConfigFile, model_type: str, task: str, reads: Callable[[str], bool] = lambda key: True) -> Configs:
    """Reads config.json for a `transformer_task`.

    Args:
        file: config.json.
        model_type: the architecture; config.json may have another name for it.
        task: the `transformer_task`.
        reads: whether the reference reads a key. Keys that it does not read are listed as ignored.

    Raises:
        InputError: a key is missing.
        UnsupportedError: something in the file is not reproduced; with all reasons.
    """
    if model_type not in ARCHITECTURES:
        known = [name for name, architecture in ARCHITECTURES.items() if architecture.verified]
        raise UnsupportedError(file.file, "model_type", model_type, known)
    architecture = ARCHITECTURES[model_type]
    for key, allowed in FIXED.items():
        if key not in architecture.ignored:
            file.require(key, allowed)
    read_head = architecture.head(task)
    if read_head is None:
        supported = f"{task} for {', '.join(with_head(task))}"
        file.refuse(UnsupportedError(file.file, "model_type", model_type, supported))
    all_layers = _read_all_layers(file, architecture.collects_layers and task == "feature-extraction")
    try:
        encoder = architecture.config.read(file)
        head = read_head(file, encoder) if read_head else None
    except UnsupportedError as error:
        # Of a value of another type than is expected, nothing more can be read.
        file.refuse(error)
        file.check()
        raise
    file.finish(IGNORED | architecture.ignored, reads)
    assert head is not None
    return Configs(encoder, head, all_layers)


def _read_all_layers(file: ConfigFile, supported: bool) -> bool:
    """`output_hidden_states`: whether the layers are asked for."""
    asked = file.values.get("output_hidden_states") is True
    if asked and not supported:
        layers = "False; layers are given of bert and its relatives without a head alone"
        file.refuse(file.unsupported("output_hidden_states", layers))
    file.require("output_hidden_states", (False, True) if supported else (False,))
    return asked
