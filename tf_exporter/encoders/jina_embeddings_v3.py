"""Jina's third embeddings (S. Sturua et al., 2024), as `transformers.models.jina_embeddings_v3` 5.23: rotary XLM-RoBERTa."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.encoders.rotary_bert import QKVO, Names, RotaryBert, RotaryBertConfig


@dataclass(frozen=True)
class JinaEmbeddingsV3Config(RotaryBertConfig):
    """`transformers.JinaEmbeddingsV3Config`: the keys that change a token embedding."""

    vocab_size: int = 250002
    hidden_size: int = 1024
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    intermediate_size: int = 4096
    layer_norm_eps: float = 1e-5
    max_position_embeddings: int = 8194


class JinaEmbeddingsV3(RotaryBert):
    """Token ids → token embeddings [batch, length, hidden_size]."""

    config_class = JinaEmbeddingsV3Config
    prefix = "roberta"
    names = (
        Names("emb_ln", "encoder.layers.{}", ("mixer.Wqkv", "mixer.out_proj"), "norm1", ("mlp.fc1",), "mlp.fc2", "norm2"),
        Names(
            "embeddings.LayerNorm",
            "layers.{}",
            QKVO,
            "post_attention_layernorm",
            ("mlp.fc1",),
            "mlp.fc2",
            "post_mlp_layernorm",
        ),
    )
    theta = 20_000.0
    gated = False
    up_bias = True
