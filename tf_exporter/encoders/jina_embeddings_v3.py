"""Jina's third embeddings (S. Sturua et al., 2024), as `transformers.models.jina_embeddings_v3` 5.23: rotary XLM-RoBERTa."""

from __future__ import annotations

from tf_exporter.encoders.rotary_bert import QKVO, Names, RotaryBert


class JinaEmbeddingsV3(RotaryBert):
    """Token ids → token embeddings [batch, length, hidden_size]."""

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
    gated = False
    up_bias = True
