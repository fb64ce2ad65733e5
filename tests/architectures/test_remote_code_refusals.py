"""Configs written for code on the Hub that are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fixtures.jina_bert import CONFIG
from fixtures.models import rewrite
from fixtures.nomic_bert_moe import CONFIG as EXPERTS
from tests.architectures.test_remote_code import (
    BIDIREC,
    JINA_V3,
    NEW,
    NOMIC,
    NTK,
    SNOWFLAKE,
    published,
)
from tests.support.refusals import refused
from tf_exporter import InputError, UnsupportedError
from tf_exporter.exports.check import check_supported
from tf_exporter.model.source import ModelSource
from tf_exporter.options import Options

pytestmark = pytest.mark.slow

REFUSED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (
        NOMIC,
        {"auto_map": {"AutoConfig": "someone/else--configuration_hf_nomic_bert.NomicBertConfig"}},
        "auto_map",
    ),
    (
        NOMIC,
        {
            "auto_map": {
                "AutoModel": "nomic-ai/nomic-bert-2048--modeling_hf_nomic_bert.NomicVisionModel"
            }
        },
        "auto_map",
    ),
    (NOMIC, {"auto_map": ["modeling_hf_nomic_bert.NomicBertModel", {}]}, "auto_map"),
    (NOMIC, {"n_embd": 64, "hidden_size": 32}, "n_embd"),
    (NOMIC, {"rotary_scaling_factor": 2}, "rotary_scaling_factor"),
    (NOMIC, {"rotary_emb_fraction": 0.5}, "rotary_emb_fraction"),
    (NOMIC, {"rotary_emb_interleaved": True}, "rotary_emb_interleaved"),
    (
        NOMIC,
        {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
        "rope_parameters",
    ),
    (NOMIC, {"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling"),
    (JINA_V3, {"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling"),
    (NOMIC, {"activation_function": "gelu"}, "activation_function"),
    (NOMIC, {"hidden_act": "gelu"}, "hidden_act"),
    (NOMIC, {"mlp_fc1_bias": True}, "mlp_fc1_bias"),
    (NOMIC, {"prenorm": True}, "prenorm"),
    (NOMIC, {"causal": True}, "causal"),
    (NOMIC, {**EXPERTS, "activation_function": "swiglu"}, "activation_function"),
    (NOMIC, {**EXPERTS, "mlp_fc2_bias": False}, "mlp_fc2_bias"),
    (NOMIC, {**EXPERTS, "hidden_act": "silu"}, "hidden_act"),
    (NOMIC, {**EXPERTS, "moe_top_k": 9}, "moe_top_k"),
    (NOMIC, {**EXPERTS, "moe_top_k": 0}, "moe_top_k"),
    (NOMIC, {**EXPERTS, "moe_every_n_layers": 1}, "moe_every_n_layers"),
    (NOMIC, {**EXPERTS, "moe_every_n_layers": 0}, "moe_every_n_layers"),
    (NOMIC, {**EXPERTS, "num_experts": 0}, "num_experts"),
    (NOMIC, {**EXPERTS, "num_experts": 10**6}, "num_experts"),
    (NOMIC, {**EXPERTS, "num_experts": "8"}, "num_experts"),
    (NOMIC, {**EXPERTS, "moe_normalize_expert_weights": True}, "moe_normalize_expert_weights"),
    (NOMIC, {**EXPERTS, "expert_choice_router": True}, "expert_choice_router"),
    (NOMIC, {**EXPERTS, "num_shared_experts": 1}, "num_shared_experts"),
    (NOMIC, {**EXPERTS, "ffn_div": 2}, "ffn_div"),
    (NOMIC, {**EXPERTS, "use_rms_norm": True}, "use_rms_norm"),
    (NOMIC, {**EXPERTS, "moe_jitter_eps": 0.1}, "moe_jitter_eps"),
    (NOMIC, {"n_inner": None}, "intermediate_size"),
    (NOMIC, {"pad_vocab_size_multiple": 0}, "pad_vocab_size_multiple"),
    (NOMIC, {"something_new": 1}, "something_new"),
    (BIDIREC, {"auto_map": {"AutoModel": "modeling_llama.LlamaBidirectionalModel"}}, "auto_map"),
    (
        BIDIREC,
        {
            "auto_map": {
                "AutoModelForSequenceClassification": "llama_bidirectional_model."
                "LlamaBidirectionalForSequenceClassification"
            }
        },
        "auto_map",
    ),
    (
        BIDIREC,
        {"architectures": ["LlamaBidirectionalForSequenceClassification"]},
        "architectures",
    ),
    (BIDIREC, {"is_causal": True}, "is_causal"),
    (BIDIREC, {"use_bidirectional_attention": False}, "use_bidirectional_attention"),
    (BIDIREC, {"something_new": 1}, "something_new"),
    (NEW, {"auto_map": {"AutoConfig": "Alibaba-NLP/new-impl--other.NewConfig"}}, "auto_map"),
    (NEW, {"position_embedding_type": "absolute"}, "position_embedding_type"),
    (NEW, {"layer_norm_type": "rms_norm"}, "layer_norm_type"),
    (NEW, {"logn_attention_scale": True}, "logn_attention_scale"),
    (NEW, {"pack_qkv": False}, "pack_qkv"),
    (NEW, {"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope_scaling.type"),
    (NEW, {"rope_scaling": {**NTK, "mixed_b": 0.5}}, "rope_scaling.mixed_b"),
    (NEW, {"rope_scaling": {"type": "ntk", "factor": 0.5}}, "rope_scaling.factor"),
    (NEW, {"num_attention_heads": 0, "rope_scaling": NTK}, "num_attention_heads"),
    (NEW, {"num_attention_heads": 10**9, "hidden_size": 1, "rope_scaling": NTK}, "num_attention"),
    (NEW, {"rope_theta": -1.0}, "rope_theta"),
    (NEW, {"head_dim": 16}, "head_dim"),
    (SNOWFLAKE, {"auto_map": NEW["auto_map"]}, "auto_map"),
    (JINA_V3, {"lora_adaptations": ["a", "a"]}, "lora_adaptations"),
    (JINA_V3, {"task_instructions": {"retrieval.query": "Represent"}}, "task_instructions"),
    (
        JINA_V3,
        {"auto_map": {"AutoModel": "jinaai/other--modeling_xlm_roberta.XLMRobertaModel"}},
        "auto_map",
    ),
]


@pytest.mark.parametrize(
    ("config", "changes", "word"),
    REFUSED,
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refused(
    tmp_path: Path, config: dict[str, Any], changes: dict[str, Any], word: str, bert: Path
) -> None:
    refused(published(bert, config, **changes), UnsupportedError, word)


JINA_REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {
            "auto_map": {
                "AutoModel": "jinaai/jina-bert-flash-implementation--modeling_bert.BertModel"
            }
        },
        "auto_map",
    ),
    ({"feed_forward_type": "original"}, "feed_forward_type"),
    ({"num_attention_heads": 5}, "num_attention_heads"),
    ({"something_new": 1}, "something_new"),
]


@pytest.mark.parametrize(("changes", "word"), JINA_REFUSED)
def test_jina_bert_refused(tmp_path: Path, changes: dict[str, Any], word: str, bert: Path) -> None:
    refused(published(bert, CONFIG, **changes), UnsupportedError, word)


@pytest.mark.parametrize(
    ("config", "key"),
    [(EXPERTS, "moe_top_k"), (EXPERTS, "num_experts"), (EXPERTS, "moe_every_n_layers"),
     (EXPERTS, "qkv_proj_bias"), (NOMIC, "layer_norm_epsilon"), (NOMIC, "qkv_proj_bias"),
     (NEW, "num_attention_heads"), (NEW, "rope_theta"), (JINA_V3, "hidden_act"),
     (JINA_V3, "rotary_emb_base")],
)  # fmt: skip
def test_missing_keys(tmp_path: Path, config: dict[str, Any], key: str, bert: Path) -> None:
    """Keys whose defaults differ between the published code and transformers' own class."""
    refused(
        published(bert, {name: value for name, value in config.items() if name != key}),
        InputError,
        key,
        "missing",
    )


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """A model that is refused before its weights are read."""
    folder = tmp_path / "model"
    folder.mkdir()
    entry = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}
    (folder / "modules.json").write_text(json.dumps([entry]))
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    return folder


@pytest.mark.parametrize(
    ("model_type", "code"), [("bert", NEW["auto_map"]), ("xlm-roberta", JINA_V3["auto_map"])]
)
def test_the_reference_takes_its_own_class(
    model_type: str, code: dict[str, str], bert: Path
) -> None:
    """The code is ignored unless a key asks for more than transformers' own class computes."""
    source = ModelSource(published(bert, {"model_type": model_type}, auto_map=code), "model")
    check_supported(source, Options())
    assert source.ignored == {"config.json": ["auto_map"]}
    rewrite(source.folder / "config.json", num_experts=2)
    source = ModelSource(source.folder, "model")
    with pytest.raises(UnsupportedError, match="num_experts"):
        check_supported(source, Options())
