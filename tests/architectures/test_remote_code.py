"""Configs for code on the Hub: translated for transformers' own class; the code is not run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from fixtures import models
from fixtures.architectures.llama import LLAMA3
from fixtures.jina_bert import embeddings as jina_bert_embeddings
from fixtures.jina_bert import slope, write_jina_bert
from fixtures.models import rewrite
from tests.support.helpers import build, embed, reference
from tf_exporter import convert
from tf_exporter.architectures.jina_bert.encoder import slopes
from tf_exporter.architectures.translation import translated
from tf_exporter.layers.rope_keys import read_flat_rope
from tf_exporter.layers.rotary import Rotary
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.reference.view import transformers_folder
from tf_exporter.model.source import ModelSource

pytestmark = pytest.mark.slow


ATOL = 1e-5
TEXTS = models.texts(0, 33)
SIZES = {"vocab_size": len(models.VOCAB), "type_vocab_size": 2}

_NOMIC = "nomic-ai/nomic-bert-2048--"
_FLASH = "jinaai/xlm-roberta-flash-implementation--"
NOMIC: dict[str, Any] = {
    **SIZES,
    "model_type": "nomic_bert",
    "architectures": ["NomicBertModel"],
    "auto_map": {
        "AutoConfig": f"{_NOMIC}configuration_hf_nomic_bert.NomicBertConfig",
        "AutoModel": f"{_NOMIC}modeling_hf_nomic_bert.NomicBertModel",
        "AutoModelForMaskedLM": f"{_NOMIC}modeling_hf_nomic_bert.NomicBertForPreTraining",
    },
    "n_embd": 32,
    "n_head": 4,
    "n_inner": 48,
    "n_layer": 3,
    "n_positions": 64,
    "layer_norm_epsilon": 1e-12,
    "rotary_emb_base": 1000,
    "rotary_emb_fraction": 1.0,
    "rotary_emb_interleaved": False,
    "rotary_emb_scale_base": None,
    "rotary_scaling_factor": None,
    "activation_function": "swiglu",
    "attn_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "resid_pdrop": 0.0,
    "causal": False,
    "dense_seq_output": True,
    "fused_bias_fc": True,
    "fused_dropout_add_ln": True,
    "max_trained_positions": 2048,
    "mlp_fc1_bias": False,
    "mlp_fc2_bias": False,
    "pad_vocab_size_multiple": 1,
    "parallel_block": False,
    "parallel_block_tied_norm": False,
    "prenorm": False,
    "qkv_proj_bias": False,
    "reorder_and_upcast_attn": False,
    "scale_attn_by_inverse_layer_idx": False,
    "scale_attn_weights": True,
    "summary_first_dropout": 0.0,
    "summary_proj_to_labels": True,
    "summary_type": "cls_index",
    "use_flash_attn": True,
    "use_rms_norm": False,
    "use_xentropy": True,
}
NEW: dict[str, Any] = {
    "vocab_size": len(models.MPNET_VOCAB),
    "type_vocab_size": 1,
    "model_type": "new",
    "auto_map": {
        "AutoConfig": "Alibaba-NLP/new-impl--configuration.NewConfig",
        "AutoModel": "Alibaba-NLP/new-impl--modeling.NewModel",
    },
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "hidden_act": "gelu",
    "layer_norm_type": "layer_norm",
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 64,
    "position_embedding_type": "rope",
    "rope_theta": 20.0,
    "rope_scaling": None,
    "pack_qkv": True,
    "unpad_inputs": True,
    "use_memory_efficient_attention": True,
    "logn_attention_clip1": False,
    "logn_attention_scale": False,
}
SNOWFLAKE = {
    **NEW,
    "model_type": "gte",
    "auto_map": {
        "AutoConfig": "configuration_hf_alibaba_nlp_gte.GteConfig",
        "AutoModel": "modeling_hf_alibaba_nlp_gte.GteModel",
    },
}
JINA_V3: dict[str, Any] = {
    **{
        key: NEW[key]
        for key in list(NEW)
        if key in SIZES or "size" in key or key.startswith("num_")
    },
    "model_type": "xlm-roberta",
    "auto_map": {
        "AutoConfig": f"{_FLASH}configuration_xlm_roberta.XLMRobertaFlashConfig",
        "AutoModel": f"{_FLASH}modeling_xlm_roberta.XLMRobertaModel",
    },
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
    "max_position_embeddings": 64,
    "position_embedding_type": "rotary",
    "rotary_emb_base": 30.0,
    "use_flash_attn": True,
    "lora_adaptations": None,
    "lora_rank": 4,
}
NTK = {"type": "ntk", "factor": 4.0}
BIDIREC: dict[str, Any] = {
    "model_type": "llama_bidirec",
    "architectures": ["LlamaBidirectionalModel"],
    "auto_map": {
        "AutoConfig": "llama_bidirectional_model.LlamaBidirectionalConfig",
        "AutoModel": "llama_bidirectional_model.LlamaBidirectionalModel",
    },
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "head_dim": 6,
    "hidden_act": "silu",
    "hidden_size": 32,
    "initializer_range": 0.02,
    "intermediate_size": 48,
    "max_position_embeddings": 48,
    "mlp_bias": False,
    "num_attention_heads": 4,
    "num_hidden_layers": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "pooling": "avg",
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-5,
    "rope_scaling": LLAMA3,
    "rope_theta": 500.0,
    "temperature": 0.02,
    "tie_word_embeddings": False,
    "use_cache": True,
    "vocab_size": len(models.VOCAB),
}
NATIVE_BIDIREC: dict[str, Any] = {
    "is_causal": False,
    "attention_bias": False,
    "mlp_bias": False,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500.0,
    "rope_scaling": LLAMA3,
}

CASES: list[tuple[dict[str, Any], dict[str, Any], str, dict[str, Any]]] = [
    (NOMIC, {}, "nomic_bert", {}),
    (
        NOMIC,
        {"n_head": 2, "n_inner": 20, "n_layer": 1}
        | {"layer_norm_epsilon": 0.1, "rotary_emb_base": 9.0, "rotary_emb_fraction": 1},
        "nomic_bert",
        {
            "num_attention_heads": 2,
            "intermediate_size": 20,
            "num_hidden_layers": 1,
            "layer_norm_eps": 0.1,
            "rope_parameters": {"rope_type": "default", "rope_theta": 9.0},
        },
    ),
    (
        NOMIC,
        {"vocab_size": len(models.VOCAB) - 3, "pad_vocab_size_multiple": len(models.VOCAB)}
        | {"max_position_embeddings": 48, "hidden_size": 32, "head_dim": 8}
        | {"rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}},
        "nomic_bert",
        {},
    ),
    (NEW, {}, "gte", {"rope_theta": 20.0}),
    (NEW, {"type_vocab_size": 0, "rope_scaling": NTK, "hidden_act": "relu"},
     "gte", {"type_vocab_size": 0, "hidden_act": "relu"}),
    (SNOWFLAKE, {"layer_norm_eps": 0.2}, "gte", {"rope_theta": 20.0, "layer_norm_eps": 0.2}),
    (JINA_V3, {}, "jina_embeddings_v3", {"rope_theta": 30.0}),
    (JINA_V3, {"rotary_emb_base": 4, "layer_norm_eps": 0.1, "lora_adaptations": []},
     "jina_embeddings_v3", {"rope_theta": 4, "layer_norm_eps": 0.1}),
    (BIDIREC, {}, "llama", NATIVE_BIDIREC),
    (BIDIREC, {"is_causal": False, "rope_scaling": None, "architectures": None}
     | {"use_bidirectional_attention": True},
     "llama", {**NATIVE_BIDIREC, "rope_scaling": None}),
]  # fmt: skip


def published(folder: Path, config: dict[str, Any], **changes: Any) -> Path:
    """A copy of the folder with a published config; the tensor names are already published ones."""
    copy = folder.with_name(folder.name + "_published")
    shutil.copytree(folder, copy)
    (copy / "config.json").write_text(json.dumps({**config, **changes}))
    return copy


@pytest.mark.parametrize(
    ("config", "changes", "model_type", "native"), CASES, ids=range(len(CASES))
)
def test_published_config(
    tmp_path: Path,
    config: dict[str, Any],
    changes: dict[str, Any],
    model_type: str,
    native: dict[str, Any],
) -> None:
    if changes.get("rope_scaling") == NTK:
        # The frequencies of the published code for heads of 8, theta 20 and factor 4.
        native = {
            **native,
            "rope_parameters": {"rope_type": "linear", "factor": 4 ** (2 / 8), "rope_theta": 80.0},
        }
    folder = models.write_model(tmp_path / "model", model_type, seed=3, **native)
    expected = reference(folder).encode(TEXTS)
    result = embed(build(published(folder, config, **changes)), TEXTS)
    assert np.abs(result - expected).max() <= ATOL


def test_prefix_of_published_heads(tmp_path: Path) -> None:
    """The names and the head of gte-multilingual-base; transformers' own class reads them too."""
    folder = models.write_model(tmp_path / "model", "gte", seed=4, rope_theta=20.0)
    tensors = {
        f"new.{name}": tensor for name, tensor in load_file(folder / "model.safetensors").items()
    }
    save_file(
        {**tensors, "classifier.bias": torch.zeros(3)},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    expected = reference(folder).encode(TEXTS)
    for encoder in (build(folder), build(published(folder, NEW))):
        assert np.abs(embed(encoder, TEXTS) - expected).max() <= ATOL


def test_ntk_frequencies(tmp_path: Path) -> None:
    """The frequencies of the published code of "new" models, in its own order of operations."""
    size, theta, factor = 8, 20.0, 4.0
    exponents = torch.arange(0, size, 2).float() / size
    expected = (1.0 / (theta * factor) ** exponents) / factor ** (2 / size)
    config = translated(ConfigFile("config.json", {**NEW, "rope_scaling": NTK}))
    assert config is not None
    cosines, sines = Rotary(read_flat_rope(config, 1.0, 8192, size))(50)
    angles = torch.outer(torch.arange(50).float(), expected).repeat(1, 2)
    np.testing.assert_allclose(cosines.numpy(), angles.cos().numpy(), atol=3e-6)
    np.testing.assert_allclose(sines.numpy(), angles.sin().numpy(), atol=3e-6)


@pytest.mark.parametrize("part", ["", "0_Transformer"])
def test_conversion(tmp_path: Path, part: str) -> None:
    """The reference and the tokenizer see neither the published config nor any code."""
    folder = models.write_model(tmp_path / "model", "gte", rope_theta=20.0)
    folder = published(folder, NEW, rope_scaling=NTK)
    marker = tmp_path / "was run"
    code = f"open({str(marker)!r}, 'w')"
    if part:
        (folder / part).mkdir()
        for name in (
            "config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
            "sentence_bert_config.json",
        ):
            (folder / name).rename(folder / part / name)
        entries = json.loads((folder / "modules.json").read_text())
        entries[0]["path"] = part
        (folder / "modules.json").write_text(json.dumps(entries))
    for name in ("configuration.py", "modeling.py"):
        (folder / part / name).write_text(code)
    rewrite(
        folder / part / "config.json",
        auto_map={"AutoConfig": "configuration.NewConfig", "AutoModel": "modeling.NewModel"},
    )
    # A model cannot set trust_remote_code; sentence-transformers ignores it too.
    trust = {
        key: {"trust_remote_code": True} for key in ("model_args", "tokenizer_args", "config_args")
    }
    rewrite(folder / part / "sentence_bert_config.json", **trust)
    conversion = convert(folder, tmp_path / "out")
    assert conversion.verification["max_abs_difference"] <= ATOL
    assert "the reference was transformers' `gte`" in conversion.verification["note"]
    assert any("never run" in line for line in conversion.summary)
    assert conversion.manifest["model_type"] == "gte"
    assert not marker.exists()


def test_view(tmp_path: Path) -> None:
    for name in (
        "a/b/config.json",
        "a/b/model.safetensors",
        "a/b/modeling.py",
        "a/other.json",
        "1_Pooling/config.json",
    ):
        (tmp_path / "model" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / name).write_text(name)
    source = ModelSource(tmp_path / "model", "model")
    source.stand_in("a/b/config.json", {"model_type": "gte"})
    with transformers_folder(source) as view:
        names = (
            "a/b/config.json",
            "a/b/model.safetensors",
            "a/other.json",
            "1_Pooling/config.json",
        )
        texts = {name: (view / name).read_text() for name in names}
        assert texts == {
            **{name: name for name in names},
            "a/b/config.json": '{"model_type": "gte"}',
        }
        assert not (view / "a/b/modeling.py").exists()
    assert not view.exists()
    assert (tmp_path / "model/a/b/config.json").read_text() == "a/b/config.json"
    with transformers_folder(ModelSource(tmp_path / "model", "model")) as view:
        assert view == tmp_path / "model"


JINA: list[dict[str, Any]] = [
    {},
    {"feed_forward_type": "reglu", "layer_norm_eps": 0.1, "num_hidden_layers": 1},
    {"num_attention_heads": 4, "hidden_size": 24, "type_vocab_size": 1},
]


@pytest.mark.parametrize("code", [False, True])
@pytest.mark.parametrize("changes", JINA, ids=str)
def test_jina_bert(tmp_path: Path, code: bool, changes: dict[str, Any]) -> None:
    """Compared with a plain torch implementation, as transformers has no class for it."""
    if code:
        changes = {
            **changes,
            "auto_map": {
                "AutoModel": "jinaai/jina-bert-v2-qk-post-norm--modeling_bert.JinaBertModel"
            },
        }
    folder = write_jina_bert(tmp_path / "model", code, **changes)
    expected = jina_bert_embeddings(folder, TEXTS, max_length=32).numpy()
    encoder = build(folder)
    for size in (32, 1):
        assert np.abs(embed(encoder, TEXTS, batch_size=size) - expected).max() <= ATOL


@pytest.mark.parametrize("heads", [1, 2, 3, 6, 8, 12, 16, 20])
def test_slopes(heads: int) -> None:
    np.testing.assert_allclose(
        slopes(heads), [slope(head, heads) for head in range(heads)], rtol=1e-12
    )


def test_jina_bert_is_not_verified(tmp_path: Path) -> None:
    """The embeddings are reported as not verified; the token ids are verified."""
    conversion = convert(write_jina_bert(tmp_path / "model", code=False), tmp_path / "out")
    assert conversion.verification["token_texts"] > 0
    assert conversion.verification["embedding_texts"] == 0
    assert conversion.summary[1].startswith("Not verified: embeddings: transformers has no class")
    assert conversion.manifest["model_type"] == "jina_bert"
