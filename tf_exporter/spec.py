"""What a model consists of: modules.json and the configs beside it, in the layouts of sentence-transformers ≤ 5 and 6."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tf_exporter.errors import InputError, UnsupportedError
from tf_exporter.modules import MODULES
from tf_exporter.published import native, translated
from tf_exporter.source import ConfigFile, ModelSource

_NAMESPACES = (
    "sentence_transformers.models",
    "sentence_transformers.base.modules",
    "sentence_transformers.sentence_transformer.modules",
)
_TRANSFORMER_CONFIGS = tuple(
    f"sentence_{name}_config.json" for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
_MODALITY_CONFIG = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
_TRUST = "trust_remote_code"
"""Taken out of a model's configs by sentence-transformers too."""
_HARMLESS_MODEL_KWARGS = {"attn_implementation", "dtype", "torch_dtype", "add_pooling_layer", _TRUST}
"""The reference is run with its own dtype and attention; the pooler is no part of an embedding."""


@dataclass(frozen=True)
class TransformerSpec:
    """The first module: a tokenizer and an encoder."""

    folder: str
    model_type: str
    encoder_config: ConfigFile
    do_lower_case: bool
    max_seq_length: int | None
    """As configured; None: the tokenizer's, capped at the encoder's positions."""
    text_max_length: int | None
    """`processing_kwargs.text.max_length`, which goes before all others."""
    native_config: dict[str, Any] | None = None
    """What transformers gets to see in place of a config.json that was written for code on the Hub."""


@dataclass(frozen=True)
class ModuleSpec:
    """A module after the first."""

    kind: str
    folder: str
    config: ConfigFile


@dataclass(frozen=True)
class ModelSpec:
    """A whole model."""

    transformer: TransformerSpec
    modules: tuple[ModuleSpec, ...]
    prompts: dict[str, str]
    default_prompt_name: str | None
    truncate_dim: int | None
    similarity_fn_name: str | None


def read_model(source: ModelSource) -> ModelSpec:
    """The spec of a model folder; without modules.json, mean pooling over a plain transformers model.

    Raises:
        InputError: files are missing or are not what they claim to be.
        UnsupportedError: something in them is not reproduced.
    """
    if not source.exists("modules.json"):
        if not source.exists("config.json"):
            raise InputError(f"{source.name}: neither modules.json nor config.json, so not a model")
        transformer = _read_transformer(source, "", ConfigFile("(no modules.json)", {}))
        _check_plain(source, transformer.encoder_config)
        hidden = transformer.encoder_config.values.get("hidden_size", transformer.encoder_config.values.get("dim"))
        pooling = ConfigFile("(no modules.json)", {"embedding_dimension": hidden, "pooling_mode": "mean"})
        return ModelSpec(transformer, (ModuleSpec("Pooling", "", pooling),), {}, None, None, None)
    entries = _read_entries(source)
    kind, folder = entries[0]
    if kind != "Transformer":
        raise UnsupportedError("modules.json", "[0].type", kind, "Transformer as the first module")
    transformer = _read_transformer(source, folder, _first_config(source, folder))
    modules = tuple(_read_module(source, index, *entry) for index, entry in enumerate(entries) if index)
    return ModelSpec(transformer, modules, **_read_model_config(source))


def _check_plain(source: ModelSource, config: ConfigFile) -> None:
    """Refuses what the reference does not mean-pool, or puts into a chat template first."""
    architectures = config.values.get("architectures") or []
    if not isinstance(architectures, list) or any(not isinstance(name, str) for name in architectures):
        raise UnsupportedError(config.file, "architectures", architectures, "a list of names")
    if architectures and architectures[0].endswith("ForCausalLM"):
        raise UnsupportedError(config.file, "architectures", architectures, "encoders, where there is no modules.json")
    for name in ("chat_template.jinja", "additional_chat_templates", "chat_template.json"):
        if source.path(name).exists():
            raise UnsupportedError(name, "chat template", name, "none, where there is no modules.json")
    name = "tokenizer_config.json"
    if source.exists(name) and (template := source.read_object(name).get("chat_template")):
        raise UnsupportedError(name, "chat_template", template, "none, where there is no modules.json")


def _read_entries(source: ModelSource) -> list[tuple[str, str]]:
    """(kind, folder) of each module."""
    entries = source.read_json("modules.json")
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise InputError("modules.json: a list of modules is expected")
    found, names = [], set()
    for index, entry in enumerate(entries):
        file = ConfigFile("modules.json", entry)
        file.take("idx", int)
        name, folder, path = (file.take(key, str, required=True) for key in ("name", "path", "type"))
        file.require("kwargs", ([],))
        file.finish()
        namespace, _, kind = path.rpartition(".")
        if not any(namespace == known or namespace.startswith(known + ".") for known in _NAMESPACES):
            supported = f"modules of {', '.join(_NAMESPACES)}; code of a model is never run"
            raise UnsupportedError("modules.json", f"[{index}].type", path, supported)
        if name in names:
            raise InputError(f"modules.json: two modules are named {name!r}")
        names.add(name)
        source.path(folder or ".")
        found.append((kind, folder.strip("/")))
    return found


