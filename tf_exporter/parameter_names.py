"""Which tensors of a checkpoint the reference has a place for, asked of its class in a process of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from typing import Any

from tf_exporter import processes
from tf_exporter.architectures.architecture import Architecture
from tf_exporter.errors import VerificationError
from tf_exporter.reference import missing_packages
from tf_exporter.scratch import scratch_folder
from tf_exporter.source import ModelSource
from tf_exporter.transformer_spec import TransformerSpec
from tf_exporter.views import without_choices
from tf_exporter.weights import Weights

_CLASSES = {
    "feature-extraction": "AutoModel",
    "fill-mask": "AutoModelForMaskedLM",
    "sequence-classification": "AutoModelForSequenceClassification",
    "text-generation": "AutoModelForCausalLM",
}
"""`transformer_task` → what loads the model."""
_SECONDS = 120.0


def finish_weights(source: ModelSource, weights: Weights, architecture: Architecture[Any], spec: TransformerSpec) -> None:
    """Accounts for the tensors that a model did not take. Those that the reference leaves out are listed as ignored.

    Raises:
        WeightsError: the reference would load a tensor that was not taken.
    """
    values = {**spec.encoder_config.values, "model_type": spec.model_type}
    left_out = weights.finish(architecture.unused, with_a_place(values, spec.task, weights.taken))
    if left_out:
        source.ignored.setdefault(weights.file, []).extend(left_out)


def with_a_place(config: dict[str, Any], task: str, taken: Iterable[str]) -> Callable[[list[str]], list[str]]:
    """From the names of tensors that were not taken to those that the reference would load.

    Where torch is not installed, or transformers has no class, a tensor has a place if the first part of its name
    is also that of a tensor that was taken, as `encoder` and `embeddings`.

    Args:
        config: config.json, in transformers' terms.
        task: the `transformer_task`.
        taken: the names of the tensors that were taken.
    """
    parts = {name.partition(".")[0] for name in taken}

    def places(names: list[str]) -> list[str]:
        known = _asked(config, task)
        return [name for name in names if (name.partition(".")[0] in parts if known is None else name in known)]

    return places


def _asked(config: dict[str, Any], task: str) -> set[str] | None:
    """The names in the state of the reference's class, without the prefix of its base; None where there is no class."""
    if missing_packages(("torch",)):
        return None
    options = {"config": without_choices(config), "class": _CLASSES[task]}
    with scratch_folder() as place:
        process = processes.start(__name__, options, place)
        try:
            return set(json.loads(processes.finished(process, b"", "transformers", _SECONDS)))
        except VerificationError:
            return None


def main(arguments: str) -> None:
    """The process; `arguments` is a JSON object. It writes a list of names."""
    options = json.loads(arguments)
    with processes.answering() as output:
        import torch
        import transformers

        sys.stdin.close()
        values = dict(options["config"])
        config = transformers.CONFIG_MAPPING[values.pop("model_type")].from_dict(values)
        with torch.device("meta"):
            model = getattr(transformers, options["class"]).from_config(config, attn_implementation="eager")
        prefix = f"{model.base_model_prefix}."
        output.write(json.dumps([name.removeprefix(prefix) for name in model.state_dict()]).encode())
