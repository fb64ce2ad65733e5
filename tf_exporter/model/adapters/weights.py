"""Merging: the weights of a base model with those of an adapter.

`peft` computes x·Wᵀ + (x·Aᵀ)·Bᵀ·s for each module that an adapter changes. Here the module's
matrix becomes W + s·B·A, when it is taken.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tf_exporter.errors import UnsupportedError
from tf_exporter.model.adapters.config import Adapter
from tf_exporter.model.adapters.pairs import Pairs
from tf_exporter.model.source import ModelSource
from tf_exporter.model.weights import Weights

_BASE_LAYER = ".base_layer."
"""The place of a changed module's own tensors in the reference, such as its bias."""
_BLOCK = 2**22
"""The most values of a product that are computed at a time."""
_Readers = dict[str, Callable[[], np.ndarray]]


class MergedWeights:
    """The tensors of a base model with those of an adapter merged into them.

    Args:
        source: the model with the adapter.
        base: the base model's tensors.
        adapter: the adapter.
        prefix: what may stand before the names of an encoder's tensors; both then go without it.
        task: the `transformer_task`.

    Raises:
        InputError: the adapter's file cannot be read.
        WeightsError: a tensor of the adapter is for a module that its config does not name.
        UnsupportedError: it changes what a head shares with the encoder.
    """

    def __init__(
        self,
        source: ModelSource,
        base: Weights,
        adapter: Adapter,
        prefix: str | tuple[str, ...],
        task: str,
    ) -> None:
        self._base = base.without_prefix(prefix)
        prefixes = (prefix,) if isinstance(prefix, str) else prefix
        before = ("",) if task == "feature-extraction" else ("", *(f"{name}." for name in prefixes))
        self._pairs = Pairs(
            source, adapter.config, adapter.weights, prefix, self._base.names, before
        )
        if task in ("fill-mask", "text-generation"):
            self._check_shared(task)
        self.weights = self._base.replaced(self._readers())
        """The merged tensors, under the names of the bare encoder."""

    def finish(self, unused: tuple[str, ...], task: str) -> None:
        """Accounts for the tensors of the adapter that were not taken.

        `unused`: patterns for the names of tensors that no embedding depends on.

        Raises:
            WeightsError: a tensor has no place in the model.
        """
        self._pairs.tensors.finish(unused if task == "feature-extraction" else ())

    def _check_shared(self, task: str) -> None:
        """Refuses to change word embeddings: a head over the vocabulary may share them.

        In `peft`, only the encoder's copy changes.
        """
        supported = f"an adapter that leaves embeddings and heads as they are, for {task}"
        config = self._pairs.config
        if config.saved:
            raise UnsupportedError(config.file, "modules_to_save", [*config.saved], supported)
        for module in self._pairs.modules:
            if self._pairs.embeds(module):
                raise UnsupportedError(config.file, "target_modules", module, supported)

    def _readers(self) -> _Readers:
        """Name → the reader of each tensor that the adapter changes, replaces or lacks."""
        pairs = self._pairs
        readers: _Readers = {
            name.replace(_BASE_LAYER, "."): self._replacement(name) for name in pairs.replacements()
        }
        for module in pairs.named:
            name, bias = f"{module}.weight", f"{module}.bias"
            if module in pairs.modules:
                readers[name] = self._changed(module, readers.get(name, self._original(name)))
                if pairs.has_bias(module):
                    before = readers.get(bias, self._original(bias))
                    readers[bias] = self._changed_bias(module, before)
            elif not pairs.config.all_linear and name not in readers:
                readers[name] = self._without_pair(module)
        return {
            name: reader
            for name, reader in readers.items()
            if name in self._base or name.removesuffix(".weight") not in pairs.modules
        }

    def _original(self, name: str) -> Callable[[], np.ndarray]:
        return lambda: self._base.take_floats(name)

    def _replacement(self, name: str) -> Callable[[], np.ndarray]:
        return lambda: self._pairs.tensors.take_floats(name)

    def _without_pair(self, module: str) -> Callable[[], np.ndarray]:
        def read() -> np.ndarray:
            array = self._base.take_floats(f"{module}.weight")
            self._pairs.check_present(module, array.shape)
            return array

        return read

    def _changed(self, module: str, before: Callable[[], np.ndarray]) -> Callable[[], np.ndarray]:
        """The reader of W + s·B·A for a linear layer, and of W + s·(B·A)ᵀ for an embedding."""

        def read() -> np.ndarray:
            matrix = np.array(before())  # a copy: tensors of a pickled file may share memory
            _add_product(matrix, *self._pairs.of(module, matrix.shape))
            return matrix

        return read

    def _changed_bias(
        self, module: str, before: Callable[[], np.ndarray]
    ) -> Callable[[], np.ndarray]:
        def read() -> np.ndarray:
            bias = np.array(before())
            bias += self._pairs.bias(module, bias.shape)
            return bias

        return read


def _add_product(matrix: np.ndarray, left: np.ndarray, right: np.ndarray) -> None:
    """Adds left · right to a matrix, some rows at a time."""
    rows = max(1, _BLOCK // max(1, matrix.shape[1]))
    for start in range(0, len(matrix), rows):
        matrix[start : start + rows] += left[start : start + rows] @ right
