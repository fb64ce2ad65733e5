"""Keys of configs of encoders that began as decoders: changes that have to show, and values that have to be refused."""

from __future__ import annotations

from typing import Any

CONFIG_CHANGES: dict[str, list[dict[str, Any]]] = {
    "eurobert": [
        {"attention_bias": False, "mlp_bias": False, "rms_norm_eps": 0.1, "hidden_act": "gelu"},
        {"head_dim": None, "num_key_value_heads": None, "num_attention_heads": 8, "num_hidden_layers": 2},
        {"is_causal": False, "rope_theta": 70.0, "intermediate_size": 20, "head_dim": 10, "num_key_value_heads": 1},
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 30.0, "factor": 2.0}},
    ],
    "gemma3_text": [
        {"use_bidirectional_attention": False, "sliding_window": 5, "attention_bias": False, "rms_norm_eps": 0.1},
        {"use_bidirectional_attention": None, "is_causal": False, "sliding_window": 5, "query_pre_attn_scalar": 4},
        {"use_bidirectional_attention": True, "is_causal": False, "sliding_window": 7, "hidden_activation": "silu"},
        {"use_bidirectional_attention": True, "is_causal": True, "sliding_window": 1, "num_key_value_heads": 1},
        {"layer_types": ["full_attention", "sliding_attention"] * 2, "head_dim": 10, "num_attention_heads": 8},
        {"rope_theta": 30.0, "rope_local_base_freq": 11.0, "final_logit_softcapping": 3.0, "intermediate_size": 20},
        {"rope_scaling": {"rope_type": "linear", "factor": 8.0}, "num_hidden_layers": 3},
        {
            "rope_parameters": {
                "full_attention": {"rope_type": "yarn", "rope_theta": 30.0, "factor": 2.0, "original_max_position_embeddings": 9},
                "sliding_attention": {"type": "linear", "factor": 3, "rope_theta": 9},
            }
        },
    ],
    "qwen2": [
        {"rms_norm_eps": 0.1, "hidden_act": "gelu", "num_key_value_heads": 4},
        {"is_causal": False, "head_dim": 10},
        {"is_causal": False, "layer_types": ["full_attention"] * 4, "num_key_value_heads": None},
        {"sliding_window": 1, "max_window_layers": 0, "num_hidden_layers": 3, "intermediate_size": 20, "rope_theta": 20.0},
    ],
    "qwen3": [
        {"attention_bias": False, "rms_norm_eps": 0.1, "hidden_act": "gelu", "head_dim": 16},
        {"is_causal": False, "num_key_value_heads": 1},
        {"is_causal": False, "use_sliding_window": False, "num_key_value_heads": None},
        {"sliding_window": 3, "max_window_layers": 0, "num_hidden_layers": 3, "intermediate_size": 20},
        {"layer_types": ["sliding_attention", "full_attention", "full_attention", "sliding_attention"]},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 30.0}, "num_attention_heads": 8},
        {"rope_theta": 50, "rope_scaling": {"type": "linear", "factor": 4.0}, "sliding_window": None},
    ],
}

HOSTILE: list[tuple[str, dict[str, Any]]] = [
    ("qwen3", {"num_key_value_heads": 3}),
    ("qwen3", {"num_key_value_heads": 0}),
    ("qwen3", {"head_dim": 0}),
    ("qwen3", {"sliding_window": 0}),
    ("qwen3", {"sliding_window": 2**31}),
    ("qwen3", {"is_causal": None}),
    ("qwen3", {"layer_types": ["full_attention"] * 3}),
    ("qwen3", {"layer_types": ["full_attention"] * 3 + ["chunked_attention"]}),
    ("qwen3", {"layer_types": ["sliding_attention"] * 4, "use_sliding_window": False}),
    ("qwen3", {"use_bidirectional_attention": True}),
    ("qwen3", {"head_dim": None}),
    ("qwen2", {"head_dim": None}),
    ("qwen2", {"attention_bias": True}),
    ("eurobert", {"is_causal": True}),
    ("gemma3_text", {"attn_logit_softcapping": 30.0}),
    ("gemma3_text", {"sliding_window": None}),
    ("gemma3_text", {"sliding_window": -1}),
    ("gemma3_text", {"sliding_window": 0, "use_bidirectional_attention": False}),
    ("gemma3_text", {"sliding_window_pattern": 0}),
    ("gemma3_text", {"_sliding_window_pattern": 2, "layer_types": None, "sliding_window_pattern": "absent"}),
    ("gemma3_text", {"rope_scaling": {"type": "linear", "factor": 8.0}, "rope_parameters": None}),
    ("gemma3_text", {"rope_parameters": {"rope_type": "default", "rope_theta": 3.0}}),
    ("gemma3_text", {"query_pre_attn_scalar": 0}),
    ("eurobert", {"sliding_window": 4}),
    ("eurobert", {"num_key_value_heads": 3}),
    ("qwen3", {"max_position_embeddings": 0}),
]
