"""NomicBERT (Z. Nussbaum et al., 2024), as `transformers.models.nomic_bert` 5.24.

BERT with rotary positions and gated feed-forward, without biases.
"""

from __future__ import annotations

from tf_exporter.architectures.rotary_bert.encoder import QKVO, Names, RotaryBert


class NomicBert(RotaryBert):
    """The NomicBERT encoder: token ids → hidden states."""

    names = (
        Names(
            "emb_ln",
            "encoder.layers.{}",
            ("attn.Wqkv", "attn.out_proj"),
            "norm1",
            ("mlp.fc11", "mlp.fc12"),
            "mlp.fc2",
            "norm2",
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
    attention_bias = down_bias = False
