"""The spec of a model: modules.json and the configs beside it.

They can be in the layout of sentence-transformers ≤ 5 or 6.
"""

from __future__ import annotations

from dataclasses import replace

from tf_exporter.errors import InputError, Refusals, UnsupportedError
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.source import CONFIG_LIMIT, TOKENIZER_LIMIT, ModelSource
from tf_exporter.modules.configs import MODULE_KINDS, TAKES_TEXTS
from tf_exporter.modules.late_interaction import LateSettings, is_stanford
from tf_exporter.modules.model_config import plain_activation, read_labels, read_model_config
from tf_exporter.modules.model_spec import ModelSpec
from tf_exporter.modules.module_spec import ModuleSpec, by_adapter, by_text_task
from tf_exporter.modules.plain import read_plain, read_stanford_model
from tf_exporter.modules.router import (
    MAX_MODULES,
    ROUTERS,
    Routes,
    module_kind,
    read_routes,
)
from tf_exporter.modules.transformer.config import (
    TASK_MODULE,
    TransformerSpec,
    first_config,
    read_transformer,
)
from tf_exporter.names import CROSS_ENCODER, MULTI_VECTOR

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
_PYLATE_MODULES = {"pylate.models.Dense.Dense": "sentence_transformers.models.Dense"}
"""PyLate's modules → the reference's, which it loads instead for a multi-vector model."""
_WITHOUT_CONFIG = ("Dropout", "Normalize", "SparseStaticEmbedding", "SpladePooling")
_VOCABULARIES = ("BoW", "WordWeights")
"""Kinds whose config contains the vocabulary."""


def read_model(source: ModelSource) -> ModelSpec:
    """The spec of a model folder.

    Without modules.json, a model for sequence classification is a CrossEncoder. Any other model
    gets a pooling: the last token for a causal language model, else the mean.

    Raises:
        InputError: files are missing or are not what they claim to be.
        UnsupportedError: something in them is not reproduced.
    """
    if not source.exists("modules.json"):
        return (read_stanford_model if is_stanford(source) else read_plain)(source)
    settings, late = read_model_config(source)
    pipelines, tasks = _read_pipelines(source, settings["max_active_dims"], late)
    for modules in pipelines.values():
        _check_order(modules)
    first = next(iter(pipelines.values()))
    for modules in pipelines.values():
        if settings["kind"] == CROSS_ENCODER and modules[0].transformer is None:
            raise UnsupportedError(
                "modules.json", "[0].type", modules[0].kind, "Transformer, for a CrossEncoder"
            )
    labels = read_labels(first)
    if (
        settings["kind"] == CROSS_ENCODER
        and settings["activation_fn"] is None
        and first[0].transformer is not None
    ):
        settings["activation_fn"] = plain_activation(first[0].transformer.encoder_config)
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
    source: ModelSource, max_active_dims: int | None, late: LateSettings | None
) -> tuple[dict[str, tuple[ModuleSpec, ...]], dict[str, str]]:
    """The modules of each route, including those around a Router; and the route of each task."""
    modules: list[ModuleSpec] = []
    routes: Routes | None = None
    for index, (kind, folder) in enumerate(_read_entries(source, late is not None)):
        if kind in ROUTERS:
            if routes is not None:
                raise UnsupportedError("modules.json", f"[{index}].type", kind, "one Router")
            routes = read_routes(source, folder)
            before = len(modules)
        else:
            module = _read_module(source, f"[{index}].type", "modules.json", kind, folder, late)
            if kind == "SparseAutoEncoder" and max_active_dims is not None:
                # The reference gives the model's limit to these modules, not to those of a Router.
                values = {**module.config.values, "max_active_dims": max_active_dims}
                module = replace(module, config=module.config.replaced(values))
            modules.append(module)
    if late is not None:
        if routes is not None:
            raise UnsupportedError(
                "modules.json", "type", ROUTERS, "no Router for a multi-vector model"
            )
        kinds = [module.kind for module in modules]
        if late.needs_dense and "Dense" not in kinds:
            supported = "a Dense module: the reference adds one with random weights"
            raise UnsupportedError("modules.json", "type", kinds, supported)
        return by_text_task(modules, late)
    if routes is None:
        return by_adapter(modules)
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
    if modules[0].text_task is not None and modules[0].transformer is None:
        supported = f"Transformer, for a {MULTI_VECTOR}"
        raise UnsupportedError("modules.json", "[0].type", kinds[0], supported)
    if "MultiVectorMask" in kinds and modules[0].text_task is None:
        raise UnsupportedError(
            "modules.json", "type", "MultiVectorMask", f"only in a {MULTI_VECTOR}"
        )
    for kind in kinds[1:]:
        if kind in TAKES_TEXTS and kind != "SparseStaticEmbedding":
            raise UnsupportedError("modules.json", "type", kind, f"{kind} as the first module only")


