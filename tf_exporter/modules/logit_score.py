"""LogitScore: one score of a causal language model's next token, as sentence-transformers 6.2."""

from __future__ import annotations

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.modules.features import Dimensions, Features
from tf_exporter.weights import Weights

_INPUT = "causal_logits"


class LogitScore:
    """`causal_logits` [batch, 1, vocab] → `scores` [batch, 1]: the logit of one token, less that of another if there is one."""

    takes_texts = weighted = False

    def __init__(self, file: ConfigFile, weights: Weights | None, dimensions: Dimensions):
        file.require("module_input_name", (_INPUT,))
        vocab_size = dimensions.of(file, "type", _INPUT)
        true_id: int = file.take("true_token_id", int, required=True)
        false_id: int | None = file.take("false_token_id", (int, type(None)))
        for key, token in (("true_token_id", true_id), ("false_token_id", false_id)):
            if token is not None and not 0 <= token < vocab_size:
                raise file.unsupported(key, f"a token id, of 0 to {vocab_size - 1}")
        self._true, self._false = true_id, false_id
        file.finish()
        dimensions["scores"] = 1

    def __call__(self, features: Features) -> Features:
        """As the class says."""
        logits = features[_INPUT][:, -1]
        scores = logits[:, self._true]
        if self._false is not None:
            scores -= logits[:, self._false]
        return {**features, "scores": scores[:, None]}
