"""Keys of every architecture's config: changes that show in the embeddings, and values that are refused."""

from __future__ import annotations

from typing import Any

CHANGES: dict[str, list[dict[str, Any]]] = {
    "bert": [
        {"layer_norm_eps": 0.3},
        {"hidden_act": "relu"},
        {"num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 80},
        {"type_vocab_size": 1},
        {"pad_token_id": 7},
    ],
    "electra": [
        {"type_vocab_size": 1, "num_attention_heads": 8, "num_hidden_layers": 2, "intermediate_size": 20},
        {"embedding_size": 32},
        {"hidden_act": "silu", "layer_norm_eps": 0.1},
    ],
    "distilbert": [
        {"activation": "relu"},
        {"sinusoidal_pos_embds": True},
        {"n_heads": 8, "n_layers": 1, "hidden_dim": 20},
    ],
    "mpnet": [
        {"intermediate_size": 20, "num_hidden_layers": 2},
        {"layer_norm_eps": 0.3, "hidden_act": "gelu_new"},
        {"relative_attention_num_buckets": 40},
        {"num_attention_heads": 8},
    ],
    "roberta": [
        {"intermediate_size": 20, "num_hidden_layers": 2},
        {"pad_token_id": 0, "max_position_embeddings": 49},
        {"pad_token_id": 5, "max_position_embeddings": 54, "type_vocab_size": 1, "hidden_act": "gelu_new"},
        {"layer_norm_eps": 0.2, "num_attention_heads": 2},
    ],
    "xlm-roberta": [
        {"hidden_act": "gelu_new", "num_attention_heads": 8, "num_hidden_layers": 2, "pad_token_id": 0, "type_vocab_size": 1},
        {"layer_norm_eps": 1e-05, "intermediate_size": 20},
    ],
    "camembert": [
        {"layer_norm_eps": 0.2, "type_vocab_size": 1, "num_attention_heads": 8, "intermediate_size": 20, "pad_token_id": 0},
        {"num_hidden_layers": 1, "hidden_act": "relu"},
    ],
    "modernbert": [
        {"norm_eps": 0.1, "norm_bias": True, "attention_bias": True, "mlp_bias": True},
        {"local_attention": 5, "hidden_activation": "silu", "global_attn_every_n_layers": 2},
        {"layer_types": ["sliding_attention", "full_attention", "sliding_attention", "sliding_attention"]},
        {"global_rope_theta": 20.0, "local_rope_theta": 50},
        {
            "rope_parameters": {
                "full_attention": {"rope_type": "default", "rope_theta": 30.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 9},
            }
        },
        {"num_attention_heads": 8, "intermediate_size": 20, "num_hidden_layers": 2},
    ],
    "t5": [
        {"relative_attention_num_buckets": 32, "relative_attention_max_distance": 128, "layer_norm_epsilon": 0.1},
        {"feed_forward_proj": "gated-gelu", "d_kv": 8},
        {"feed_forward_proj": "gated-silu", "num_heads": 2, "num_layers": 1, "d_ff": 16},
    ],
    "mt5": [
        {"d_ff": 20, "d_kv": 8, "num_heads": 2, "num_layers": 2, "layer_norm_epsilon": 0.1},
        {"feed_forward_proj": "relu", "relative_attention_num_buckets": 33, "relative_attention_max_distance": 9},
    ],
    "umt5": [
        {"d_ff": 20, "d_kv": 8, "num_heads": 2, "layer_norm_epsilon": 0.1},
        {"relative_attention_num_buckets": 33, "relative_attention_max_distance": 9},
        {"num_layers": 5, "feed_forward_proj": "gelu"},
    ],
    "ernie": [
        {"hidden_act": "relu", "num_attention_heads": 8, "num_hidden_layers": 2, "intermediate_size": 20},
        {"use_task_id": False},
        {"task_type_vocab_size": 1, "type_vocab_size": 1, "layer_norm_eps": 0.3},
    ],
    "albert": [
        {"type_vocab_size": 1},
        {"embedding_size": 32, "hidden_act": "gelu"},
        {"num_hidden_layers": 7, "num_hidden_groups": 3, "layer_norm_eps": 0.1},
        {"num_hidden_layers": 2, "inner_group_num": 3, "num_attention_heads": 8, "intermediate_size": 60},
    ],
    "deberta-v2": [
        {"relative_attention": False, "pos_att_type": ["c2p"], "embedding_size": 32, "type_vocab_size": 0, "conv_kernel_size": 0},
        {"position_biased_input": False, "share_att_key": True, "position_buckets": -1, "max_relative_positions": -1},
        {"pos_att_type": ["p2c"], "norm_rel_ebd": "none", "position_buckets": 0, "max_relative_positions": 10},
        {"pos_att_type": ["c2p"], "share_att_key": True, "norm_rel_ebd": "none | layer_norm", "position_buckets": 9},
        {"pos_att_type": [], "share_att_key": True, "conv_act": "tanh", "layer_norm_eps": 0.2},
        {"pos_att_type": None, "conv_kernel_size": 5, "conv_groups": 4, "conv_act": "relu", "num_attention_heads": 8},
        {"position_biased_input": False, "position_buckets": 32, "max_relative_positions": 18, "attention_head_size": 8},
        {
            "num_attention_heads": 2,
            "num_hidden_layers": 1,
            "intermediate_size": 20,
            "hidden_act": "gelu_new",
            "position_buckets": 3,
        },
    ],
    "convbert": [
        {"num_groups": 1, "conv_kernel_size": 9, "embedding_size": 32, "layer_norm_eps": 0.3},
        {"head_ratio": 1, "conv_kernel_size": 1, "intermediate_size": 20, "hidden_act": "relu"},
        {"head_ratio": 9, "num_groups": 4, "type_vocab_size": 1},
        {"num_attention_heads": 8, "head_ratio": 3, "conv_kernel_size": 63, "num_hidden_layers": 2},
        {"pad_token_id": 1},
    ],
    "mobilebert": [
        {"normalization_type": "no_norm", "hidden_act": "gelu"},
        {"trigram_input": False, "num_feedforward_networks": 1},
        {"trigram_input": False, "embedding_size": 32, "num_attention_heads": 2, "layer_norm_eps": 0.3},
        {"use_bottleneck": False, "intermediate_size": 20, "use_bottleneck_attention": True},
        {"use_bottleneck": False, "key_query_shared_bottleneck": False},
        {"use_bottleneck_attention": True},
        {"use_bottleneck_attention": True, "key_query_shared_bottleneck": False, "type_vocab_size": 1},
        {"key_query_shared_bottleneck": False, "intra_bottleneck_size": 32},
        {"intra_bottleneck_size": 40, "num_attention_heads": 5, "num_hidden_layers": 1},
    ],
    "nomic_bert": [
        {"layer_norm_eps": 0.2, "hidden_act": "gelu", "type_vocab_size": 1},
        {"num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 20, "rope_theta": 20},
        {"head_dim": 6, "num_attention_heads": 5, "rope_parameters": {"rope_type": "default", "rope_theta": 9.0}},
    ],
    "gte": [
        {"num_hidden_layers": 1},
        {"layer_norm_eps": 0.2, "hidden_act": "silu", "type_vocab_size": 0},
        {"num_attention_heads": 8, "intermediate_size": 20, "rope_theta": 30.0, "rope_scaling": {"type": "linear", "factor": 4}},
        {"head_dim": 10, "type_vocab_size": 2, "rope_parameters": {"rope_type": "linear", "factor": 2.5, "rope_theta": 50}},
    ],
    "jina_embeddings_v3": [
        {"layer_norm_eps": 0.2, "hidden_act": "relu", "type_vocab_size": 2},
        {"num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 20, "rope_theta": 20},
        {"head_dim": 2, "num_attention_heads": 3, "rope_scaling": {"rope_type": "linear", "factor": 0.5}},
    ],
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
        {
            "layer_types": ["full_attention", "sliding_attention", "full_attention", "sliding_attention"],
            "head_dim": 10,
            "num_attention_heads": 8,
        },
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
        {"num_attention_heads": 8},
        {"rms_norm_eps": 0.1, "hidden_act": "gelu", "num_key_value_heads": 4},
        {"is_causal": False, "head_dim": 10},
        {
            "is_causal": False,
            "layer_types": ["full_attention", "full_attention", "full_attention", "full_attention"],
            "num_key_value_heads": None,
        },
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
"""Together they vary every key that changes the result, but for sizes of tables, which the weights have to have."""

REFUSED: dict[str, list[dict[str, Any]]] = {
    "albert": [
        {"num_hidden_layers": 10**9},
    ],
    "t5": [
        {"relative_attention_max_distance": 10**12},
    ],
    "modernbert": [
        {"global_rope_theta": 0, "rope_parameters": None},
    ],
    "deberta-v2": [
        {"position_buckets": 1},
        {"position_buckets": 46},
        {"conv_kernel_size": 10**9 + 1},
        {"conv_kernel_size": 4},
        {"conv_groups": 3},
        {"attention_head_size": 4},
        {"pos_att_type": ["p2p", "c2p"]},
        {"pos_att_type": ["C2P"]},
        {"norm_rel_ebd": "rms_norm"},
        {"z_steps": 2},
    ],
    "convbert": [
        {"num_attention_heads": 3},
        {"num_attention_heads": 32, "head_ratio": 1},
        {"conv_kernel_size": 4},
        {"conv_kernel_size": 10**9 + 1},
        {"num_groups": 5},
        {"head_ratio": 0},
    ],
    "mobilebert": [
        {"num_attention_heads": 3},
        {"normalization_type": "rms_norm"},
        {"true_hidden_size": 32},
        {"key_query_shared_bottleneck": False},
        {"num_feedforward_networks": 0},
    ],
    "nomic_bert": [
        {"rope_theta": 0, "rope_parameters": None},
        {"head_dim": 7},
    ],
    "gte": [
        {"rope_scaling": {"type": "linear", "factor": -1}, "rope_parameters": None},
        {"rope_scaling": {"type": "ntk", "factor": 2}, "rope_parameters": None},
        {"rope_scaling": {"type": "linear", "factor": 2, "beta_fast": 3}, "rope_parameters": None},
    ],
    "jina_embeddings_v3": [
        {"rope_scaling": {"type": "linear", "factor": 2}},
        {"partial_rotary_factor": 0.5},
    ],
    "qwen3": [
        {"num_key_value_heads": 3},
        {"num_key_value_heads": 0},
        {"head_dim": 0},
        {"sliding_window": 0},
        {"sliding_window": 2**31},
        {"is_causal": None},
        {"layer_types": ["full_attention", "full_attention", "full_attention"]},
        {"layer_types": ["full_attention", "full_attention", "full_attention", "chunked_attention"]},
        {
            "layer_types": ["sliding_attention", "sliding_attention", "sliding_attention", "sliding_attention"],
            "use_sliding_window": False,
        },
        {"head_dim": None},
        {"max_position_embeddings": 0},
    ],
    "qwen2": [
        {"head_dim": None},
    ],
    "eurobert": [
        {"is_causal": True},
        {"sliding_window": 4},
        {"num_key_value_heads": 3},
    ],
    "gemma3_text": [
        {"attn_logit_softcapping": 30.0},
        {"sliding_window": None},
        {"sliding_window": -1},
        {"sliding_window": 0, "use_bidirectional_attention": False},
        {"sliding_window_pattern": 0},
        {"_sliding_window_pattern": 2, "layer_types": None, "sliding_window_pattern": "absent"},
        {"rope_scaling": {"type": "linear", "factor": 8.0}, "rope_parameters": None},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 3.0}},
        {"query_pre_attn_scalar": 0},
    ],
}
"""The first key is the one that is named, but for `rope_scaling`, whose parameters are."""
