"""NomicBERT with mixtures of experts (Z. Nussbaum, B. Duderstadt, 2025), as published.

BERT with rotary positions. Every second layer has experts in place of one feed-forward part.
"""

from __future__ import annotations

from tf_exporter.architectures.nomic_bert_moe.config import NomicBertMoeConfig
from tf_exporter.architectures.rotary_bert.encoder import Names, RotaryBert
from tf_exporter.layers.activations import TRANSFORMERS_ACTIVATIONS
from tf_exporter.layers.basic import FeedForward
from tf_exporter.layers.experts import Experts
from tf_exporter.model.weights import Weights


class NomicBertMoe(RotaryBert):
    """The NomicBERT encoder with experts: token ids → hidden states."""

    config: NomicBertMoeConfig
    names = (
        Names(
            "emb_ln",
            "encoder.layers.{}",
            ("attn.Wqkv", "attn.out_proj"),
            "norm1",
            ("mlp.fc1",),
            "mlp.fc2",
            "norm2",
        ),
    )
    gated = False
    up_bias = True

    def _feed_forward(self, weights: Weights, names: Names, index: int) -> FeedForward | Experts:
        config = self.config
        if not config.has_experts(index):
            return super()._feed_forward(weights, names, index)
        return Experts(
            weights,
            f"{names.layer.format(index)}.mlp",
            config.hidden_size,
            config.intermediate_size,
            (config.num_experts, config.moe_top_k),
            TRANSFORMERS_ACTIVATIONS[config.hidden_act],
        )
