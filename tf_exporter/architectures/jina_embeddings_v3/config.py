"""Jina embeddings v3 (S. Sturua et al., 2024), as `transformers.models.jina_embeddings_v3` 5.24."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.architectures.architecture import Architecture
from tf_exporter.architectures.jina_embeddings_v3.remote_code import JINA
from tf_exporter.architectures.roberta.config import roberta_classifier, roberta_masked_lm
from tf_exporter.architectures.rotary_bert.config import UNUSED, RotaryBertConfig
from tf_exporter.architectures.task_adapters import KEY


@dataclass(frozen=True, kw_only=True)
class JinaEmbeddingsV3Config(RotaryBertConfig):
    """`transformers.JinaEmbeddingsV3Config`: the keys that change a token embedding."""

    theta = 20_000.0

    vocab_size: int = 250002
    hidden_size: int = 1024
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    intermediate_size: int = 4096
    layer_norm_eps: float = 1e-5
    max_position_embeddings: int = 8194


JINA_EMBEDDINGS_V3 = Architecture(
    config=JinaEmbeddingsV3Config,
    encoder="tf_exporter.architectures.jina_embeddings_v3.encoder:JinaEmbeddingsV3",
    prefix="roberta",
    adapters=False,
    remote_code=(JINA,),
    ignored=frozenset({KEY}),
    unused=UNUSED,
    classifier=roberta_classifier,
    masked_lm=roberta_masked_lm,
)
