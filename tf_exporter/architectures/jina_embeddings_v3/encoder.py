"""Jina embeddings v3 (S. Sturua et al., 2024), as `transformers.models.jina_embeddings_v3` 5.24.

XLM-RoBERTa with rotary positions.
"""

from __future__ import annotations

from tf_exporter.architectures.rotary_bert.encoder import QKVO, Names, RotaryBert


class JinaEmbeddingsV3(RotaryBert):
    """The Jina embeddings v3 encoder: token ids → hidden states."""

    names = (
        Names(
            "emb_ln",
            "encoder.layers.{}",
            ("mixer.Wqkv", "mixer.out_proj"),
            "norm1",
            ("mlp.fc1",),
            "mlp.fc2",
            "norm2",
        ),
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
    gated = False
    up_bias = True
