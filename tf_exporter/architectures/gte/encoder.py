"""GTE (X. Zhang et al., 2024), as `transformers.models.gte` 5.24.

BERT with rotary positions and gated feed-forward; segments are optional.
"""

from __future__ import annotations

from tf_exporter.architectures.rotary_bert.encoder import QKVO, Names, RotaryBert


class Gte(RotaryBert):
    """The GTE encoder: token ids → hidden states."""

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
