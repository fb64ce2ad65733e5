"""The spec of a module, and of the pipelines of a model with adapters for tasks."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.modules.late_interaction import LateSettings
from tf_exporter.modules.router import ONE_ROUTE
from tf_exporter.modules.transformer.config import TransformerSpec
from tf_exporter.names import DOCUMENT, QUERY


@dataclass(frozen=True)
class ModuleSpec:
    """A module of a pipeline."""

    kind: str
    folder: str
    config: ConfigFile
    transformer: TransformerSpec | None = None
    task: int | None = None
    """The number of the task that a Transformer with adapters computes; None: without one."""
    text_task: str | None = None
    """The task of the texts of a multi-vector model's route; None: another kind of model."""


LAST_TOKEN = tuple(
    ModuleSpec(kind, "", ConfigFile("(custom_st.Transformer)", values))
    for kind, values in (
        ("Pooling", {"embedding_dimension": 0, "pooling_mode": "lasttoken"}),
        ("Normalize", {}),
    )
)
"""The modules that are a part of Jina's class for embeddings v5."""


def by_adapter(
    modules: list[ModuleSpec],
) -> tuple[dict[str, tuple[ModuleSpec, ...]], dict[str, str]]:
    """The modules without a task and, if the Transformer has adapters, those of each task."""
    transformer = modules[0].transformer if modules else None
    if transformer is None or transformer.tasks is None:
        return {"": tuple(modules)}, ONE_ROUTE
    adapters = transformer.tasks
    pooling = LAST_TOKEN if adapters.pools else ()
    pipelines = {
        task: (replace(modules[0], task=index), *pooling, *modules[1:])
        for index, task in enumerate(adapters.tasks)
    }
    if not adapters.pools:
        pipelines = {"": tuple(modules), **pipelines}
    # The module fails for any other task, such as "query".
    return pipelines, {"": adapters.default, **{task: task for task in adapters.tasks}}


def by_text_task(
    modules: list[ModuleSpec], late: LateSettings
) -> tuple[dict[str, tuple[ModuleSpec, ...]], dict[str, str]]:
    """The modules of a multi-vector model for queries, for documents, and without a task."""
    added = [ModuleSpec(*module) for module in late.modules] if late.adds_modules else []
    tasks = ("", QUERY, DOCUMENT)
    pipelines = {
        task: tuple(replace(module, text_task=task) for module in (*modules, *added))
        for task in tasks
    }
    return pipelines, {task: task for task in tasks}
