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


def _translate(file: ConfigFile) -> None:
    """Translates Nomic's config, with GPT-2's keys; newer files also have transformers' keys."""
    _CODE.check(file)
    if "n_embd" not in file:
        return
    fix(
        file,
        activation_function="swiglu",
        qkv_proj_bias=False,
        mlp_fc1_bias=False,
        mlp_fc2_bias=False,
        rotary_emb_fraction=1.0,
    )
    allow(
        file,
        prenorm=False,
        parallel_block=False,
        causal=False,
        use_rms_norm=False,
        rotary_emb_interleaved=False,
        rotary_emb_scale_base=None,
        rotary_scaling_factor=None,
        rotary_head_dim=False,
        num_heads_kv=None,
        moe_every_n_layers=0,
        num_experts=0,
    )
    drop(
        file,
        "attn_pdrop embd_pdrop resid_pdrop dense_seq_output fused_bias_fc fused_dropout_add_ln "
        "use_flash_attn use_xentropy reorder_and_upcast_attn scale_attn_by_inverse_layer_idx "
        "scale_attn_weights summary_first_dropout summary_proj_to_labels max_trained_positions "
        "parallel_block_tied_norm add_pooling_layer",
    )
    need(file, "n_layer n_head n_inner layer_norm_epsilon")
    file.require("hidden_act", ("silu",))
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


NOMIC = Translation("nomic_bert", lambda file: "auto_map" in file or "n_embd" in file, _translate)