def _read_entries(source: ModelSource, late: bool) -> list[tuple[str, str]]:
    """(kind, folder) of each module. `late`: whether it is a multi-vector model."""
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
                source, ConfigFile("modules.json", entry, f"[{index}].", source.ignored), late
            )
            if name in names:
                raise InputError(f"modules.json: two modules are named {name!r}")
            names.add(name)
            modules.append((kind, folder))
    refusals.check()
    return modules


def _read_entry(source: ModelSource, file: ConfigFile, late: bool) -> tuple[str, str, str]:
    """Name, kind and folder of a module."""
    name, folder, path = (file.take(key, str, required=True) for key in ("name", "path", "type"))
    path = _PYLATE_MODULES.get(path, path) if late else path
    takes_task = path == TASK_MODULE and not late
    kind = path if takes_task else module_kind("modules.json", f"{file.prefix}type", path)
    if kind not in (*MODULE_KINDS, *_TRANSFORMERS, *ROUTERS):
        raise file.unsupported("type", {*MODULE_KINDS, *_TRANSFORMERS, *ROUTERS})
    # Names of arguments that a caller of the reference may pass to the module.
    file.take("kwargs", list, [])
    source.path(folder or ".")
    file.finish(frozenset({"idx"}), lambda key: False)
    return name, kind, "" if folder.strip("/") == "." else folder.strip("/")


def _read_module(
    source: ModelSource,
    key: str,
    file: str,
    kind: str,
    folder: str,
    late: LateSettings | None = None,
) -> ModuleSpec:
    """The spec of a module. `key` in `file` names its kind, for messages."""
    if kind in _TRANSFORMERS:
        config = first_config(source, folder)
        return ModuleSpec(
            "Transformer",
            folder,
            config,
            read_transformer(
                source, folder, config, _TRANSFORMERS[kind], kind == TASK_MODULE, late
            ),
        )
    if kind not in MODULE_KINDS:
        raise UnsupportedError(file, key, kind, {*MODULE_KINDS, *_TRANSFORMERS, *ROUTERS})
    prefix = f"{folder}/" if folder else ""
    name = prefix + _CONFIG_NAMES.get(kind, "config.json")
    if kind == "StaticEmbedding" or (kind in _WITHOUT_CONFIG and not source.exists(name)):
        return ModuleSpec(kind, folder, ConfigFile(name, {}))
    limit = TOKENIZER_LIMIT if kind in _VOCABULARIES else CONFIG_LIMIT
    config = source.config(name, limit)
    if kind == "Dense" and late is not None:
        # As the reference, for configs from before modules had names for their features.
        config = config.replaced({"module_input_name": "token_embeddings", **config.values})
    if kind == "SparseAutoEncoder" and "max_active_dims" in config:
        raise config.unsupported("max_active_dims", "only in config_sentence_transformers.json")
    return ModuleSpec(kind, folder, config)
