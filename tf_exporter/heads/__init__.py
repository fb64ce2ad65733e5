"""What follows an encoder: (config, weights, encoder) → a function of its tokens.

A head is called with the encoder's output, float32 [batch, length, hidden], and the mask and ids, int32 [batch, length]; `width`
is the size of the last axis of what it gives. Where `takes_first` is true, the first place of a row has to be a token.
"""

from __future__ import annotations

from typing import Any

from tf_exporter.architectures.heads import (
    CausalLMConfig,
    ClassificationConfig,
    HeadConfig,
    LastTokenConfig,
    MaskedLMConfig,
    NoHeadConfig,
    VocabularyConfig,
)
from tf_exporter.encoders.encoder import Encoder
from tf_exporter.heads.causal_lm import CausalLMHead
from tf_exporter.heads.classification import ClassificationHead, LastTokenHead
from tf_exporter.heads.decoder import VocabularyHead
from tf_exporter.heads.masked_lm import MaskedLMHead
from tf_exporter.heads.none import NoHead
from tf_exporter.weights import Weights

HEADS: dict[type[HeadConfig], Any] = {
    CausalLMConfig: CausalLMHead,
    ClassificationConfig: ClassificationHead,
    LastTokenConfig: LastTokenHead,
    MaskedLMConfig: MaskedLMHead,
    NoHeadConfig: NoHead,
    VocabularyConfig: VocabularyHead,
}


def build_head(config: HeadConfig, weights: Weights, encoder: Encoder) -> Any:
    """The head that the config is of."""
    return HEADS[type(config)](config, weights, encoder)
