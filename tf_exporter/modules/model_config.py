"""config_sentence_transformers.json, and what a classifier's config.json says about a model."""

from __future__ import annotations

from typing import Any

from tf_exporter.errors import UnsupportedError
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.source import ModelSource
from tf_exporter.model.torch_activations import TORCH_ACTIVATION_NAMES, TORCH_MODULES
from tf_exporter.modules.late_interaction import LateSettings, is_pylate, read_late_settings
from tf_exporter.modules.module_spec import ModuleSpec
from tf_exporter.modules.transformer.config import read_length
from tf_exporter.names import (
    CROSS_ENCODER,
    KINDS,
    MULTI_VECTOR,
    SENTENCE_TRANSFORMER,
    SPARSE_ENCODER,
)

_MAX_LABELS = 100_000
_HARMLESS = frozenset({"__version__", "keep_in_fp32_modules", "requirements"})
"""Keys of config_sentence_transformers.json that do not change a result.

Everything is computed in float32, and versions of packages matter only to the reference.
"""


def read_model_config(source: ModelSource) -> tuple[dict[str, Any], LateSettings | None]:
    """The settings in config_sentence_transformers.json: the kind of model, prompts and outputs.

    Those of a multi-vector model are in the second part of the result.
    """
    name = "config_sentence_transformers.json"
    file = source.config(name) if source.exists(name) else ConfigFile(name, {})
    kind = file.take("model_type", str, SENTENCE_TRANSFORMER)
    if is_pylate(file) and ("model_type" in file or not _pools(source)):
        kind = MULTI_VECTOR
    if kind not in KINDS:
        raise file.unsupported("model_type", KINDS)
    prompts = file.take("prompts", dict, {})
    for key, prompt in prompts.items():
        if not isinstance(prompt, (str, type(None))):
            file.refuse(UnsupportedError(name, f"prompts.{key}", prompt, "a string"))
    prompts = {key: prompt or "" for key, prompt in prompts.items()}
    late = read_late_settings(file, prompts) if kind == MULTI_VECTOR else None
    default = file.take("default_prompt_name", (str, type(None)))
    if default is not None and default not in {"query": "", "document": "", **prompts}:
        file.refuse(
            file.unsupported("default_prompt_name", prompts or "no name: the model has no prompts")
        )
    lengths = {"truncate_dim": SENTENCE_TRANSFORMER, "max_active_dims": SPARSE_ENCODER}
    settings = {
        "kind": kind,
        "prompts": prompts,
        "default_prompt_name": default,
        **{
            key: read_length(file, key, file.take(key, (int, type(None))))
            if kind == owner
            else None
            for key, owner in lengths.items()
        },
        "similarity_fn_name": None
        if kind == CROSS_ENCODER
        else file.take("similarity_fn_name", (str, type(None))),
        "activation_fn": _activation(file, "activation_fn") if kind == CROSS_ENCODER else None,
    }
    # No class reads the other keys, or only the classes of other kinds of models do.
    file.finish(_HARMLESS, lambda key: False)
    return settings, late


def _pools(source: ModelSource) -> bool:
    """Whether modules.json has a Pooling, which no model of PyLate has."""
    entries = source.read_json("modules.json") if source.exists("modules.json") else []
    types = [
        str(entry.get("type"))
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict)
    ]
    return any(path.rpartition(".")[2] == "Pooling" for path in types)


def plain_activation(config: ConfigFile) -> str | None:
    """The activation in a CrossEncoder's config.json, under the current key or the old one."""
    settings = config.values.get("sentence_transformers")
    if settings is not None and not isinstance(settings, dict):
        raise config.unsupported("sentence_transformers", "an object")
    if settings and "activation_fn" in settings:
        return _activation(config.part("sentence_transformers", settings), "activation_fn")
    return _activation(config, "sbert_ce_default_activation_function")


def _activation(file: ConfigFile, key: str) -> str | None:
    """The torch name of an activation; None: the default.

    The reference trusts only paths in torch. It takes its default instead of any other.
    """
    path: str | None = file.take(key, (str, type(None)))
    if path is None or not path.startswith("torch."):
        return None
    module, _, name = path.rpartition(".")
    if module not in TORCH_MODULES or name not in TORCH_ACTIVATION_NAMES:
        raise file.unsupported(key, f"torch.nn's {', '.join(sorted(TORCH_ACTIVATION_NAMES))}")
    return name


def read_labels(modules: tuple[ModuleSpec, ...]) -> tuple[str, ...]:
    """The names of a classifier's labels by id, as in `transformers.PretrainedConfig`."""
    transformer = modules[0].transformer
    if transformer is None or transformer.task != "sequence-classification":
        return ()
    config = transformer.encoder_config
    architectures = config.take("architectures", (list, type(None))) or []
    id2label = config.take("id2label", (dict, type(None)))
    number = config.take("num_labels", (int, type(None)))
    if not any(str(name).endswith("ForSequenceClassification") for name in architectures):
        # The reference then makes a new head with one label and random weights.
        raise config.unsupported("architectures", "a model for sequence classification")
    if number is not None and not 1 <= number <= _MAX_LABELS:
        raise config.unsupported("num_labels", f"a number from 1 to {_MAX_LABELS:,}")
    if id2label is None:
        return tuple(f"LABEL_{index}" for index in range(2 if number is None else number))
    if sorted(id2label) != sorted(map(str, range(len(id2label)))) or not id2label:
        raise config.unsupported("id2label", "labels 0, 1, …")
    if number is not None and number != len(id2label):
        raise config.unsupported("num_labels", f"{len(id2label)}, the number of labels in id2label")
    return tuple(str(id2label[str(index)]) for index in range(len(id2label)))
