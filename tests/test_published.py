"""Configs written for code on the Hub: read in the terms of transformers' own class, which the reference runs; no code is."""

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
from fixtures.jina_bert import CONFIG, slope, write_jina_bert
from fixtures.jina_bert import embeddings as jina_bert_embeddings
from fixtures.models import rewrite
from tests.helpers import build, embed, reference
from tests.refusals import refused
from tf_exporter import InputError, UnsupportedError, convert
from tf_exporter.architectures.rope import read_flat_rope
from tf_exporter.encoders.jina_bert import slopes
from tf_exporter.encoders.rotary import Rotary
from tf_exporter.model.check import check_supported
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.options import Options
from tf_exporter.published import native_view, translated
from tf_exporter.source import ModelSource

pytestmark = pytest.mark.long


ATOL = 1e-5
TEXTS = models.texts(0, 33)
SIZES = {"vocab_size": len(models.VOCAB), "type_vocab_size": 2}

NOMIC: dict[str, Any] = {
    **SIZES,
    "model_type": "nomic_bert",
    "architectures": ["NomicBertModel"],
    "auto_map": {
        "AutoConfig": "nomic-ai/nomic-bert-2048--configuration_hf_nomic_bert.NomicBertConfig",
        "AutoModel": "nomic-ai/nomic-bert-2048--modeling_hf_nomic_bert.NomicBertModel",
        "AutoModelForMaskedLM": "nomic-ai/nomic-bert-2048--modeling_hf_nomic_bert.NomicBertForPreTraining",
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
    **{key: NEW[key] for key in list(NEW) if key in SIZES or "size" in key or key.startswith("num_")},
    "model_type": "xlm-roberta",
    "auto_map": {
        "AutoConfig": "jinaai/xlm-roberta-flash-implementation--configuration_xlm_roberta.XLMRobertaFlashConfig",
        "AutoModel": "jinaai/xlm-roberta-flash-implementation--modeling_xlm_roberta.XLMRobertaModel",
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

CASES: list[tuple[dict[str, Any], dict[str, Any], str, dict[str, Any]]] = [
    (NOMIC, {}, "nomic_bert", {}),
    (
        NOMIC,
        {"n_head": 2, "n_inner": 20, "n_layer": 1, "layer_norm_epsilon": 0.1, "rotary_emb_base": 9.0, "rotary_emb_fraction": 1},
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
        {"vocab_size": len(models.VOCAB) - 3, "pad_vocab_size_multiple": len(models.VOCAB), "max_position_embeddings": 48}
        | {"rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}, "hidden_size": 32, "head_dim": 8},
        "nomic_bert",
        {},
    ),
    (NEW, {}, "gte", {"rope_theta": 20.0}),
    (NEW, {"type_vocab_size": 0, "rope_scaling": NTK, "hidden_act": "relu"}, "gte", {"type_vocab_size": 0, "hidden_act": "relu"}),
    (SNOWFLAKE, {"layer_norm_eps": 0.2}, "gte", {"rope_theta": 20.0, "layer_norm_eps": 0.2}),
    (JINA_V3, {}, "jina_embeddings_v3", {"rope_theta": 30.0}),
    (JINA_V3, {"rotary_emb_base": 4, "layer_norm_eps": 0.1, "lora_adaptations": []}, "jina_embeddings_v3", {"rope_theta": 4}
     | {"layer_norm_eps": 0.1}),
]  # fmt: skip


def published(folder: Path, config: dict[str, Any], **changes: Any) -> Path:
    """The model's folder with its config in the published layout; the names of tensors are those already."""
    copy = folder.with_name(folder.name + "_published")
    shutil.copytree(folder, copy)
    (copy / "config.json").write_text(json.dumps({**config, **changes}))
    return copy


@pytest.mark.parametrize(("config", "changes", "model_type", "native"), CASES, ids=range(len(CASES)))
def test_published_config(
    tmp_path: Path, config: dict[str, Any], changes: dict[str, Any], model_type: str, native: dict[str, Any]
) -> None:
    if changes.get("rope_scaling") == NTK:
        # The published code's frequencies, by numbers: heads of 8, theta 20, factor 4.
        native = {**native, "rope_parameters": {"rope_type": "linear", "factor": 4 ** (2 / 8), "rope_theta": 80.0}}
    folder = models.write_model(tmp_path / "model", model_type, seed=3, **native)
    expected = reference(folder).encode(TEXTS)
    found = embed(build(published(folder, config, **changes)), TEXTS)
    assert np.abs(found - expected).max() <= ATOL


def test_prefix_of_published_heads(tmp_path: Path) -> None:
    """`new.` before every name, and a head, as in gte-multilingual-base; transformers' own class knows it too."""
    folder = models.write_model(tmp_path / "model", "gte", seed=4, rope_theta=20.0)
    tensors = {f"new.{name}": tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file({**tensors, "classifier.bias": torch.zeros(3)}, folder / "model.safetensors", metadata={"format": "pt"})
    expected = reference(folder).encode(TEXTS)
    for encoder in (build(folder), build(published(folder, NEW))):
        assert np.abs(embed(encoder, TEXTS) - expected).max() <= ATOL


def test_ntk_frequencies(tmp_path: Path) -> None:
    """As the published code of model type "new" scales them, in its own order of operations."""
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
    """The reference and the tokenizer are loaded from a view that has neither the published config nor any code."""
    folder = models.write_model(tmp_path / "model", "gte", rope_theta=20.0)
    folder = published(folder, NEW, rope_scaling=NTK)
    marker = tmp_path / "was run"
    code = f"open({str(marker)!r}, 'w')"
    if part:
        (folder / part).mkdir()
        for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "sentence_bert_config.json"):
            (folder / name).rename(folder / part / name)
        entries = json.loads((folder / "modules.json").read_text())
        entries[0]["path"] = part
        (folder / "modules.json").write_text(json.dumps(entries))
    for name in ("configuration.py", "modeling.py"):
        (folder / part / name).write_text(code)
    rewrite(folder / part / "config.json", auto_map={"AutoConfig": "configuration.NewConfig", "AutoModel": "modeling.NewModel"})
    # Asking for trust does not help: sentence-transformers does not listen to a model either.
    trust = {key: {"trust_remote_code": True} for key in ("model_args", "tokenizer_args", "config_args")}
    rewrite(folder / part / "sentence_bert_config.json", **trust)
    conversion = convert(folder, tmp_path / "out")
    assert conversion.verification["max_abs_difference"] <= ATOL
    assert "transformers' own `gte`" in conversion.verification["note"]
    assert any("never run" in line for line in conversion.summary)
    assert conversion.manifest["model_type"] == "gte"
    assert not marker.exists()


def test_view(tmp_path: Path) -> None:
    for name in ("a/b/config.json", "a/b/model.safetensors", "a/b/modeling.py", "a/other.json", "1_Pooling/config.json"):
        (tmp_path / "model" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / name).write_text(name)
    with native_view(ModelSource(tmp_path / "model", "model"), "a/b", {"model_type": "gte"}) as view:
        names = ("a/b/config.json", "a/b/model.safetensors", "a/other.json", "1_Pooling/config.json")
        texts = {name: (view / name).read_text() for name in names}
        assert texts == {**{name: name for name in names}, "a/b/config.json": '{"model_type": "gte"}'}
        assert not (view / "a/b/modeling.py").exists()
    assert not view.exists()
    assert (tmp_path / "model/a/b/config.json").read_text() == "a/b/config.json"
    with native_view(ModelSource(tmp_path / "model", "model"), "a/b", None) as view:
        assert view == tmp_path / "model"


REFUSED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (NOMIC, {"auto_map": {"AutoConfig": "someone/else--configuration_hf_nomic_bert.NomicBertConfig"}}, "auto_map"),
    (NOMIC, {"auto_map": {"AutoModel": "nomic-ai/nomic-bert-2048--modeling_hf_nomic_bert.NomicVisionModel"}}, "auto_map"),
    (NOMIC, {"auto_map": ["modeling_hf_nomic_bert.NomicBertModel", {}]}, "auto_map"),
    (NOMIC, {"n_embd": 64, "hidden_size": 32}, "n_embd"),
    (NOMIC, {"rotary_scaling_factor": 2}, "rotary_scaling_factor"),
    (NOMIC, {"rotary_emb_fraction": 0.5}, "rotary_emb_fraction"),
    (NOMIC, {"rotary_emb_interleaved": True}, "rotary_emb_interleaved"),
    (NOMIC, {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}, "rope_parameters"),
    (NOMIC, {"activation_function": "gelu"}, "activation_function"),
    (NOMIC, {"hidden_act": "gelu"}, "hidden_act"),
    (NOMIC, {"mlp_fc1_bias": True}, "mlp_fc1_bias"),
    (NOMIC, {"prenorm": True}, "prenorm"),
    (NOMIC, {"causal": True}, "causal"),
    (NOMIC, {"num_experts": 8}, "num_experts"),
    (NOMIC, {"n_inner": None}, "intermediate_size"),
    (NOMIC, {"pad_vocab_size_multiple": 0}, "pad_vocab_size_multiple"),
    (NOMIC, {"something_new": 1}, "something_new"),
    (NEW, {"auto_map": {"AutoConfig": "Alibaba-NLP/new-impl--other.NewConfig"}}, "auto_map"),
    (NEW, {"position_embedding_type": "absolute"}, "position_embedding_type"),
    (NEW, {"layer_norm_type": "rms_norm"}, "layer_norm_type"),
    (NEW, {"logn_attention_scale": True}, "logn_attention_scale"),
    (NEW, {"pack_qkv": False}, "pack_qkv"),
    (NEW, {"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope_scaling.type"),
    (NEW, {"rope_scaling": {**NTK, "mixed_b": 0.5}}, "rope_scaling.mixed_b"),
    (NEW, {"rope_scaling": {"type": "ntk", "factor": 0.5}}, "rope_scaling.factor"),
    (NEW, {"num_attention_heads": 0, "rope_scaling": NTK}, "num_attention_heads"),
    (NEW, {"rope_theta": -1.0}, "rope_theta"),
    (NEW, {"head_dim": 16}, "head_dim"),
    (SNOWFLAKE, {"auto_map": NEW["auto_map"]}, "auto_map"),
    (JINA_V3, {"lora_adaptations": ["retrieval.query"]}, "merged"),
    (JINA_V3, {"task_instructions": {"retrieval.query": "Represent"}}, "task_instructions"),
    (JINA_V3, {"auto_map": {"AutoModel": "jinaai/other--modeling_xlm_roberta.XLMRobertaModel"}}, "auto_map"),
]


@pytest.mark.parametrize(("config", "changes", "word"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
def test_refused(tmp_path: Path, config: dict[str, Any], changes: dict[str, Any], word: str, bert: Path) -> None:
    refused(published(bert, config, **changes), UnsupportedError, word)


JINA: list[dict[str, Any]] = [
    {},
    {"feed_forward_type": "reglu", "layer_norm_eps": 0.1, "num_hidden_layers": 1},
    {"num_attention_heads": 4, "hidden_size": 24, "type_vocab_size": 1},
]


@pytest.mark.parametrize("code", [False, True])
@pytest.mark.parametrize("changes", JINA, ids=str)
def test_jina_bert(tmp_path: Path, code: bool, changes: dict[str, Any]) -> None:
    """Against an implementation of the description in plain torch: nothing of transformers computes it."""
    if code:
        changes = {**changes, "auto_map": {"AutoModel": "jinaai/jina-bert-v2-qk-post-norm--modeling_bert.JinaBertModel"}}
    folder = write_jina_bert(tmp_path / "model", code, **changes)
    expected = jina_bert_embeddings(folder, TEXTS, max_length=32).numpy()
    encoder = build(folder)
    for size in (32, 1):
        assert np.abs(embed(encoder, TEXTS, batch_size=size) - expected).max() <= ATOL


@pytest.mark.parametrize("heads", [1, 2, 3, 6, 8, 12, 16, 20])
def test_slopes(heads: int) -> None:
    np.testing.assert_allclose(slopes(heads), [slope(head, heads) for head in range(heads)], rtol=1e-12)


def test_jina_bert_is_not_verified(tmp_path: Path) -> None:
    """And the conversion says so; token ids are."""
    conversion = convert(write_jina_bert(tmp_path / "model", code=False), tmp_path / "out")
    assert conversion.verification["token_texts"] > 0
    assert conversion.verification["embedding_texts"] == 0
    assert conversion.summary[1].startswith("Not checked: embeddings: transformers has no class")
    assert conversion.manifest["model_type"] == "jina_bert"


JINA_REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"auto_map": {"AutoModel": "jinaai/jina-bert-flash-implementation--modeling_bert.BertModel"}}, "auto_map"),
    ({"feed_forward_type": "original"}, "feed_forward_type"),
    ({"num_attention_heads": 5}, "num_attention_heads"),
    ({"something_new": 1}, "something_new"),
]


@pytest.mark.parametrize(("changes", "word"), JINA_REFUSED)
def test_jina_bert_refused(tmp_path: Path, changes: dict[str, Any], word: str, bert: Path) -> None:
    refused(published(bert, CONFIG, **changes), UnsupportedError, word)


@pytest.mark.parametrize(
    ("config", "key"),
    [(NOMIC, "layer_norm_epsilon"), (NOMIC, "qkv_proj_bias"), (NEW, "num_attention_heads"), (NEW, "rope_theta"),
     (JINA_V3, "hidden_act"), (JINA_V3, "rotary_emb_base")],
)  # fmt: skip
def test_missing_keys(tmp_path: Path, config: dict[str, Any], key: str, bert: Path) -> None:
    """Whose defaults in the published code and in transformers' own class are not the same."""
    refused(published(bert, {name: value for name, value in config.items() if name != key}), InputError, key, "missing")


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """Whose weights are never come to."""
    folder = tmp_path / "model"
    folder.mkdir()
    entry = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}
    (folder / "modules.json").write_text(json.dumps([entry]))
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    return folder


@pytest.mark.parametrize(("model_type", "code"), [("bert", NEW["auto_map"]), ("xlm-roberta", JINA_V3["auto_map"])])
def test_the_reference_takes_its_own_class(model_type: str, code: dict[str, str], bert: Path) -> None:
    """Code that the reference does not run, as long as no key asks for more than its own class computes."""
    source = ModelSource(published(bert, {"model_type": model_type}, auto_map=code), "model")
    check_supported(source, Options())
    assert source.ignored == {"config.json": ["auto_map"]}
    rewrite(source.folder / "config.json", num_experts=2)
    source = ModelSource(source.folder, "model")
    with pytest.raises(UnsupportedError, match="num_experts"):
        check_supported(source, Options())
