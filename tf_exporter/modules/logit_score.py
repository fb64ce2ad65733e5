"""LogitScore: one score of a causal language model's next token, as sentence-transformers 6.2."""

from __future__ import annotations

from tf_exporter.model.modules.logit_score import INPUT, LogitScoreConfig
from tf_exporter.modules.features import Features
from tf_exporter.weights import Weights


class LogitScore:
    """`causal_logits` [batch, 1, vocab] → `scores` [batch, 1]: the logit of one token, less that of another if there is one."""

    takes_texts = weighted = False

    def __init__(self, config: LogitScoreConfig, weights: Weights | None):
        self._true, self._false = config.true_token_id, config.false_token_id

    def __call__(self, features: Features) -> Features:
        """As the class says."""
        logits = features[INPUT][:, -1]
        scores = logits[:, self._true]
        if self._false is not None:
            scores -= logits[:, self._false]
        return {**features, "scores": scores[:, None]}
