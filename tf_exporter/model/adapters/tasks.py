"""Adapters for tasks: the pairs of all tasks beside the weights that they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from tf_exporter.model.source import ModelSource
from tf_exporter.model.weights import Weights


class TaskTensors(NamedTuple):
    """The tensors of a checkpoint, with the changes for all tasks under the names of `change`."""

    weights: Weights
    finish: Callable[[], None] = lambda: None
    """Accounts for the tensors of adapters that were not taken; raises WeightsError."""


class TaskAdapters(Protocol):
    """The adapters of a model. Each changes the same weights, for one task."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of the tasks, in the order of the tensors."""

    @property
    def default(self) -> str:
        """The task of a text without a task; "": the shared weights alone."""

    @property
    def pools(self) -> bool:
        """Whether the module gives the normalized embedding of the last token, not of all."""

    @property
    def renamed(self) -> Mapping[str, str]:
        """Names of tensors → names that transformers' class has, as regular expressions."""

    def tensors(self, source: ModelSource, weights: Weights) -> TaskTensors:
        """The tensors of a checkpoint under the names of the bare encoder, and the changes."""

    def folder(self, index: int) -> str:
        """The folder of a task's adapter in the reference's view of the model."""

    def put(self, source: ModelSource, view: Path) -> None:
        """Adds what the reference's view lacks: a folder of PEFT for each task."""


def change(layer: str, part: str) -> str:
    """The name of a part, "A" or "B", of the changes of a layer, as torch's parametrizations."""
    return f"{layer}.parametrizations.weight.0.lora_{part}"
