"""The config of LogitScore."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.modules.arguments import finish
from tf_exporter.modules.dimensions import Dimensions

INPUT = "causal_logits"


@dataclass(frozen=True)
class LogitScoreConfig:
    """The tokens whose logits give the score."""

    true_token_id: int
    false_token_id: int | None
    """None: nothing is subtracted."""


def read(file: ConfigFile, dimensions: Dimensions) -> LogitScoreConfig:
    """Reads config.json; `scores` get the width 1."""
    file.require("module_input_name", (INPUT,))
    vocab_size = dimensions.width_of(file, "type", INPUT)
    true_id = file.take("true_token_id", int, required=True)
    false_id = file.take("false_token_id", (int, type(None)))
    for key, token in (("true_token_id", true_id), ("false_token_id", false_id)):
        if token is not None and (token < 0 or (vocab_size is not None and token >= vocab_size)):
            highest = "the highest" if vocab_size is None else vocab_size - 1
            file.refuse(file.unsupported(key, f"a token id from 0 to {highest}"))
    finish(file, "LogitScore")
    dimensions["scores"] = 1
    return LogitScoreConfig(true_id, false_id)
