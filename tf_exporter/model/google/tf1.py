"""Variable names in checkpoints of google-research/bert → transformers' names."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from tf_exporter.errors import WeightsError

Change = Callable[[np.ndarray], np.ndarray]
Names = dict[str, tuple[str, Change]]
"""transformers' name → the variable's name, and the change to its values."""

_DENSE = (
    r"(attention/self/(query|key|value)|attention/output/dense|intermediate/dense|output/dense)"
    r"/(kernel|bias)"
)
_NORM = r"(attention/output|output)/LayerNorm/(gamma|beta)"
_KNOWN = re.compile(
    r"bert/embeddings/((word|token_type|position)_embeddings|LayerNorm/(gamma|beta))"
    rf"|bert/encoder/layer_\d+/({_DENSE}|{_NORM})"
    r"|bert/pooler/dense/(kernel|bias)"
    r"|cls/predictions/(transform/dense/(kernel|bias)|transform/LayerNorm/(gamma|beta)|output_bias)"
    r"|cls/seq_relationship/output_(weights|bias)"
    r"|output_(weights|bias)"
)
_TRAINING = re.compile(
    r"global_step|.*/(adam|lamb)_[mv]|.*/Adam(_1)?|(good_steps|loss_scale|beta[12]_power)(/.*)?"
)
"""Variables of optimizers."""
_OTHERS = {
    "cls/predictions/output_bias": "cls.predictions.bias",
    "cls/seq_relationship/output_weights": "cls.seq_relationship.weight",
    "cls/seq_relationship/output_bias": "cls.seq_relationship.bias",
    "output_weights": "classifier.weight",
    "output_bias": "classifier.bias",
}
_PARAMETERS = {"kernel": "weight", "gamma": "weight", "beta": "bias"}


def names(file: str, shapes: dict[str, list[int]]) -> Names:
    """The variables of a checkpoint, except an optimizer's.

    Raises:
        WeightsError: a variable does not belong to BERT.
    """
    result: Names = {}
    for key in sorted(shapes):
        if _KNOWN.fullmatch(key):
            # A kernel is [in, out]; torch keeps [out, in].
            result[_name(key)] = (key, np.transpose if key.endswith("/kernel") else np.asarray)
        elif not _TRAINING.fullmatch(key):
            raise WeightsError(f"{file}: variable {key} has no place in BERT")
    return result


def _name(key: str) -> str:
    if key in _OTHERS:
        return _OTHERS[key]
    name = re.sub(r"layer_(\d+)", r"layer.\1", key).replace("/", ".")
    prefix, _, parameter = name.rpartition(".")
    return f"{prefix}.{_PARAMETERS.get(parameter, parameter)}" + (
        ".weight" if parameter.endswith("_embeddings") else ""
    )
