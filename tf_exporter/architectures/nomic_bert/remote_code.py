"""Translation of configs for Nomic's code."""

from __future__ import annotations

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.remote_code import (
    RemoteCode,
    Translation,
    allow,
    classes,
    drop,
    fix,
    need,
    rename,
    set_rotary,
)

_CODE = RemoteCode(
    ("nomic-ai/nomic-bert-2048",),
    classes(
        "configuration_hf_nomic_bert.NomicBertConfig",
        "modeling_hf_nomic_bert.NomicBert",
        "ForMultipleChoice",
    ),
)


_OF_EXPERTS = """
    moe_impl moe_resid_pdrop router_aux_loss_coef moe_normalize_expert_weights expert_choice_router
    num_shared_experts ffn_div
"""
"""Keys that matter only in layers of experts, besides those of the router."""


def _translate(file: ConfigFile) -> None:
    """Translates Nomic's config, with GPT-2's keys; newer files also have transformers' keys."""
    _CODE.check(file)
    if "n_embd" not in file:
        return
    experts = any(file.take(key, int, 0) > 0 for key in ("num_experts", "moe_every_n_layers"))
    if experts:
        _translate_experts(file)
    else:
        _translate_gated(file)
    fix(file, rotary_emb_fraction=1.0)
    allow(
        file,
        prenorm=False,
        parallel_block=False,
        causal=False,
        rotary_emb_interleaved=False,
        rotary_emb_scale_base=None,
        rotary_scaling_factor=None,
        rotary_head_dim=False,
        num_heads_kv=None,
    )
    file.require("use_rms_norm", (False, None))
    drop(
        file,
        "attn_pdrop embd_pdrop resid_pdrop dense_seq_output fused_bias_fc fused_dropout_add_ln "
        "use_flash_attn use_xentropy reorder_and_upcast_attn scale_attn_by_inverse_layer_idx "
        "scale_attn_weights summary_first_dropout summary_proj_to_labels max_trained_positions "
        "parallel_block_tied_norm add_pooling_layer use_rms_norm",
    )
    need(file, "n_layer n_head n_inner layer_norm_epsilon")
    if "max_position_embeddings" in file:
        # transformers reads this key, so it determines the longest text.
        file.values.pop("n_positions", None)
    rename(file, "n_embd", "hidden_size")
    rename(file, "n_layer", "num_hidden_layers")
    rename(file, "n_head", "num_attention_heads")
    rename(file, "n_inner", "intermediate_size")
    rename(file, "n_positions", "max_position_embeddings")
    rename(file, "layer_norm_epsilon", "layer_norm_eps")
    multiple: int = file.take("pad_vocab_size_multiple", int, 1)
    rows: int = file.take("vocab_size", int, required=True)
    if multiple < 1:
        raise file.unsupported("pad_vocab_size_multiple", "a number of at least 1")
    file.values["vocab_size"] = -(-rows // multiple) * multiple
    file.values.pop("pad_vocab_size_multiple", None)
    set_rotary(file, "rotary_emb_base", None)


def _translate_gated(file: ConfigFile) -> None:
    """Translates the keys of gated layers without biases, which transformers' class has."""
    fix(
        file,
        activation_function="swiglu",
        qkv_proj_bias=False,
        mlp_fc1_bias=False,
        mlp_fc2_bias=False,
    )
    file.require("hidden_act", ("silu",))
    drop(file, f"num_experts moe_every_n_layers moe_top_k {_OF_EXPERTS}")


def _translate_experts(file: ConfigFile) -> None:
    """Translates the keys of layers with experts, and of the plain layers between them."""
    fix(
        file,
        activation_function="gelu",
        qkv_proj_bias=True,
        mlp_fc1_bias=True,
        mlp_fc2_bias=True,
    )
    need(file, "num_experts moe_top_k moe_every_n_layers")
    allow(
        file,
        moe_normalize_expert_weights=False,
        expert_choice_router=False,
        num_shared_experts=0,
        ffn_div=1.0,
    )
    # The implementation of the products, and training.
    drop(file, "moe_impl moe_resid_pdrop router_aux_loss_coef")
    file.values["model_type"] = "nomic_bert_moe"


NOMIC = Translation("nomic_bert", lambda file: "auto_map" in file or "n_embd" in file, _translate)
