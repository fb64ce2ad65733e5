"""The checkpoint of a Transformer module, while an encoder and its head are built from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from tf_exporter.architectures.registry import ARCHITECTURES
from tf_exporter.model.adapters.tasks import TaskTensors
from tf_exporter.model.adapters.weights import MergedWeights
from tf_exporter.model.reference.parameter_names import finish_weights
from tf_exporter.model.source import ModelSource
from tf_exporter.model.weights import Weights, open_weights
from tf_exporter.modules.transformer.config import TransformerSpec
from tf_exporter.progress import progress


@contextmanager
def checkpoint(source: ModelSource, spec: TransformerSpec, quiet: bool) -> Iterator[Weights]:
    """The tensors under the names of the bare encoder. At the end, unused ones are accounted for.

    Args:
        source: the model.
        spec: the Transformer module.
        quiet: whether to hide the progress bar.

    Raises:
        InputError: there is no checkpoint.
        WeightsError: the reference would load a tensor that was not taken, or an adapter does not
            fit.
    """
    architecture, adapter = ARCHITECTURES[spec.model_type], spec.adapter
    if adapter is None:
        weights = open_weights(source, spec.folder, shards=True)
        tensors = TaskTensors(weights.without_prefix(architecture.prefix))
        if spec.tasks is not None:
            tensors = spec.tasks.tensors(source, tensors.weights)
    else:
        base = open_weights(adapter.base, adapter.base_folder, shards=True)
        merged = MergedWeights(source, base, adapter, architecture.prefix, spec.task)
        finish = partial(merged.finish, architecture.unused, spec.task)
        tensors = TaskTensors(merged.weights, finish)
    weights = tensors.weights
    with progress("weights", len(weights), quiet) as bar:
        weights.on_take = bar.update
        yield weights
    tensors.finish()
    config = {**spec.encoder_config.values, "model_type": spec.model_type}
    unused = (*architecture.unused, *spec.others)
    finish_weights(adapter.base if adapter else source, weights, unused, config, spec.task)
