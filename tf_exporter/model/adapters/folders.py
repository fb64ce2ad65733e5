"""Adapters in folders of PEFT, one for each task, as Jina embeddings v5 has them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from tf_exporter.errors import InputError, UnsupportedError, WeightsError
from tf_exporter.model.adapters.config import AdapterConfig, adapter_file, read_adapter_config
from tf_exporter.model.adapters.pairs import Pairs
from tf_exporter.model.adapters.tasks import TaskTensors, change
from tf_exporter.model.source import ModelSource
from tf_exporter.model.weights import Weights

_PARENT = "adapters"
_NAME = re.compile(r"\w[\w.-]*")


@dataclass(frozen=True)
class FolderAdapters:
    """The adapters of a model, in the order of its tasks."""

    place: str
    """The folder of the module."""
    tasks: tuple[str, ...]
    default: str
    configs: tuple[AdapterConfig, ...]
    prefix: str
    """What may stand before the names of an encoder's tensors."""
    pools: ClassVar[bool] = True
    renamed: ClassVar[dict[str, str]] = {}

    def folder(self, index: int) -> str:
        return _folder(self.place, self.tasks[index])

    def put(self, source: ModelSource, view: Path) -> None:
        """Nothing: the view has the model's own folders."""

    def tensors(self, source: ModelSource, weights: Weights) -> TaskTensors:
        stacked = _Stacked(
            weights,
            [
                Pairs(
                    source,
                    config,
                    adapter_file(source, self.folder(index)),
                    self.prefix,
                    weights.names,
                )
                for index, config in enumerate(self.configs)
            ],
        )
        return TaskTensors(weights.replaced(stacked.readers()), stacked.finish)


def read_folders(
    source: ModelSource, place: str, tasks: list[str], default: str, prefix: str
) -> FolderAdapters:
    """The adapters of tasks; see `FolderAdapters`.

    Raises:
        InputError: a folder is missing, or a file is not what it claims to be.
        UnsupportedError: something in a config is not reproduced.
    """
    configs = []
    for task in tasks:
        if not _NAME.fullmatch(task):
            name = f"{place}/config.json" if place else "config.json"
            raise UnsupportedError(name, "task_names", task, "names of folders")
        name = f"{_folder(place, task)}/adapter_config.json"
        if not source.exists(name):
            raise InputError(f"{name}: missing, the adapter of the task {task!r}")
        file = source.config(name)
        file.require("bias", ("none",))
        file.require("lora_bias", (False,))
        file.require("modules_to_save", (None, []))
        configs.append(read_adapter_config(file))
    return FolderAdapters(place, tuple(tasks), default, tuple(configs), prefix)


def _folder(place: str, task: str) -> str:
    return "/".join(part for part in (place, _PARENT, task) if part)


class _Stacked:
    """The pairs of all tasks, stacked for each module."""

    def __init__(self, base: Weights, adapters: list[Pairs]) -> None:
        self._base, self._adapters = base, adapters
        self._shapes: dict[str, tuple[int, ...]] = {}
        """Module → the shape of its matrix, which is taken before the changes."""
        self._factors: dict[str, np.ndarray] = {}
        """Module → B, from when A is taken, which is always first."""

    def finish(self) -> None:
        for adapter in self._adapters:
            adapter.tensors.finish()

    def readers(self) -> dict[str, Callable[[], np.ndarray]]:
        """Name → the reader of each tensor that the adapters add, or whose shape they need."""
        readers: dict[str, Callable[[], np.ndarray]] = {}
        for module in dict.fromkeys(name for pairs in self._adapters for name in pairs.named):
            if f"{module}.weight" not in self._base:
                continue  # then `finish` reports its tensors
            readers[f"{module}.weight"] = self._shared(module)
            if any(module in pairs.modules for pairs in self._adapters):
                for part in "AB":
                    readers[change(module, part)] = self._changes(module, part)
        return readers

    def _shared(self, module: str) -> Callable[[], np.ndarray]:
        def read() -> np.ndarray:
            array = self._base.take_floats(f"{module}.weight")
            self._shapes[module] = array.shape
            for pairs in self._adapters:
                if module in pairs.named and not pairs.config.all_linear:
                    pairs.check_present(module, array.shape)
            return array

        return read

    def _changes(self, module: str, part: str) -> Callable[[], np.ndarray]:
        """The reader of A [tasks, rank, in], or of B [tasks, out, rank]."""

        def read() -> np.ndarray:
            if part == "A":
                first, self._factors[module] = self._stacked(module)
                return first
            return self._factors.pop(module)  # freed when the layer has it

        return read

    def _stacked(self, module: str) -> tuple[np.ndarray, np.ndarray]:
        """A and B of a module. Lower ranks are filled up with zeros, which add nothing."""
        outputs, inputs = self._shapes[module]
        tasks = len(self._adapters)
        changing = {
            index: pairs for index, pairs in enumerate(self._adapters) if module in pairs.modules
        }
        rank = max(pairs.named[module].rank for pairs in changing.values())
        first = np.zeros((tasks, rank, inputs), np.float32)
        second = np.zeros((tasks, outputs, rank), np.float32)
        for index, pairs in changing.items():
            if pairs.embeds(module):
                raise WeightsError(
                    f"{pairs.tensors.file}: it changes the table {module}, and adapters for tasks "
                    "may change linear layers only"
                )
            left, right = pairs.of(module, (outputs, inputs))
            first[index, : len(right)], second[index, :, : len(right)] = right, left
        return first, second
