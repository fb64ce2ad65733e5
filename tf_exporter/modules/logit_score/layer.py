"""LogitScore: a score from the logits of the next token, as in sentence-transformers 6.2."""

from __future__ import annotations

from tf_exporter.modules.base import Module
from tf_exporter.modules.features import Features
from tf_exporter.modules.logit_score.config import INPUT, LogitScoreConfig


class LogitScore(Module):
    """`causal_logits` [batch, 1, vocab] → `scores` [batch, 1].

    The score is the logit of one token, minus the logit of a second one if there is one.
    """

    def __init__(self, config: LogitScoreConfig):
        super().__init__()
        self._true, self._false = config.true_token_id, config.false_token_id

    def __call__(self, features: Features) -> Features:
        logits = features[INPUT][:, -1]
        scores = logits[:, self._true]
        if self._false is not None:
            scores -= logits[:, self._false]
        return {**features, "scores": scores[:, None]}
