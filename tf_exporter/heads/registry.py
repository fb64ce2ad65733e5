"""Builds heads from their configs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tf_exporter.architectures.contract import Encoder
from tf_exporter.architectures.head_configs import (
    CausalLMConfig,
    ClassificationConfig,
    HeadConfig,
    LastTokenConfig,
    MaskedLMConfig,
    NoHeadConfig,
    TextFeaturesConfig,
    VocabularyConfig,
)
from tf_exporter.heads.base import Head
from tf_exporter.heads.causal_lm import CausalLMHead
from tf_exporter.heads.classification import ClassificationHead, LastTokenHead
from tf_exporter.heads.decoder import VocabularyHead
from tf_exporter.heads.masked_lm import MaskedLMHead
from tf_exporter.heads.none import NoHead
from tf_exporter.heads.text_features import TextFeaturesHead
from tf_exporter.model.weights import Weights

HEADS: dict[type[HeadConfig], Callable[[Any, Weights, Encoder], Head]] = {
    CausalLMConfig: CausalLMHead,
    ClassificationConfig: ClassificationHead,
    LastTokenConfig: LastTokenHead,
    MaskedLMConfig: MaskedLMHead,
    NoHeadConfig: NoHead,
    TextFeaturesConfig: TextFeaturesHead,
    VocabularyConfig: VocabularyHead,
}


def build_head(config: HeadConfig, weights: Weights, encoder: Encoder) -> Head:
    """The head for this config."""
    return HEADS[type(config)](config, weights, encoder)
