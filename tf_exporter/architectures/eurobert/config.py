"""EuroBERT (N. Boizard et al., 2025), as `transformers.models.eurobert` 5.24.

Llama's layers with bidirectional attention.
"""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.architectures.architecture import Architecture
from tf_exporter.architectures.eurobert.remote_code import JINA_V5
from tf_exporter.architectures.head_configs import (
    ClassificationConfig,
    VocabularyConfig,
    is_tied,
    label_count,
)
from tf_exporter.architectures.llama.config import UNUSED, LlamaConfig, Masks
from tf_exporter.architectures.task_adapters import KEY
from tf_exporter.model.config_file import ConfigFile

_POOLINGS = {"bos": "cls", "mean": "mean", "late": "late"}


@dataclass(frozen=True, kw_only=True)
class EuroBertConfig(LlamaConfig):
    """`transformers.EuroBertConfig`: the keys that change a token embedding."""

    vocab_size: int = 128256
    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    max_position_embeddings: int = 8192
    rms_norm_eps: float = 1e-5

    def check(self, file: ConfigFile) -> None:
        """Nothing more."""

    @classmethod
    def _read_masks(cls, file: ConfigFile, layers: int) -> Masks:
        # True would make the reference causal, but only in batches without padding.
        file.require("is_causal", (False,))
        return False, None, ("full_attention",) * layers


def eurobert_classifier(file: ConfigFile, config: EuroBertConfig) -> ClassificationConfig:
    """The config of the classification head."""
    file.require("classifier_pooling", tuple(_POOLINGS))
    pooling: str = file.take("classifier_pooling", str, "late")
    # The published code's key. transformers ignores it and uses its own default.
    file.require("clf_pooling", (pooling,), "classifier_pooling")
    return ClassificationConfig(
        label_count(file), "dense", "gelu", "classifier", pooling=_POOLINGS.get(pooling, "late")
    )


def eurobert_masked_lm(file: ConfigFile, config: EuroBertConfig) -> VocabularyConfig:
    """The config of the masked language model head."""
    return VocabularyConfig(is_tied(file, False), config.mlp_bias)


EUROBERT = Architecture(
    config=EuroBertConfig,
    encoder="tf_exporter.architectures.llama.encoder:Llama",
    prefix="model",
    unused=(*UNUSED, r"dense\..*", r"classifier\..*"),
    remote_code=(JINA_V5,),
    ignored=frozenset(
        f"""
        classifier_pooling clf_pooling hidden_dropout pretraining_tp bos_token eos_token pad_token
        mask_token {KEY}
        """.split()
    ),
    classifier=eurobert_classifier,
    masked_lm=eurobert_masked_lm,
)
