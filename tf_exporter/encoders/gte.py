"""GTE (X. Zhang et al., 2024), as `transformers.models.gte` 5.23: rotary positions, gated; segments only where it has some."""

from __future__ import annotations

from tf_exporter.encoders.rotary_bert import QKVO, Names, RotaryBert


class Gte(RotaryBert):
    """Token ids → token embeddings [batch, length, hidden_size]."""

    names = (
        Names(
            "embeddings.LayerNorm",
            "encoder.layer.{}",
            ("attention.qkv_proj", "attention.o_proj"),
            "attn_ln",
            ("mlp.up_gate_proj",),
            "mlp.down_proj",
            "mlp_ln",
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
