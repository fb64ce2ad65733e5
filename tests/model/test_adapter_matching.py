"""Which modules an adapter changes, with which rank and factor: compared with `peft` itself."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from peft import LoraConfig
from peft.mapping import inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from peft.utils.error import NoMatchingPeftModuleError
from transformers import AutoModel, AutoModelForCausalLM

from fixtures.models import CONFIGS
from tf_exporter.model.adapters import matching
from tf_exporter.model.adapters.config import read_adapter_config
from tf_exporter.model.config_file import ConfigFile

ENDS = ["query", "key", "value", "dense", "output.dense", "q_proj", "mlp.up_proj", "down_proj"]
WHOLE = [
    "encoder.layer.1.attention.self.key",
    "layers.0.self_attn.v_proj",
    "model.layers.1.mlp.up_proj",
]
PATTERNS = [
    r".*layer\.\d+\.attention\.self\.(query|key)",
    r".*\.(q|v)_proj",
    r"layers\.[01]\..*_proj",
    r"model\.layers\..*mlp.*",
    r".*\.self\..*",
]
KEYS = ["query", "layer.1.*query", r"layers\.0\..*", "_proj", "^encoder", ".*dense", *WHOLE]
LISTS = ["layer", "layers", "attention", "layer|layers", r"enc\w+\.layer"]


def some(random_: random.Random, options: list[str], most: int = 3) -> list[str]:
    return random_.sample(options, random_.randint(1, most))


def drawn(seed: int) -> dict[str, Any]:
    """A config with a choice of keys."""
    random_ = random.Random(seed)
    by_pattern = random_.random() < 0.3
    values: dict[str, Any] = {
        "target_modules": random_.choice(PATTERNS)
        if by_pattern
        else some(random_, [*ENDS, *WHOLE]),
        "r": random_.randint(1, 4),
        "lora_alpha": random_.randint(1, 9),
        "use_rslora": random_.random() < 0.3,
    }
    if random_.random() < 0.4:
        choices = [random_.choice(PATTERNS), some(random_, [*ENDS, *WHOLE])]
        values["exclude_modules"] = random_.choice(choices)
    if random_.random() < 0.3:
        values["modules_to_save"] = some(random_, ["output", "mlp", "self", "layer.1", "k.*"], 2)
    if random_.random() < 0.4 and not by_pattern:
        values["layers_to_transform"] = random_.choice([0, 1, [1], [0, 2]])
        if random_.random() < 0.6:
            values["layers_pattern"] = random_.choice([random_.choice(LISTS), some(random_, LISTS)])
    for key in ("rank_pattern", "alpha_pattern"):
        if random_.random() < 0.5:
            values[key] = {name: random_.randint(1, 9) for name in some(random_, KEYS)}
    return values


@pytest.fixture(scope="module")
def modules() -> dict[str, list[tuple[str, int, int]]]:
    """Class of a model → name, inputs and outputs of its linear layers."""
    with torch.device("meta"):
        built = {
            "bert": AutoModel.from_config(CONFIGS["bert"]()),
            "qwen3": AutoModel.from_config(CONFIGS["qwen3"]()),
            "causal": AutoModelForCausalLM.from_config(CONFIGS["qwen3"]()),
        }
    return {
        kind: [
            (name, module.in_features, module.out_features)
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear) and name != "lm_head"
        ]
        for kind, model in built.items()
    }


def with_modules(layers: list[tuple[str, int, int]]) -> torch.nn.Module:
    """A model that has only these linear layers, so that no pattern meets another kind."""
    root = torch.nn.Module()
    with torch.device("meta"):
        for name, inputs, outputs in layers:
            *path, last = name.split(".")
            place = root
            for part in path:
                if part not in dict(place.named_children()):
                    place.add_module(part, torch.nn.Module())
                place = place.get_submodule(part)
            place.add_module(last, torch.nn.Linear(inputs, outputs))
    return root


def by_peft(
    layers: list[tuple[str, int, int]], values: dict[str, Any]
) -> dict[str, tuple[int, float]]:
    """Module → rank and factor, from `peft`; none if it finds no module."""
    try:
        model = inject_adapter_in_model(LoraConfig(**values), with_modules(layers))
    except ValueError as error:
        if not isinstance(error, NoMatchingPeftModuleError) and "not supported" not in str(error):
            raise
        return {}
    return {
        name: (module.r["default"], module.scaling["default"])
        for name, module in model.named_modules()
        if isinstance(module, LoraLayer)
    }


@pytest.mark.filterwarnings("ignore:.*keys did not match any targeted module")
@pytest.mark.filterwarnings("ignore:You have passed exclude_modules")
@pytest.mark.parametrize("kind", ["bert", "qwen3", "causal"])
def test_same_as_peft(
    modules: dict[str, list[tuple[str, int, int]]], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """150 random configs each. Patterns are matched in this process, to save time."""
    monkeypatch.setattr(matching, "_in_a_process", matching._matches)
    found = 0
    for seed in range(150):
        values = drawn(seed)
        config = read_adapter_config(
            ConfigFile("adapter_config.json", {"peft_type": "LORA", **values})
        )
        prefix = "model." if kind == "causal" else ""
        bare = [name.removeprefix(prefix) for name, _, _ in modules[kind]]
        pairs = {
            prefix + name: (pair.rank, pair.scale)
            for name, pair in matching.targeted(config, bare, (prefix,)).items()
        }
        expected = by_peft(modules[kind], values)
        if isinstance(values["target_modules"], str) and not expected:
            # A pattern may name modules that are no layers; then `peft` fails.
            continue
        assert pairs == expected, values
        found += len(pairs)
    assert found > 150


def test_patterns_in_a_process_of_their_own() -> None:
    """The process gives the same answer."""
    config = read_adapter_config(
        ConfigFile(
            "adapter_config.json",
            {
                "peft_type": "LORA",
                "target_modules": ["query"],
                "layers_to_transform": [1, 2],
                "layers_pattern": ["lay.*r"],
                "rank_pattern": {"layer.2(.*)query": 3},
                "lora_alpha": 6,
            },
        )
    )
    names = [f"encoder.layer.{index}.attention.self.query" for index in range(4)]
    pairs = matching.targeted(config, [*names, "pooler.dense"], ("",))
    assert pairs == {names[1]: (8, 0.75), names[2]: (3, 2.0)}


def test_all_linear_layers_but_a_classifier() -> None:
    values = {"peft_type": "LORA", "target_modules": "All-Linear", "task_type": "SEQ_CLS"}
    config = read_adapter_config(ConfigFile("adapter_config.json", values))
    names = ["pooler.dense", "classifier", "encoder.classifier"]
    assert list(matching.targeted(config, names, ("",))) == ["pooler.dense", "encoder.classifier"]
