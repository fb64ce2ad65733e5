"""Router (formerly Asym): modules that depend on the task, as in sentence-transformers 6.2."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Any

from tf_exporter.errors import InputError, UnsupportedError
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.source import ModelSource

_NAMESPACES = (
    "sentence_transformers.models",
    "sentence_transformers.sparse_encoder.models",
    *(
        f"sentence_transformers.{part}.modules"
        for part in (
            "base",
            "sentence_transformer",
            "sparse_encoder",
            "cross_encoder",
            "multi_vector_encoder",
        )
    ),
)
ROUTERS = ("Router", "Asym")
_TASKS = ("query", "document")
"""The tasks of encode_query and encode_document, which every model has."""
ONE_ROUTE = dict.fromkeys(("", *_TASKS), "")
"""Task → route, for a model without a Router."""
MAX_MODULES = 100
"""The most modules of a model or of a Router. Each is built, even if several share a folder."""
_MODALITY = "text"
"""The only modality, as the graph takes strings."""


@dataclass(frozen=True)
class Routes:
    """The modules that a text goes through, by its task."""

    file: str
    modules: dict[str, tuple[str, str]]
    """Name → kind and folder."""
    structure: dict[str, tuple[str, ...]]
    """Route → names of its modules, in order."""
    tasks: dict[str, str]
    """Task → route. The task "" is that of texts without a task."""


def module_kind(file: str, key: str, path: str) -> str:
    """The last part of a module's `type`.

    Raises:
        UnsupportedError: it is not one of sentence-transformers' own classes.
    """
    namespace, _, kind = path.rpartition(".")
    package = max(
        (known for known in _NAMESPACES if f"{namespace}.".startswith(f"{known}.")),
        key=len,
        default=None,
    )
    # The path may contain the file of the class, and for tokenizers also the folder.
    files = namespace[len(package) :].strip(".").split(".") if package else []
    if not package or not all(_is_file_of(file, kind) for file in files if file):
        supported = f"modules of {', '.join(_NAMESPACES)}; code of a model is never run"
        raise UnsupportedError(file, key, path, supported)
    return kind


def _is_file_of(file: str, kind: str) -> bool:
    """Whether the class can be in a file or folder of this name in sentence-transformers."""
    if "Tokenizer" in kind and file in ("tokenizer", "word"):
        return True
    return (kind in ROUTERS and file == "router") or kind.lower().startswith(
        file.replace("_", "").lower()
    )


def read_routes(source: ModelSource, folder: str) -> Routes:
    """The Router in a folder of the model.

    Raises:
        InputError: a file is missing or is not what it claims to be.
        UnsupportedError: something in it is not reproduced.
    """
    prefix = f"{folder}/" if folder else ""
    names = [prefix + name for name in ("router_config.json", "config.json")]
    name = next(filter(source.exists, names), names[0])
    file = source.config(name)
    types, structure = (
        file.take("types", dict, required=True),
        file.take("structure", dict, required=True),
    )
    parameters = file.part("parameters", file.take("parameters", dict, required=True))
    # The reference reads no other keys, but fails on other parameters.
    file.finish(reads={"types", "structure", "parameters"}.__contains__)
    if len(types) > MAX_MODULES or len(structure) > MAX_MODULES:
        raise UnsupportedError(
            name, "types", f"{len(types)} modules", f"at most {MAX_MODULES} modules and routes"
        )
    modules = {}
    for module, path in types.items():
        if not isinstance(path, str):
            raise InputError(f"{name}: types.{module} is not the name of a class")
        source.path(prefix + module)
        kind = module_kind(name, f"types.{module}", path)
        if kind in ROUTERS:
            raise UnsupportedError(name, f"types.{module}", kind, "modules other than a Router")
        modules[module] = (kind, prefix + module)
    routes = {}
    for route, names in structure.items():
        if (
            not isinstance(names, list)
            or not names
            or not all(isinstance(module, str) and module in modules for module in names)
        ):
            raise InputError(f"{name}: structure.{route} is not a list of the modules in types")
        if len(names) > MAX_MODULES:
            raise UnsupportedError(
                name, f"structure.{route}", f"{len(names)} modules", f"at most {MAX_MODULES}"
            )
        routes[route] = tuple(names)
    if not routes:
        raise InputError(f"{name}: structure has no route")
    return Routes(name, modules, routes, _read_tasks(parameters, list(routes)))


def _read_tasks(file: ConfigFile, routes: list[str]) -> dict[str, str]:
    default = file.take("default_route", (str, type(None)))
    if default is not None and default not in routes:
        raise file.unsupported("default_route", routes)
    allow_empty_key = file.take("allow_empty_key", bool, True)
    if default is None and allow_empty_key:
        default = routes[0]
    mappings = _read_mappings(file, routes)
    file.finish()
    tasks = {}
    for task in ("", *_TASKS, *routes):
        route = _resolve(task, routes, mappings) or (default if not task else None)
        if route is not None:
            tasks[task] = route
    if "" not in tasks:
        raise file.unsupported(
            "default_route", f"one of {', '.join(routes)}, for texts without a task"
        )
    return tasks


def _resolve(task: str, routes: list[str], mappings: dict[tuple[Any, Any], str]) -> str | None:
    """The route, looked up in the reference's order; None: the default route, or no route."""
    asked = task or None
    for key in ((asked, _MODALITY), (asked, None), (None, _MODALITY), (None, None)):
        if key in mappings:
            return mappings[key]
    return next((name for name in (asked, _MODALITY) if name in routes), None)


def _are_names(part: object) -> bool:
    """Whether a part of a key is a name, a tuple of names, or None for any name."""
    names = part if isinstance(part, tuple) else (part,)
    return part is None or all(isinstance(name, str) for name in names)


def _read_mappings(file: ConfigFile, routes: list[str]) -> dict[tuple[Any, Any], str]:
    """`route_mappings`. Its keys are tuples of task and modality, written as Python literals."""
    mappings: dict[tuple[Any, Any], str] = {}
    for text, route in (file.take("route_mappings", (dict, type(None)), {}) or {}).items():
        try:
            key = ast.literal_eval(text)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            key = None
        if (
            not (isinstance(key, tuple) and len(key) == 2 and all(map(_are_names, key)))
            or route not in routes
        ):
            raise UnsupportedError(
                file.file, f"parameters.route_mappings.{text}", route, "(task, modality) → route"
            )
        mappings[key] = route
    return mappings
