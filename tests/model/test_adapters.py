"""Adapters of PEFT beside or instead of full weights: the same embeddings and scores."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder, SparseEncoder
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sparse_encoder.modules import SpladePooling
from transformers import AutoModelForMaskedLM

from fixtures import adapters, models
from fixtures.architectures import CASES
from tests.support.adapters import built
from tests.support.helpers import embed, reference
from tests.support.refusals import refused
from tf_exporter import UnsupportedError, convert
from tf_exporter.architectures.registry import ARCHITECTURES

TOLERANCE = 1e-5
TEXTS = models.texts(3, 12)
QUICK = ("bert", "qwen3")
ADAPTED = [name for name in CASES if ARCHITECTURES[name].adapters]


def difference(folder: Path) -> float:
    """The largest difference from the reference, which loads the adapter itself, text by text."""
    model = reference(folder)
    expected = np.concatenate([model.encode([text]) for text in TEXTS])
    return float(np.abs(embed(built(folder), TEXTS) - expected).max())


@pytest.mark.parametrize(
    "model_type",
    [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in ADAPTED],
)
def test_architecture(model_type: str, tmp_path: Path) -> None:
    folder = adapters.write_adapter(tmp_path / "model", model_type)
    assert difference(folder) <= TOLERANCE
    base, adapted = reference(tmp_path / "model_base"), reference(folder)
    assert np.abs(base.encode(TEXTS) - adapted.encode(TEXTS)).max() > 0.1


BERT = {"target_modules": ["query", "value"]}
VARIANTS: dict[str, dict[str, Any]] = {
    "alpha": {**BERT, "r": 3, "lora_alpha": 7},
    "root of the rank": {**BERT, "r": 5, "use_rslora": True},
    "ranks": {
        "target_modules": ["query", "dense"],
        "rank_pattern": {"query": 2, r"layer\.1\..*dense": 3, "encoder.layer.0.output.dense": 4},
        "alpha_pattern": {"layer.2.*query": 3, "^encoder.layer.0.output.dense": 5},
    },
    "pattern": {"target_modules": r".*layer\.[02]\.attention\.self\.(query|key)"},
    "whole names": {"target_modules": ["encoder.layer.1.output.dense", "key"]},
    "layers": {**BERT, "layers_to_transform": [0, 2], "layers_pattern": "layer"},
    "layers of any list": {**BERT, "layers_to_transform": 1},
    "excluded": {
        "target_modules": ["query", "key"],
        "exclude_modules": ["layer.0.attention.self.key"],
    },
    "excluded by pattern": {"target_modules": ["query"], "exclude_modules": r".*\.0\..*"},
    "all biases": {**BERT, "bias": "all"},
    "biases of its modules": {**BERT, "bias": "lora_only"},
    "bias of the second matrix": {**BERT, "lora_bias": True},
    "saved modules": {**BERT, "modules_to_save": ["LayerNorm", "key"]},
    "embeddings": {"target_modules": ["word_embeddings", "position_embeddings", "query"]},
    "pooler": {"target_modules": ["dense"], "task_type": "FEATURE_EXTRACTION"},
    "no effect": {
        **BERT,
        "lora_dropout": 0.3,
        "fan_in_fan_out": True,
        "init_lora_weights": "gaussian",
        "inference_mode": True,
        "revision": "v2",
    },
}


@pytest.mark.filterwarnings("ignore:fan_in_fan_out")
@pytest.mark.filterwarnings("ignore:Adapter 'default'. 6 LoRA tensor")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (index % 4 != 2))
        for index, name in enumerate(VARIANTS)
    ],
)
def test_variant(name: str, tmp_path: Path) -> None:
    folder = adapters.write_adapter(tmp_path / "model", lora=dict(VARIANTS[name]))
    assert difference(folder) <= TOLERANCE


@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`")
def test_saved_embeddings_of_a_decoder(tmp_path: Path) -> None:
    """PEFT saves a table of this name whole, beside the matrices that change it."""
    lora = {"target_modules": ["embed_tokens", "q_proj"]}
    folder = adapters.write_adapter(tmp_path / "model", "qwen3", lora)
    assert difference(folder) <= TOLERANCE
    tensors = load_file(folder / "adapter_model.safetensors")
    table = "base_model.model.embed_tokens"
    tensors[f"{table}.base_layer.weight"] = torch.randn(
        load_file(tmp_path / "model_base/model.safetensors")["embed_tokens.weight"].shape
    )
    save_file(tensors, folder / "adapter_model.safetensors")
    assert difference(folder) <= TOLERANCE


def test_adapter_of_a_causal_model(tmp_path: Path) -> None:
    """An adapter that was trained with a head has the encoder's prefix in its names."""
    folder = adapters.write_adapter(tmp_path / "model", "qwen3")
    path = folder / "adapter_model.safetensors"
    prefix = "base_model.model."
    save_file(
        {
            f"{prefix}model.{name.removeprefix(prefix)}": tensor
            for name, tensor in load_file(path).items()
        },
        path,
    )
    assert difference(folder) <= TOLERANCE


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return adapters.write_adapter(tmp_path_factory.mktemp("adapted") / "model", lora=dict(BERT))


