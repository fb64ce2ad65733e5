"""The names of the tensors that the reference would load, from its class in a separate process."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from typing import Any

from tf_exporter.errors import VerificationError
from tf_exporter.model.reference import processes
from tf_exporter.model.reference.packages import TRANSFORMERS, missing_packages
from tf_exporter.model.reference.scratch import scratch_folder
from tf_exporter.model.reference.view import without_choices
from tf_exporter.model.source import ModelSource
from tf_exporter.model.weights import Weights

_CLASSES = {
    "feature-extraction": "AutoModel",
    "fill-mask": "AutoModelForMaskedLM",
    "sequence-classification": "AutoModelForSequenceClassification",
    "text-generation": "AutoModelForCausalLM",
}
"""`transformer_task` → the class that loads the model."""
_TIME_LIMIT = 120.0  # seconds


def finish_weights(
    source: ModelSource, weights: Weights, unused: Iterable[str], config: dict[str, Any], task: str
) -> None:
    """Accounts for the tensors that were not taken.

    Tensors that the reference does not load either are listed as ignored.

    Args:
        source: the model; the names are added to its `ignored`.
        weights: its checkpoint.
        unused: patterns for the names of tensors that no embedding depends on.
        config: config.json, in transformers' terms.
        task: the `transformer_task`.

    Raises:
        WeightsError: the reference would load a tensor that was not taken.
    """
    left_out = weights.finish(unused, with_a_place(config, task, weights.taken))
    if left_out:
        source.ignored.setdefault(weights.file, []).extend(left_out)


def with_a_place(
    config: dict[str, Any], task: str, taken: Iterable[str]
) -> Callable[[list[str]], list[str]]:
    """Makes a function that selects the names of tensors that the reference would load.

    If torch is not installed, or transformers has no class, a name is selected if its first part,
    such as `encoder`, is also the first part of the name of a tensor that was taken.

    Args:
        config: config.json, in transformers' terms.
        task: the `transformer_task`.
        taken: the names of the tensors that were taken.
    """
    parts = {name.partition(".")[0] for name in taken}

    def places(names: list[str]) -> list[str]:
        known = _reference_names(config, task)
        return [
            name
            for name in names
            if (name.partition(".")[0] in parts if known is None else name in known)
        ]

    return places


def _reference_names(config: dict[str, Any], task: str) -> set[str] | None:
    """The names in the state of the reference's class, without its prefix; None: no class."""
    if missing_packages(TRANSFORMERS):
        return None
    options = {"config": without_choices(config), "class": _CLASSES[task]}
    with scratch_folder() as place:
        process = processes.start(__name__, options, place)
        try:
            return set(json.loads(processes.finished(process, b"", "transformers", _TIME_LIMIT)))
        except VerificationError:
            return None


def main(arguments: str) -> None:
    """Runs in the process. `arguments` is a JSON object; the answer is a JSON list of names."""
    options = json.loads(arguments)
    with processes.answering() as output:
        import torch
        import transformers

        sys.stdin.close()
        values = dict(options["config"])
        config = transformers.CONFIG_MAPPING[values.pop("model_type")].from_dict(values)
        with torch.device("meta"):
            model = getattr(transformers, options["class"]).from_config(
                config, attn_implementation="eager"
            )
        prefix = f"{model.base_model_prefix}."
        output.write(
            json.dumps([name.removeprefix(prefix) for name in model.state_dict()]).encode()
        )
