"""What follows an encoder, by `transformer_task` and `model_type`: (config, weights, encoder) → a function of its tokens.

A head is called with the encoder's output, float32 [batch, length, hidden], and the mask and ids, int32 [batch, length]; `width`
is the size of the last axis of what it gives. Where `takes_first` is true, the first place of a row has to be a token.
"""

from __future__ import annotations

from typing import Any

from tf_exporter.encoders import ENCODERS, UNVERIFIED
from tf_exporter.heads.causal_lm import CAUSAL_LM_HEADS
from tf_exporter.heads.classification import CLASSIFICATION_HEADS
from tf_exporter.heads.masked_lm import MASKED_LM_HEADS
from tf_exporter.heads.none import NoHead

HEADS: dict[str, dict[str, Any]] = {
    "feature-extraction": dict.fromkeys((*ENCODERS, *UNVERIFIED), NoHead),
    "fill-mask": MASKED_LM_HEADS,
    "sequence-classification": CLASSIFICATION_HEADS,
    "text-generation": CAUSAL_LM_HEADS,
}
