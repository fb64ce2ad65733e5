"""Reading config.json: the encoder, the head, and the keys that neither reads."""

from __future__ import annotations

from typing import NamedTuple

from tf_exporter.architectures.encoder_config import FIXED, IGNORED, EncoderConfig
from tf_exporter.architectures.head_configs import HeadConfig
from tf_exporter.architectures.refused import refusal
from tf_exporter.architectures.registry import ARCHITECTURES, MODEL_TYPES, TEXT_PARTS, with_head
from tf_exporter.errors import UnsupportedError
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.reference.keys import NOTES, reads_config_key


class Configs(NamedTuple):
    """The configs of a Transformer module."""

    encoder: EncoderConfig
    head: HeadConfig
    all_layers: bool
    """Whether the config asks for all hidden states, not only the last one."""


def read_architecture(
    file: ConfigFile, model_type: str, task: str, translated: bool = False
) -> Configs:
    """Reads config.json for a `transformer_task`.

    Keys that the reference does not read are listed as ignored. If the model names its own code,
    that code may read any key, so only the keys in `NOTES` are ignored.

    Args:
        file: config.json.
        model_type: the architecture; config.json may have another name for it.
        task: the `transformer_task`.
        translated: whether `file` is the translation of a config for the model's own code.

    Raises:
        InputError: a key is missing.
        UnsupportedError: something in the file is not supported; it has all reasons.
    """
    if model_type in TEXT_PARTS:
        # The reference loads it only together with the processors of images and sounds.
        supported = f"{TEXT_PARTS[model_type]}, the text part saved by itself"
        raise UnsupportedError(file.file, "model_type", model_type, supported)
    if model_type not in ARCHITECTURES:
        supported = refusal(file, model_type, MODEL_TYPES)
        raise UnsupportedError(file.file, "model_type", model_type, supported)
    architecture = ARCHITECTURES[model_type]
    for key, allowed in FIXED.items():
        if key not in architecture.ignored:
            file.require(key, allowed)
    read_head = architecture.head(task)
    if read_head is None:
        supported = f"{task} for {', '.join(with_head(task))}"
        file.refuse(UnsupportedError(file.file, "model_type", model_type, supported))
    file.require("output_hidden_states", (False, True))
    own_code = translated
    if file.take("auto_map", (dict, list, type(None))):
        # The reference uses transformers' class.
        own_code = True
        file.ignore("auto_map")
    try:
        encoder = architecture.config.read(file)
        head = read_head(file, encoder) if read_head else None
    except UnsupportedError as error:
        # After a value of the wrong type, nothing more can be read.
        file.refuse(error)
        file.check()
        raise
    reads = (lambda key: key not in NOTES) if own_code else reads_config_key(model_type)
    file.finish(IGNORED | architecture.ignored, reads)
    assert head is not None
    return Configs(encoder, head, file.values.get("output_hidden_states") is True)
