"""NomicBERT (Z. Nussbaum et al., 2024), as `transformers.models.nomic_bert` 5.23: rotary positions, gated, without biases."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.encoders.rotary_bert import QKVO, Names, RotaryBert, RotaryBertConfig


@dataclass(frozen=True)
class NomicBertConfig(RotaryBertConfig):
    """`transformers.NomicBertConfig`: the keys that change a token embedding."""

    hidden_act: str = "silu"
    max_position_embeddings: int = 2048
    type_vocab_size: int = 2


class NomicBert(RotaryBert):
    """Token ids → token embeddings [batch, length, hidden_size]."""

    config_class = NomicBertConfig
    prefix = "nomic_bert"
    names = (
        Names(
            "emb_ln", "encoder.layers.{}", ("attn.Wqkv", "attn.out_proj"), "norm1", ("mlp.fc11", "mlp.fc12"), "mlp.fc2", "norm2"
        ),
        Names(
            "embeddings.LayerNorm",
            "layers.{}",
            QKVO,
            "post_attention_layernorm",
            ("mlp.up_proj", "mlp.gate_proj"),
            "mlp.down_proj",
            "post_mlp_layernorm",
        ),
    )
    theta = 1000.0
    attention_bias = down_bias = False
