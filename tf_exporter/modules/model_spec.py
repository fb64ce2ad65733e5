"""The spec of a whole model: its pipelines of modules, prompts and outputs."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.modules.module_spec import ModuleSpec
from tf_exporter.modules.transformer.config import TransformerSpec


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
    def mean_score(self) -> bool:
        """Whether the scores of a multi-vector model are divided by the query's vectors."""
        return self.similarity_fn_name == "meanmaxsim"

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
