"""Adapters for tasks inside a checkpoint, as Jina embeddings v3 has them.

Each adapted layer has one pair of matrices for each task, beside its own tensor: torch's
`parametrizations`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tf_exporter.errors import UnsupportedError, WeightsError
from tf_exporter.model.adapters.tasks import TaskTensors, change
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.source import ModelSource
from tf_exporter.model.weights import Weights, open_weights

KEY = "_task_adapters"
"""The key of a translated config.json with the adapters for tasks: `tasks`, and what they need."""
_MOST_TASKS = 100
_ORIGINAL = r"\.parametrizations\.weight\.original$"
_OWN = ((re.compile(_ORIGINAL), ".weight"),)
"""The name of an adapted layer's own tensor → its name without torch's parametrizations."""
_CHANGE = re.compile(re.escape(change("", "")).join(("(?P<layer>.*)", "(?P<part>[AB])")))
_JOINED = "mixer.Wqkv"
_NATIVE = (("encoder.layers.", "layers."), ("mixer.out_proj", "self_attn.o_proj"))
"""Parts of the published names of layers → those of transformers' class."""
_VIEW = "task_adapters"
"""The folder of adapters in the reference's view."""


@dataclass(frozen=True)
class CheckpointAdapters:
    """The adapters in the tensors of a checkpoint."""

    place: str
    """The folder of the module."""
    tasks: tuple[str, ...]
    default: str
    rank: int
    alpha: float
    prefix: str
    """What may stand before the names of an encoder's tensors."""
    pools: ClassVar[bool] = False
    renamed: ClassVar[dict[str, str]] = {_ORIGINAL: ".weight"}

    def folder(self, index: int) -> str:
        return f"{_VIEW}/{index}"

    def tensors(self, source: ModelSource, weights: Weights) -> TaskTensors:
        """The factor is in the second matrices."""
        plain = weights.renamed(_OWN)
        changes = {name: self._reader(plain, name) for name in _changes(plain)}
        return TaskTensors(plain.replaced(changes))

    def _reader(self, weights: Weights, name: str) -> Callable[[], np.ndarray]:
        def read() -> np.ndarray:
            array = self._taken(weights, name)
            factor = np.float32(self.alpha / self.rank)
            return array * factor if name.endswith("B") else array

        return read

    def _taken(self, weights: Weights, name: str) -> np.ndarray:
        array = weights.take_floats(name)
        if len(array) != len(self.tasks) or self.rank not in array.shape[1:]:
            raise WeightsError(
                f"{weights.file}: tensor {name} has shape {list(array.shape)}, "
                f"not {len(self.tasks)} matrices of rank {self.rank}"
            )
        return array

    def put(self, source: ModelSource, view: Path) -> None:
        from safetensors.numpy import save_file

        weights = open_weights(source, self.place, shards=True).without_prefix(self.prefix)
        tensors: list[dict[str, np.ndarray]] = [{} for _ in self.tasks]
        for name, found in _changes(weights).items():
            stacked = self._taken(weights, name)
            for index, array in enumerate(stacked):
                tensors[index].update(_as_peft(found["layer"], found["part"], array))
        modules = {name.split(".lora_")[0].rpartition(".")[2] for name in tensors[0]}
        config = {
            "peft_type": "LORA",
            "r": self.rank,
            "lora_alpha": self.alpha,
            "target_modules": sorted(modules),
        }
        for index, own in enumerate(tensors):
            place = view / self.folder(index)
            place.mkdir(parents=True)
            (place / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
            save_file(own, place / "adapter_model.safetensors")


def _changes(weights: Weights) -> dict[str, re.Match[str]]:
    """The names of the tensors that change a layer, with `layer` and `part`."""
    matches = {name: _CHANGE.fullmatch(name) for name in weights.names}
    return {name: match for name, match in matches.items() if match}


def _as_peft(layer: str, part: str, array: np.ndarray) -> dict[str, np.ndarray]:
    """A matrix of a task under the names of PEFT, for each of transformers' layers that it changes.

    A is [rank, in] and B [out, rank]; those of a table are [rows, rank] and [rank, features].
    """
    for published, native in _NATIVE:
        layer = layer.replace(published, native)
    name = f"base_model.model.{layer}"
    if "embeddings" in layer:
        return {f"{name}.lora_embedding_{part}": np.ascontiguousarray(array.T)}
    if _JOINED not in layer:
        return {f"{name}.lora_{part}.weight": np.ascontiguousarray(array)}
    # The second matrix has the rows of queries, keys and values; the first one is theirs alike.
    parts = np.split(array, 3) if part == "B" else [array] * 3
    return {
        f"{name.replace(_JOINED, f'self_attn.{kind}_proj')}.lora_{part}.weight": own.copy()
        for kind, own in zip("qkv", parts)
    }


def read_checkpoint_adapters(file: ConfigFile) -> dict[str, Any] | None:
    """The value of `KEY` from a config of Jina's; None: the model has no adapters.

    Raises:
        UnsupportedError: they are not as published.
    """
    tasks = read_task_names(file, "lora_adaptations")
    if not tasks:
        return None
    file.require("load_trained_adapters", (True,))
    rank = file.take("lora_rank", int, required=True)
    alpha = file.take("lora_alpha", (int, float), required=True)
    if rank < 1:
        raise file.unsupported("lora_rank", "a positive number")
    if not math.isfinite(alpha):
        raise file.unsupported("lora_alpha", "a finite number")
    if "load_trained_adapters" not in file:
        raise UnsupportedError(
            file.file, "load_trained_adapters", None, "true: others would be drawn at random"
        )
    return {"tasks": tasks, "rank": rank, "alpha": alpha}


def read_task_names(file: ConfigFile, key: str) -> list[str]:
    """The names of tasks in a list; without one, there are none."""
    tasks: list[str] = file.take(key, (list, type(None))) or []
    names = all(isinstance(task, str) and task for task in tasks)
    if not names or len(set(tasks)) < len(tasks) or len(tasks) > _MOST_TASKS:
        raise file.unsupported(key, f"up to {_MOST_TASKS} names of tasks")
    return tasks
