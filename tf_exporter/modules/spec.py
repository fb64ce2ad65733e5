"""The spec of a model: modules.json and the configs beside it.

They can be in the layout of sentence-transformers ≤ 5 or 6.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tf_exporter.errors import InputError, Refusals, UnsupportedError
from tf_exporter.model.adapters.config import read_adapter
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.source import CONFIG_LIMIT, TOKENIZER_LIMIT, ModelSource
from tf_exporter.model.torch_activations import TORCH_ACTIVATION_NAMES, TORCH_MODULES
from tf_exporter.modules.configs import MODULE_KINDS, TAKES_TEXTS
from tf_exporter.modules.module_spec import ModuleSpec, by_task
from tf_exporter.modules.router import (
    MAX_MODULES,
    ONE_ROUTE,
    ROUTERS,
    Routes,
    module_kind,
    read_routes,
)
from tf_exporter.modules.transformer.config import (
    TASK_MODULE,
    TransformerSpec,
    first_config,
    read_length,
    read_transformer,
)
from tf_exporter.names import CROSS_ENCODER, KINDS, SENTENCE_TRANSFORMER, SPARSE_ENCODER
from tf_exporter.tokenizers.chat.settings import ChatSettings

_CONFIG_NAMES = {
    "CNN": "cnn_config.json",
    "LSTM": "lstm_config.json",
    "WordEmbeddings": "wordembedding_config.json",
}
"""Kind → the name of its config, if that is not config.json."""
_TRANSFORMERS = {
    "CLIPModel": "feature-extraction",
    "MLMTransformer": "fill-mask",
    "Transformer": "feature-extraction",
    TASK_MODULE: "feature-extraction",
}
"""Kind → its `transformer_task`, if the config has none."""
_WITHOUT_CONFIG = ("Dropout", "Normalize", "SparseStaticEmbedding", "SpladePooling")
_VOCABULARIES = ("BoW", "WordWeights")
"""Kinds whose config contains the vocabulary."""
_MAX_LABELS = 100_000
_HARMLESS = frozenset({"__version__", "keep_in_fp32_modules", "requirements"})
"""Keys of config_sentence_transformers.json that do not change a result.

Everything is computed in float32, and versions of packages matter only to the reference.
"""


@dataclass(frozen=True)
class ModelSpec:
    """A whole model."""

    kind: str
    """One of `KINDS`."""
    pipelines: dict[str, tuple[ModuleSpec, ...]]
    """Route → all modules that a text goes through. Without a Router, the only route is ""."""
    tasks: dict[str, str]
    """Task → route. The task "" is that of texts without a task."""
    prompts: dict[str, str]
    default_prompt_name: str | None
    truncate_dim: int | None
    similarity_fn_name: str | None
    max_active_dims: int | None
    activation_fn: str | None
    """The activation of a CrossEncoder's scores, by its torch name; None: the default."""
    labels: tuple[str, ...]
    """The label of each score of a CrossEncoder."""

    @property
    def by_adapters(self) -> bool:
        """Whether the tasks are those of adapters beside the weights of one Transformer."""
        return any(transformer.tasks for transformer in self.transformers)

    def adapter_folders(self) -> dict[str, str]:
        """Route → the folder of its adapter in the reference's view, if tasks have adapters."""
        firsts = {route: modules[0] for route, modules in self.pipelines.items()}
        return {
            route: first.transformer.tasks.folder(first.task)
            for route, first in firsts.items()
            if first.task is not None and first.transformer and first.transformer.tasks
        }

    @property
    def transformers(self) -> list[TransformerSpec]:
        """The Transformer modules of all routes, each once."""
        modules = [module for pipeline in self.pipelines.values() for module in pipeline]
        return [
            module.transformer
            for module in {
                id(module.transformer): module for module in modules if module.transformer
            }.values()
            if module.transformer
        ]


def read_model(source: ModelSource) -> ModelSpec:
    """The spec of a model folder.

    Without modules.json, a model for sequence classification is a CrossEncoder. Any other model
    gets a pooling: the last token for a causal language model, else the mean.

    Raises:
        InputError: files are missing or are not what they claim to be.
        UnsupportedError: something in them is not reproduced.
    """
    if not source.exists("modules.json"):
        return _read_plain(source)
    settings = _read_model_config(source)
    pipelines, tasks = _read_pipelines(source, settings["max_active_dims"])
    for modules in pipelines.values():
        _check_order(modules)
    first = next(iter(pipelines.values()))
    for modules in pipelines.values():
        if settings["kind"] == CROSS_ENCODER and modules[0].transformer is None:
            raise UnsupportedError(
                "modules.json", "[0].type", modules[0].kind, "Transformer, for a CrossEncoder"
            )
    labels = _read_labels(first)
    if (
        settings["kind"] == CROSS_ENCODER
        and settings["activation_fn"] is None
        and first[0].transformer is not None
    ):
        settings["activation_fn"] = _plain_activation(first[0].transformer.encoder_config)
    return ModelSpec(pipelines=pipelines, tasks=tasks, labels=labels, **settings)


