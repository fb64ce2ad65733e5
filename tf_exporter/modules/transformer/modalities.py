"""What a Transformer's own config says about its inputs: modalities and processing arguments."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.untyped import Json
from tf_exporter.tokenizers.chat.settings import AUTO, FORMATS, ChatSettings

NONE: Mapping[str, Json] = MappingProxyType({})
_MESSAGE, _TEXT = "message", "text"
_MEDIA = ("image", "audio", "video")
_LONGEST, _TRUNCATING = (True, "longest"), (True, "longest_first")
_SIZES: dict[str, tuple[Json, ...]] = {
    "padding": _LONGEST,
    "truncation": _TRUNCATING,
    "return_tensors": ("pt",),
}
"""Arguments that change the ids in a batch, with the values that change nothing."""
_FIXED: dict[str, tuple[Json, ...]] = {
    "return_assistant_tokens_mask": (False,),
    "sanitize_control_tokens": (False,),
}
"""Arguments of `apply_chat_template` that do not go to the template, with supported values."""
_REFUSED = ("conversation", "tokenize", "return_dict", "common_kwargs", "tokenizer_kwargs")
"""Arguments that sentence-transformers passes itself, so that the reference fails."""


class Processing(NamedTuple):
    """`processing_kwargs`, as far as they matter for texts."""

    max_length: int | None
    """The limit for texts; it takes precedence over all other limits."""
    max_length_key: str
    """The key of the limit, for messages."""
    chat: dict[str, Any]
    """Arguments of `apply_chat_template`."""
    restores_suffix: bool


def read_modalities(
    file: ConfigFile, supported: dict[str, str], without_effect: Mapping[str, Json] = NONE
) -> bool | str:
    """Whether texts become messages: the format of messages, or False.

    Args:
        file: the Transformer's own config.
        supported: the method of the model and its output that texts need.
        without_effect: the supported values of other modalities, which do not change texts.
    """
    modalities: dict[str, Any] = file.take("modality_config", dict, {_TEXT: supported})
    format: bool | str = False
    for name, values in modalities.items():
        part = file.part("modality_config", modalities)
        if name in without_effect and values == without_effect[name]:
            continue
        if name in _MEDIA or "+" in name:
            part.refuse(part.unsupported(name, "text and message: the graph takes strings"))
        elif name not in (_TEXT, _MESSAGE):
            file.ignore(f"modality_config.{name}")
        elif name == _MESSAGE and isinstance(values, dict):
            format = values.get("format", AUTO)
            rest = {key: value for key, value in values.items() if key != "format"}
            if rest != supported or format not in FORMATS:
                part.refuse(part.unsupported(name, f"{supported}, and a format of {FORMATS}"))
        elif values != supported:
            part.refuse(part.unsupported(name, str(supported)))
        with file.refusing():
            part.check()
    if _TEXT not in modalities:
        others = [f"modality_config.{name}" for name in modalities]
        file.refuse(file.unsupported("modality_config", "text, and perhaps message"), *others)
    return format


def read_processing(file: ConfigFile, chats: bool) -> Processing:
    """Reads `processing_kwargs`. `chats`: whether texts become messages.

    Raises:
        UnsupportedError: an argument changes the tokens of a text and is not reproduced.
    """
    kwargs = file.take("processing_kwargs", (dict, type(None)), {}) or {}
    part = file.part("processing_kwargs", kwargs)
    values: dict[str, dict[str, Any]] = {}
    for name in (_TEXT, "chat_template", "common", *_MEDIA):
        values[name] = part.take(name, (dict, type(None)), {}) or {}
    for name in kwargs.keys() - values.keys():
        file.ignore(f"processing_kwargs.{name}")
    own = part.part(_TEXT, values[_TEXT])
    limit = _limit(own)
    # How many logits a causal model returns; only those of the last token are used.
    if own.take("logits_to_keep", int, 1) < 0:
        own.refuse(own.unsupported("logits_to_keep", "a number of at least 0"))
    _finish(own)
    _finish(part.part("common", values["common"]))
    if not chats:
        return Processing(limit, f"{own.prefix}max_length", {}, True)
    chat = part.part("chat_template", values["chat_template"])
    chat_limit = _limit(chat)
    if "max_length" in chat and chat_limit is None:
        # In the reference, null here also undoes the limit for texts.
        chat.refuse(chat.unsupported("max_length", "a positive number"))
    restores = chat.take("restore_suffix", bool, True)
    for key in _REFUSED:
        if key in chat:
            chat.refuse(chat.unsupported(key, "no such argument; sentence-transformers sets it"))
    for key, allowed in {**_SIZES, **_FIXED}.items():
        chat.require(key, allowed)
    chat.check()
    used = {"max_length", "restore_suffix", *_SIZES, *_FIXED}
    arguments = {key: value for key, value in chat.values.items() if key not in used}
    if chat_limit is None:
        return Processing(limit, f"{own.prefix}max_length", arguments, restores)
    return Processing(chat_limit, f"{chat.prefix}max_length", arguments, restores)


def _limit(part: ConfigFile) -> int | None:
    length: int | None = part.take("max_length", (int, type(None)))
    if length is not None and length < 1:
        raise part.unsupported("max_length", "a positive number")
    return length


def _finish(part: ConfigFile) -> None:
    for key, allowed in _SIZES.items():
        part.require(key, allowed)
    part.finish()


def chat_of(format: bool | str, processing: Processing) -> ChatSettings | None:
    """The settings of a Transformer whose texts become messages; None: they do not."""
    if not isinstance(format, str):
        return None
    return ChatSettings(format, processing.chat, processing.restores_suffix)