@pytest.fixture
def copy(adapted: Path, tmp_path: Path) -> Path:
    """A copy of a model with an adapter, and of its base."""
    for name in ("model", "model_base"):
        shutil.copytree(adapted.with_name(name), tmp_path / name)
    return tmp_path / "model"


def pickled(folder: Path) -> Path:
    adapters.base_beside(folder)
    for name, other in (
        ("adapter_model.safetensors", "adapter_model.bin"),
        ("model.safetensors", "pytorch_model.bin"),
    ):
        torch.save(load_file(folder / name), folder / other)
        (folder / name).unlink()
    return folder


def half(folder: Path) -> Path:
    """Weights of the base and of the adapter in 16 bits."""
    adapters.base_beside(folder)
    for name, dtype in (
        ("adapter_model.safetensors", torch.bfloat16),
        ("model.safetensors", torch.float16),
    ):
        tensors = {key: value.to(dtype) for key, value in load_file(folder / name).items()}
        save_file(tensors, folder / name, metadata={"format": "pt"})
    return folder


def plain(folder: Path) -> Path:
    """Only the adapter and a tokenizer: the pooling is the reference's choice."""
    adapters.base_inside(folder)
    for name in ("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"):
        (folder / name).unlink()
    return folder


LAYOUTS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "beside": (adapters.base_beside, "model.safetensors"),
    "inside": (adapters.base_inside, "the/base/model.safetensors"),
    "pickled": (pickled, "pytorch_model.bin"),
    "16 bits": (half, "model.safetensors"),
    "plain": (plain, "the/base/model.safetensors"),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name != "beside")) for name in LAYOUTS],
)
def test_layout(copy: Path, tmp_path: Path, name: str) -> None:
    """Each is converted and verified; both files of weights are in the manifest."""
    change, weights = LAYOUTS[name]
    folder = change(copy)
    before = (folder / "adapter_config.json").read_bytes()
    conversion = convert(folder, tmp_path / "out")
    assert conversion.verification["max_abs_difference"] <= TOLERANCE
    adapter = next(path.name for path in folder.glob("adapter_model.*"))
    assert {adapter, "adapter_config.json", weights} <= conversion.manifest["sha256"].keys()
    assert conversion.manifest["versions"]["peft"]
    assert (folder / "adapter_config.json").read_bytes() == before


def test_ignored_keys_are_listed(copy: Path, tmp_path: Path) -> None:
    adapters.base_beside(copy)
    adapters.change(copy, a_note=1, revision="v2")
    conversion = convert(copy, tmp_path / "out", verify="off")
    assert conversion.manifest["ignored"]["adapter_config.json"] == ["a_note", "revision"]


def test_a_base_elsewhere_has_to_be_allowed(copy: Path, tmp_path: Path) -> None:
    refused(copy, UnsupportedError, "base_model_name_or_path", "--follow-links")
    base = adapters.config(copy)["base_model_name_or_path"]
    conversion = convert(copy, tmp_path / "out", verify="off", follow_links=True)
    assert f"{base}/model.safetensors" in conversion.manifest["sha256"]


PAIRS = [(text, TEXTS[-1 - index]) for index, text in enumerate(TEXTS[1:])]


@pytest.mark.parametrize("model_type", ["bert", pytest.param("qwen3", marks=pytest.mark.slow)])
def test_reranker(model_type: str, tmp_path: Path) -> None:
    """The base has no head: the adapter brings one, with one label."""
    changes = {"pad_token_id": 0} if model_type == "qwen3" else {}
    base = models.write_transformer(tmp_path / "base", model_type, **changes)
    model = CrossEncoder(str(base), num_labels=1, device="cpu")
    heads = ["classifier", "score"]
    adapters.add_adapter(
        model, target_modules="all-linear", modules_to_save=heads, task_type="SEQ_CLS"
    )
    folder = adapters.save(model, tmp_path / "model")
    conversion = convert(folder, tmp_path / "out", follow_links=True)
    assert conversion.manifest["kind"] == "CrossEncoder"
    assert conversion.verification["max_abs_difference"] <= TOLERANCE


@pytest.mark.slow
def test_sparse(tmp_path: Path) -> None:
    base = models.write_transformer(tmp_path / "base", "bert")
    with_head = AutoModelForMaskedLM.from_config(models.CONFIGS["bert"]())
    models.draw_weights(with_head, 5)
    with_head.save_pretrained(base)
    transformer = Transformer(str(base), transformer_task="fill-mask")
    model = SparseEncoder(modules=[transformer, SpladePooling("max")], device="cpu")
    adapters.add_adapter(model, target_modules=["query", "dense"])
    folder = adapters.save(model, tmp_path / "model")
    conversion = convert(folder, tmp_path / "out", follow_links=True)
    assert conversion.verification["max_abs_difference"] <= TOLERANCE


@pytest.mark.slow
def test_encoder_export(adapted: Path, tmp_path: Path) -> None:
    conversion = convert(adapted, tmp_path / "out", follow_links=True, export_type="encoder")
    assert conversion.verification["max_abs_difference"] <= TOLERANCE


def test_fixture_is_what_sentence_transformers_saves(adapted: Path) -> None:
    names = {path.name for path in adapted.iterdir()}
    assert "adapter_config.json" in names and "config.json" not in names
    values = json.loads((adapted / "adapter_config.json").read_text())
    assert values["base_model_name_or_path"] == str(adapted.with_name("model_base"))
