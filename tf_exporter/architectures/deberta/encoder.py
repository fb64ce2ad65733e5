"""DeBERTa (P. He et al., 2020), its first version, as `transformers.models.deberta` 5.24.

DeBERTa-v2 with other tensors, a row for each distance, and no bias of keys.
"""

from __future__ import annotations

import numpy as np

from tf_exporter.architectures.deberta.config import DebertaConfig
from tf_exporter.architectures.deberta_v2.encoder import Disentangled, DisentangledAttention
from tf_exporter.model.weights import Weights


class Deberta(Disentangled):
    """The DeBERTa encoder: token ids → hidden states."""

    config: DebertaConfig

    def _attention(
        self, weights: Weights, prefix: str, distances: np.ndarray | None
    ) -> DisentangledAttention:
        tensors = _as_in_version_2(weights, prefix, self.config, distances is not None)
        return DisentangledAttention(tensors, prefix, self.config, distances)


def _as_in_version_2(
    weights: Weights, prefix: str, config: DebertaConfig, relative: bool
) -> Weights:
    """The tensors of an attention under the names of version 2.

    `in_proj` has the rows of the query, key and value of one head after the other.
    """
    features, heads, part = config.hidden_size, config.num_attention_heads, f"{prefix}.self"
    none = np.zeros(features, np.float32)
    joined = weights.take(f"{part}.in_proj.weight", (3 * features, features))
    by_head = joined.reshape(heads, 3, features // heads, features)
    query, key, value = by_head.transpose(1, 0, 2, 3).reshape(3, features, features)
    tensors = {
        f"{part}.query_proj.weight": query,
        f"{part}.query_proj.bias": weights.take(f"{part}.q_bias", (features,)),
        f"{part}.key_proj.weight": key,
        f"{part}.key_proj.bias": none,
        f"{part}.value_proj.weight": value,
        f"{part}.value_proj.bias": weights.take(f"{part}.v_bias", (features,)),
    }
    taken = {"output.dense.weight": (features, features), "output.dense.bias": (features,)}
    tensors |= {f"{prefix}.{name}": weights.take(f"{prefix}.{name}", taken[name]) for name in taken}
    if relative and "c2p" in config.kinds:
        matrix = weights.take(f"{part}.pos_proj.weight", (features, features))
        tensors |= {f"{part}.pos_key_proj.weight": matrix, f"{part}.pos_key_proj.bias": none}
    if relative and "p2c" in config.kinds:
        matrix = weights.take(f"{part}.pos_q_proj.weight", (features, features))
        tensors[f"{part}.pos_query_proj.weight"] = matrix
        bias = weights.take(f"{part}.pos_q_proj.bias", (features,))
        tensors[f"{part}.pos_query_proj.bias"] = bias
    return Weights.of_arrays(weights.file, tensors)