def _read_module(source: ModelSource, index: int, kind: str, folder: str) -> ModuleSpec:
    if kind not in MODULES:
        raise UnsupportedError("modules.json", f"[{index}].type", kind, ["Transformer (first)", *MODULES])
    name = f"{folder}/config.json" if folder else "config.json"
    if kind in ("Normalize", "Dropout") and not source.exists(name):
        return ModuleSpec(kind, folder, ConfigFile(name, {}))
    return ModuleSpec(kind, folder, ConfigFile(name, source.read_object(name)))


def _first_config(source: ModelSource, folder: str) -> ConfigFile:
    """The Transformer module's own config: the first of its names that exists and is not empty."""
    for name in _TRANSFORMER_CONFIGS:
        path = f"{folder}/{name}" if folder else name
        if source.exists(path) and (values := source.read_object(path)):
            return ConfigFile(path, values)
    return ConfigFile(_TRANSFORMER_CONFIGS[0], {})


def _read_transformer(source: ModelSource, folder: str, file: ConfigFile) -> TransformerSpec:
    file.require("transformer_task", ("feature-extraction",))
    file.require("modality_config", (_MODALITY_CONFIG,))
    file.require("module_output_name", ("token_embeddings",))
    for key in ("query_length", "document_length", "query_expansion", "tokenizer_name_or_path"):
        file.require(key, (None,))
    file.take("unpad_inputs", (bool, type(None)))
    for key in ("config_args", "config_kwargs"):
        file.require(key, ({}, None, {_TRUST: True}, {_TRUST: False}))
    for key in ("model_args", "model_kwargs"):
        kwargs = file.take(key, (dict, type(None)), {}) or {}
        if unknown := kwargs.keys() - _HARMLESS_MODEL_KWARGS:
            raise UnsupportedError(file.file, f"{key}.{min(unknown)}", kwargs[min(unknown)], _HARMLESS_MODEL_KWARGS)
    max_seq_length = _length(file, "max_seq_length", file.take("max_seq_length", (int, type(None))))
    for old, new in (("tokenizer_args", "processor_kwargs"), ("model_args", "model_kwargs"), ("config_args", "config_kwargs")):
        if old in file and new in file:
            raise UnsupportedError(file.file, old, file.values[old], f"{new} alone, not both")
    for key in ("tokenizer_args", "processor_kwargs"):
        kwargs = file.take(key, (dict, type(None)), {}) or {}
        if unknown := kwargs.keys() - {"model_max_length", _TRUST}:
            raise UnsupportedError(file.file, f"{key}.{min(unknown)}", kwargs[min(unknown)], "model_max_length")
        if "model_max_length" in kwargs:
            max_seq_length = _length(file, f"{key}.model_max_length", kwargs["model_max_length"])
    do_lower_case = file.take("do_lower_case", bool, False)
    text_max_length = _read_text_max_length(file)
    file.finish()
    adapter = f"{folder}/adapter_config.json" if folder else "adapter_config.json"
    if source.exists(adapter):
        raise UnsupportedError(adapter, "peft_type", "an adapter", "models with their adapters merged")
    name = f"{folder}/config.json" if folder else "config.json"
    encoder_config = ConfigFile(name, source.read_object(name))
    translation = translated(encoder_config)
    encoder_config = translation or encoder_config
    model_type = encoder_config.take("model_type", str, required=True)
    return TransformerSpec(
        folder,
        model_type,
        encoder_config,
        do_lower_case,
        max_seq_length,
        text_max_length,
        native_config=native(translation),
    )


def _length(file: ConfigFile, key: str, value: Any) -> int | None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise UnsupportedError(file.file, key, value, "a positive number")
    return value


def _read_text_max_length(file: ConfigFile) -> int | None:
    kwargs = file.take("processing_kwargs", (dict, type(None)), {}) or {}
    text = kwargs.get("text", {})
    if kwargs.keys() - {"text"} or not isinstance(text, dict) or text.keys() - {"max_length"}:
        raise UnsupportedError(file.file, "processing_kwargs", kwargs, "text.max_length")
    return _length(file, "processing_kwargs.text.max_length", text.get("max_length"))


def _read_model_config(source: ModelSource) -> dict[str, Any]:
    """Prompts and the rest of config_sentence_transformers.json."""
    name = "config_sentence_transformers.json"
    file = ConfigFile(name, source.read_object(name) if source.exists(name) else {})
    file.require("model_type", ("SentenceTransformer",))
    for key in ("max_active_dims", "activation_fn"):
        file.require(key, (None,))
    prompts = file.take("prompts", dict, {})
    for key, prompt in prompts.items():
        if not isinstance(prompt, (str, type(None))):
            raise UnsupportedError(name, f"prompts.{key}", prompt, "a string")
    prompts = {key: prompt or "" for key, prompt in prompts.items()}
    default = file.take("default_prompt_name", (str, type(None)))
    if default is not None and default not in {"query": "", "document": "", **prompts}:
        raise UnsupportedError(name, "default_prompt_name", default, prompts or "no name: the model has no prompts")
    truncate_dim = _length(file, "truncate_dim", file.take("truncate_dim", (int, type(None))))
    similarity = file.take("similarity_fn_name", (str, type(None)))
    file.finish(frozenset({"__version__", "requirements"}))
    return {
        "prompts": prompts,
        "default_prompt_name": default,
        "truncate_dim": truncate_dim,
        "similarity_fn_name": similarity,
    }