def read_encoder(source: ModelSource) -> TransformerSpec:
    """The spec of a plain transformers model, or of a model's only Transformer module."""
    if not source.exists("modules.json"):
        return read_transformer(source, "", ConfigFile("(no modules.json)", {}))
    spec = read_model(source)
    if len(spec.transformers) != 1:
        kinds = [module.kind for modules in spec.pipelines.values() for module in modules]
        raise UnsupportedError("modules.json", "type", kinds, "exactly one Transformer")
    return spec.transformers[0]


def _read_pipelines(
    source: ModelSource, max_active_dims: int | None
) -> tuple[dict[str, tuple[ModuleSpec, ...]], dict[str, str]]:
    """The modules of each route, including those around a Router; and the route of each task."""
    modules: list[ModuleSpec] = []
    routes: Routes | None = None
    for index, (kind, folder) in enumerate(_read_entries(source)):
        if kind in ROUTERS:
            if routes is not None:
                raise UnsupportedError("modules.json", f"[{index}].type", kind, "one Router")
            routes = read_routes(source, folder)
            before = len(modules)
        else:
            module = _read_module(source, f"[{index}].type", "modules.json", kind, folder)
            if kind == "SparseAutoEncoder" and max_active_dims is not None:
                # The reference gives the model's limit to these modules, not to those of a Router.
                values = {**module.config.values, "max_active_dims": max_active_dims}
                module = replace(module, config=module.config.replaced(values))
            modules.append(module)
    if routes is None:
        return by_task(modules)
    routed = {
        name: _read_module(source, f"types.{name}", routes.file, kind, folder)
        for name, (kind, folder) in routes.modules.items()
    }
    pipelines = {
        route: (*modules[:before], *(routed[name] for name in names), *modules[before:])
        for route, names in routes.structure.items()
    }
    return pipelines, routes.tasks


def _check_order(modules: tuple[ModuleSpec, ...]) -> None:
    kinds = [module.kind for module in modules]
    if not kinds or kinds[0] not in TAKES_TEXTS:
        raise UnsupportedError(
            "modules.json", "[0].type", kinds[:1], f"one of {', '.join(TAKES_TEXTS)}, as the first"
        )
    for kind in kinds[1:]:
        if kind in TAKES_TEXTS and kind != "SparseStaticEmbedding":
            raise UnsupportedError("modules.json", "type", kind, f"{kind} as the first module only")


def _read_plain(source: ModelSource) -> ModelSpec:
    adapter = read_adapter(source, "")
    if adapter is None and not source.exists("config.json"):
        raise InputError(f"{source.name}: neither modules.json nor config.json, so not a model")
    file = ConfigFile("(no modules.json)", {})
    home, name = (adapter.base, adapter.base_config) if adapter else (source, "config.json")
    config = home.read_object(name)
    architectures = config.get("architectures") or []
    if not isinstance(architectures, list) or any(
        not isinstance(name, str) for name in architectures
    ):
        raise UnsupportedError("config.json", "architectures", architectures, "a list of names")
    classifies = bool(architectures) and architectures[0].endswith("ForSequenceClassification")
    transformer = read_transformer(
        source, "", file, "sequence-classification" if classifies else "feature-extraction"
    )
    # The reference uses a chat template if there is one.
    transformer = replace(transformer, chat=ChatSettings(required=False))
    module = ModuleSpec("Transformer", "", file, transformer)
    if classifies:
        activation = _plain_activation(transformer.encoder_config)
        labels = _read_labels((module,))
        return ModelSpec(
            CROSS_ENCODER,
            {"": (module,)},
            ONE_ROUTE,
            {},
            None,
            None,
            None,
            None,
            activation,
            labels,
        )
    if transformer.output == "sentence_embedding":
        return ModelSpec(
            SENTENCE_TRANSFORMER, {"": (module,)}, ONE_ROUTE, {}, None, None, None, None, None, ()
        )
    causal = (
        bool(architectures)
        and architectures[0].endswith("ForCausalLM")
        and config.get("is_causal", True)
    )
    mode = "lasttoken" if causal else "mean"
    pooling = ModuleSpec(
        "Pooling",
        "",
        ConfigFile("(no modules.json)", {"embedding_dimension": 0, "pooling_mode": mode}),
    )
    return ModelSpec(
        SENTENCE_TRANSFORMER,
        {"": (module, pooling)},
        ONE_ROUTE,
        {},
        None,
        None,
        None,
        None,
        None,
        (),
    )


