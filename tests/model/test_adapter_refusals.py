"""Adapters that are refused: their configs, their tensors, and their base models."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from fixtures import adapters, models
from tests.support.refusals import refused
from tf_exporter import InputError, UnsupportedError, WeightsError
from tf_exporter.model.adapters import matching
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.reference import keys
from tf_exporter.model.reference.view import view
from tf_exporter.model.source import ModelSource
from tf_exporter.modules.spec import read_model

FOREVER = r"(?:[a-z.0-9_]+)+!"


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = adapters.write_adapter(
        tmp_path_factory.mktemp("adapted") / "model", lora={"target_modules": ["query", "value"]}
    )
    return adapters.base_beside(folder)


@pytest.fixture
def model(adapted: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(adapted, tmp_path / "model"))


CONFIGS: list[tuple[dict[str, Any], str]] = [
    ({"peft_type": "IA3"}, "peft_type = 'IA3'"),
    ({"peft_type": "PROMPT_TUNING"}, "peft_type"),
    ({"use_dora": True}, "use_dora = True"),
    ({"r": 0}, "r = 0"),
    ({"r": "8"}, "r = '8'"),
    ({"lora_alpha": "8"}, "lora_alpha"),
    ({"lora_alpha": float("inf")}, "lora_alpha"),
    ({"rank_pattern": {"query": -1}}, "rank_pattern.query = -1"),
    ({"rank_pattern": {"(": 4}}, "rank_pattern = '('"),
    ({"alpha_pattern": {"query": None}}, "alpha_pattern.query"),
    ({"target_modules": None}, "target_modules"),
    ({"target_modules": []}, "target_modules"),
    ({"target_modules": [5]}, "target_modules"),
    ({"target_modules": "(query"}, "target_modules = '(query'"),
    ({"target_modules": "a" * 10_001}, "10,000 characters"),
    ({"exclude_modules": "["}, "exclude_modules"),
    ({"target_modules": "x", "layers_to_transform": 1}, "layers_to_transform"),
    ({"layers_pattern": "layer"}, "layers_pattern"),
    ({"layers_to_transform": [True]}, "layers_to_transform"),
    ({"bias": "some"}, "bias = 'some'"),
    ({"init_lora_weights": "pissa"}, "init_lora_weights = 'pissa'"),
    ({"init_lora_weights": "olora"}, "init_lora_weights"),
    ({"init_lora_weights": 1}, "init_lora_weights"),
    ({"task_type": "NONSENSE"}, "task_type"),
    ({"target_parameters": ["x"]}, "target_parameters"),
    ({"trainable_token_indices": [1]}, "trainable_token_indices"),
    ({"layer_replication": [[0, 2]]}, "layer_replication"),
    ({"megatron_config": {}}, "megatron_config"),
    ({"alora_invocation_tokens": [1]}, "alora_invocation_tokens"),
    ({"use_qalora": True}, "use_qalora"),
    ({"arrow_config": {}}, "arrow_config"),
    ({"kasa_config": {}}, "kasa_config"),
    ({"monteclora_config": {}}, "monteclora_config"),
    ({"velora_config": {}}, "velora_config"),
    ({"use_bdlora": {}}, "use_bdlora"),
    ({"ensure_weight_tying": True}, "ensure_weight_tying"),
]


@pytest.mark.parametrize(("changes", "word"), CONFIGS, ids=lambda value: str(value)[:40])
def test_config(model: Path, changes: dict[str, Any], word: str) -> None:
    adapters.change(model, **changes)
    refused(model, UnsupportedError, "adapter_config.json", word)


def test_all_reasons_at_once(model: Path) -> None:
    adapters.change(model, use_dora=True, bias="x")
    with pytest.raises(UnsupportedError, match=r"(?s)use_dora.*bias|bias.*use_dora"):
        read_model(ModelSource(model, "model"))


def test_no_peft_type(model: Path) -> None:
    adapters.change(model, peft_type="absent")
    refused(model, InputError, "peft_type")


def rename(old: str, new: str) -> Callable[[dict[str, torch.Tensor]], Any]:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        for name in [name for name in tensors if old in name]:
            tensors[name.replace(old, new)] = tensors.pop(name)

    return change


NAME = "base_model.model.encoder.layer.1.attention.self.query.lora_{}.weight"
TENSORS: dict[str, tuple[Callable[[dict[str, torch.Tensor]], Any], str]] = {
    "no A": (lambda tensors: tensors.pop(NAME.format("A")), "lora_A.weight"),
    "no B": (lambda tensors: tensors.pop(NAME.format("B")), "lora_B.weight"),
    "no pair": (
        lambda tensors: [tensors.pop(NAME.format(part)) for part in "AB"],
        "no tensors for encoder.layer.1.attention.self.query",
    ),
    "another rank": (
        lambda tensors: tensors.update({NAME.format("A"): torch.zeros(4, 32)}),
        "shape [4, 32], not [8, 32]",
    ),
    "another width": (
        lambda tensors: tensors.update({NAME.format("B"): torch.zeros(31, 8)}),
        "shape [31, 8], not [32, 8]",
    ),
    "not finite": (lambda tensors: tensors[NAME.format("A")].fill_(float("nan")), "not finite"),
    "a module that is not named": (rename("self.value", "self.key"), "self.key"),
    "a layer that is not there": (
        lambda tensors: tensors.update(
            {
                NAME.format(part).replace("1", "9"): tensors[NAME.format(part)].clone()
                for part in "AB"
            }
        ),
        "layer.9.",
    ),
    "magnitudes": (
        lambda tensors: tensors.update(
            {NAME.format("magnitude_vector").removesuffix(".weight"): torch.zeros(32)}
        ),
        "lora_magnitude_vector",
    ),
    "bias of B": (
        lambda tensors: tensors.update(
            {NAME.format("B").replace("weight", "bias"): torch.zeros(32)}
        ),
        "lora_B.bias",
    ),
    "another tensor": (
        lambda tensors: tensors.update({"base_model.model.encoder.x.weight": torch.zeros(2)}),
        "encoder.x.weight",
    ),
    "twice": (
        lambda tensors: tensors.update(
            {NAME.format("A").replace("encoder", "bert.encoder"): torch.zeros(8, 32)}
        ),
        "two tensors",
    ),
    "change of a norm": (
        rename("layer.1.attention.self.query", "layer.1.output.LayerNorm"),
        "LayerNorm",
    ),
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors(model: Path, name: str) -> None:
    change, word = TENSORS[name]
    path = model / "adapter_model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    refused(model, WeightsError, word)


def test_change_of_a_vector(model: Path) -> None:
    adapters.change(model, target_modules=["query", "value", "LayerNorm"])
    path = model / "adapter_model.safetensors"
    tensors = load_file(path)
    for part, shape in (("A", (8, 32)), ("B", (32, 8))):
        name = NAME.format(part).replace("attention.self.query", "output.LayerNorm")
        tensors[name] = torch.zeros(shape)
    save_file(tensors, path)
    refused(model, WeightsError, "only matrices")


def test_no_file(model: Path) -> None:
    (model / "adapter_model.safetensors").unlink()
    refused(model, InputError, "no adapter_model.safetensors and no adapter_model.bin")


def test_no_tensors(model: Path) -> None:
    save_file({}, model / "adapter_model.safetensors")
    refused(model, InputError, "no tensors of a LoRA adapter")


def test_not_safetensors(model: Path) -> None:
    (model / "adapter_model.safetensors").write_bytes(b"nothing")
    refused(model, InputError, "adapter_model.safetensors")


BASES: list[Any] = [None, "", "/etc", "../base", "a/../../base", "~/base", "./base", "a\\b", 5]


@pytest.mark.parametrize("base", BASES, ids=repr)
def test_base(model: Path, base: Any) -> None:
    (model / "config.json").unlink()
    adapters.change(model, base_model_name_or_path=base)
    refused(model, UnsupportedError, "base_model_name_or_path")


def test_base_that_is_not_there(model: Path) -> None:
    (model / "config.json").unlink()
    adapters.change(model, base_model_name_or_path="nobody/nothing")
    refused(
        model, InputError, "adapter_config.json: base_model_name_or_path: nobody/nothing", "Hub"
    )
    adapters.change(model, base_model_name_or_path="a/b/c")
    refused(model, InputError, "not the name of a model on the Hub")
    (model / "base").mkdir()
    adapters.change(model, base_model_name_or_path="base")
    refused(model, InputError, "base/", "no config.json")


def test_base_with_an_adapter(model: Path) -> None:
    shutil.copytree(model, model / "base")
    (model / "config.json").unlink()
    adapters.change(model, base_model_name_or_path="base")
    refused(model, UnsupportedError, "without an adapter of its own")


def test_no_weights_of_the_base(model: Path) -> None:
    (model / "model.safetensors").unlink()
    refused(model, InputError, "no model.safetensors")


def test_architecture_with_other_names(tmp_path: Path) -> None:
    folder = models.write_model(tmp_path / "model", "nomic_bert")
    (folder / "adapter_config.json").write_text(
        '{"peft_type": "LORA", "target_modules": ["x"], "base_model_name_or_path": "x"}'
    )
    save_file({}, folder / "adapter_model.safetensors")
    refused(folder, UnsupportedError, "model_type = 'nomic_bert'", "adapters")


@pytest.mark.parametrize(
    "changes",
    [
        {"target_modules": FOREVER},
        {"rank_pattern": {FOREVER: 4}},
        {"exclude_modules": FOREVER},
        {"layers_to_transform": [0], "layers_pattern": [FOREVER]},
        {"modules_to_save": [FOREVER]},
    ],
    ids=lambda value: min(value),
)
def test_patterns_that_take_years(
    model: Path, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching, "_TIME_LIMIT", 3.0)
    adapters.change(model, **changes)
    refused(model, InputError, "cannot be matched")


def test_heads_share_embeddings(tmp_path: Path) -> None:
    base = models.write_transformer(tmp_path / "base", "bert")
    from sentence_transformers import SparseEncoder
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sparse_encoder.modules import SpladePooling

    cases: list[tuple[dict[str, Any], str]] = [
        ({"target_modules": ["word_embeddings"]}, "target_modules"),
        ({"target_modules": ["query"], "modules_to_save": ["decoder"]}, "modules_to_save"),
    ]
    for lora, word in cases:
        transformer = Transformer(str(base), transformer_task="fill-mask")
        model = SparseEncoder(modules=[transformer, SpladePooling("max")], device="cpu")
        adapters.add_adapter(model, **lora)
        folder = adapters.save(model, tmp_path / word)
        for name in ("config.json", "model.safetensors"):
            shutil.copy(base / name, folder / name)
        refused(folder, UnsupportedError, word, "fill-mask")


def test_unknown_keys_without_peft(monkeypatch: pytest.MonkeyPatch) -> None:
    assert keys.reads_adapter_key("use_dora")
    assert not keys.reads_adapter_key("a_note")
    monkeypatch.setattr(keys, "_package", lambda name: None)
    assert keys.reads_adapter_key("a_note")


def test_keys_of_peft_are_known() -> None:
    """Each key of peft's config is read here; a new one would be refused."""
    from peft import LoraConfig

    from tf_exporter.model.adapters.config import read_adapter_config

    values = json.loads(json.dumps(LoraConfig(target_modules=["x"]).to_dict(), default=list))
    read_adapter_config(ConfigFile("adapter_config.json", values))


def test_view(model: Path, tmp_path: Path) -> None:
    """The reference finds the base inside the view, whatever the adapter names."""
    adapters.change(
        model,
        base_model_name_or_path="someone/model",
        auto_mapping={"base_model_class": "X", "parent_library": "os"},
        revision="v1",
    )
    source = ModelSource(model, "model")
    read_model(source)
    with view(source) as folder:
        seen = adapters.config(folder)
        assert seen["base_model_name_or_path"] == f"{folder}/"[:-1]
        assert not {"auto_mapping", "revision"} & seen.keys()
    assert adapters.config(model)["base_model_name_or_path"] == "someone/model"


def test_view_of_a_base_elsewhere(adapted: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(adapted, tmp_path / "model"))
    for name in ("config.json", "model.safetensors"):
        (folder / name).unlink()
    base = adapted.with_name("model_base")
    models.rewrite(base / "config.json", attn_implementation="someone/kernel")
    adapters.change(folder, base_model_name_or_path=str(base))
    source = ModelSource(folder, "model", follow_links=True)
    read_model(source)
    with view(source) as place:
        named = Path(adapters.config(place)["base_model_name_or_path"])
        assert named.parent == place.parent
        assert "attn_implementation" not in json.loads((named / "config.json").read_text())
