"""Adapters for tasks inside a checkpoint, as Jina embeddings v3 has them.

Each adapted layer has one pair of matrices for each task, beside its own tensor: torch's
`parametrizations`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tf_exporter.errors import UnsupportedError, WeightsError
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.weights import Weights

KEY = "_task_adapters"
"""The key of a translated config.json with the values of `TaskAdapters`."""
_MOST_TASKS = 100
_OWN = ((re.compile(r"\.parametrizations\.weight\.original$"), ".weight"),)
"""The name of an adapted layer's own tensor → its name without torch's parametrizations."""
_CHANGE = re.compile(r".*\.parametrizations\.weight\.0\.lora_[AB]")


@dataclass(frozen=True)
class TaskAdapters:
    """The tasks of a checkpoint, in the order of its tensors."""

    tasks: tuple[str, ...]
    rank: int
    scale: float
    """The factor of the product of a pair."""

    @classmethod
    def of(cls, config: ConfigFile) -> TaskAdapters | None:
        """The adapters in a translated config.json; None: there are none."""
        values: dict[str, Any] | None = config.values.get(KEY)
        return (
            None if values is None else cls(tuple(values["tasks"]), values["rank"], values["scale"])
        )

    def weights(self, weights: Weights) -> Weights:
        """The tensors, with plain names for the layers' own, and the factor in second matrices."""
        plain = weights.renamed(_OWN)
        return plain.replaced(
            {name: self._reader(plain, name) for name in plain.names if _CHANGE.fullmatch(name)}
        )

    def _reader(self, weights: Weights, name: str) -> Callable[[], np.ndarray]:
        def read() -> np.ndarray:
            array = weights.take_floats(name)
            if len(array) != len(self.tasks) or self.rank not in array.shape[1:]:
                raise WeightsError(
                    f"{weights.file}: tensor {name} has shape {list(array.shape)}, "
                    f"not {len(self.tasks)} matrices of rank {self.rank}"
                )
            return array * np.float32(self.scale) if name.endswith("B") else array

        return read


def read_task_adapters(file: ConfigFile) -> dict[str, Any] | None:
    """The value of `KEY` from a config of Jina's; None: the model has no adapters.

    Raises:
        UnsupportedError: they are not as published.
    """
    tasks = file.take("lora_adaptations", (list, type(None)))
    if not tasks:
        return None
    names = all(isinstance(task, str) and task for task in tasks)
    if not names or len(set(tasks)) < len(tasks) or len(tasks) > _MOST_TASKS:
        raise file.unsupported("lora_adaptations", f"up to {_MOST_TASKS} names of tasks")
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
    return {"tasks": tasks, "rank": rank, "scale": alpha / rank}