def _plain_activation(config: ConfigFile) -> str | None:
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


def _read_labels(modules: tuple[ModuleSpec, ...]) -> tuple[str, ...]:
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


def _read_entries(source: ModelSource) -> list[tuple[str, str]]:
    """(kind, folder) of each module."""
    entries = source.read_json("modules.json")
    if (
        not isinstance(entries, list)
        or not entries
        or not all(isinstance(entry, dict) for entry in entries)
    ):
        raise InputError("modules.json: a list of modules is expected")
    if len(entries) > MAX_MODULES:
        raise UnsupportedError(
            "modules.json", "length", len(entries), f"at most {MAX_MODULES} modules"
        )
    modules, names, refusals = [], set(), Refusals()
    for index, entry in enumerate(entries):
        with refusals.part():
            name, kind, folder = _read_entry(
                source, ConfigFile("modules.json", entry, f"[{index}].", source.ignored)
            )
            if name in names:
                raise InputError(f"modules.json: two modules are named {name!r}")
            names.add(name)
            modules.append((kind, folder))
    refusals.check()
    return modules


def _read_entry(source: ModelSource, file: ConfigFile) -> tuple[str, str, str]:
    """Name, kind and folder of a module."""
    name, folder, path = (file.take(key, str, required=True) for key in ("name", "path", "type"))
    kind = path if path == TASK_MODULE else module_kind("modules.json", f"{file.prefix}type", path)
    if kind not in (*MODULE_KINDS, *_TRANSFORMERS, *ROUTERS):
        raise file.unsupported("type", {*MODULE_KINDS, *_TRANSFORMERS, *ROUTERS})
    # Names of arguments that a caller of the reference may pass to the module.
    file.take("kwargs", list, [])
    source.path(folder or ".")
    file.finish(frozenset({"idx"}), lambda key: False)
    return name, kind, "" if folder.strip("/") == "." else folder.strip("/")


def _read_module(source: ModelSource, key: str, file: str, kind: str, folder: str) -> ModuleSpec:
    """The spec of a module. `key` in `file` names its kind, for messages."""
    if kind in _TRANSFORMERS:
        config = first_config(source, folder)
        return ModuleSpec(
            "Transformer",
            folder,
            config,
            read_transformer(source, folder, config, _TRANSFORMERS[kind], kind == TASK_MODULE),
        )
    if kind not in MODULE_KINDS:
        raise UnsupportedError(file, key, kind, {*MODULE_KINDS, *_TRANSFORMERS, *ROUTERS})
    prefix = f"{folder}/" if folder else ""
    name = prefix + _CONFIG_NAMES.get(kind, "config.json")
    if kind == "StaticEmbedding" or (kind in _WITHOUT_CONFIG and not source.exists(name)):
        return ModuleSpec(kind, folder, ConfigFile(name, {}))
    limit = TOKENIZER_LIMIT if kind in _VOCABULARIES else CONFIG_LIMIT
    config = source.config(name, limit)
    if kind == "SparseAutoEncoder" and "max_active_dims" in config:
        raise config.unsupported("max_active_dims", "only in config_sentence_transformers.json")
    return ModuleSpec(kind, folder, config)


def _read_model_config(source: ModelSource) -> dict[str, Any]:
    """The settings in config_sentence_transformers.json: the kind of model, prompts and outputs."""
    name = "config_sentence_transformers.json"
    file = source.config(name) if source.exists(name) else ConfigFile(name, {})
    kind = file.take("model_type", str, SENTENCE_TRANSFORMER)
    if kind not in KINDS:
        raise file.unsupported("model_type", KINDS)
    prompts = file.take("prompts", dict, {})
    for key, prompt in prompts.items():
        if not isinstance(prompt, (str, type(None))):
            file.refuse(UnsupportedError(name, f"prompts.{key}", prompt, "a string"))
    prompts = {key: prompt or "" for key, prompt in prompts.items()}
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
    return settings
