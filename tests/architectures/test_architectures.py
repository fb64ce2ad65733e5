"""Reading configs without TensorFlow: every value, and every reason to refuse a config."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fixtures.architectures import CASES
from fixtures.unverified import UNVERIFIED
from tf_exporter.architectures.activation_names import TRANSFORMERS_NAMES
from tf_exporter.architectures.encoder_config import MOST_LAYERS
from tf_exporter.architectures.reading import Configs, read_architecture
from tf_exporter.architectures.refused import REASONS
from tf_exporter.architectures.registry import ARCHITECTURES, MODEL_TYPES, VERIFIED, with_head
from tf_exporter.errors import UnsupportedError
from tf_exporter.heads.registry import HEADS
from tf_exporter.layers.activations import TRANSFORMERS_ACTIVATIONS
from tf_exporter.model.config_file import ConfigFile

REPOSITORY = Path(__file__).resolve().parents[2]
TASKS = ("feature-extraction", "fill-mask", "sequence-classification", "text-generation")
NEEDED: dict[str, dict[str, Any]] = {"jina_bert": {"feed_forward_type": "geglu"}}
"""Keys that an architecture requires."""
NO_TENSORFLOW = """
import importlib, json, pkgutil, sys
import tf_exporter.exports.check, tf_exporter.model
for module in pkgutil.walk_packages(tf_exporter.model.__path__, "tf_exporter.model."):
    importlib.import_module(module.name)
from tf_exporter.architectures.reading import read_architecture
from tf_exporter.architectures.registry import ARCHITECTURES
from tf_exporter.model.config_file import ConfigFile
for name, needed in json.loads(sys.argv[1]).items():
    read_architecture(ConfigFile("config.json", needed), name, "feature-extraction")
print(sorted({"tensorflow", "torch", "transformers", "keras"} & sys.modules.keys()))
"""


def read(model_type: str, task: str = "feature-extraction", **values: Any) -> Configs:
    return read_architecture(
        ConfigFile("config.json", {**NEEDED.get(model_type, {}), **values}), model_type, task
    )


def refusals(model_type: str, task: str = "feature-extraction", **values: Any) -> list[str]:
    """The keys of all reasons to refuse a config, in alphabetical order."""
    with pytest.raises(UnsupportedError) as raised:
        read(model_type, task, **values)
    assert str(raised.value).splitlines() == [str(reason) for reason in raised.value.reasons]
    return sorted(reason.key for reason in raised.value.reasons)


def test_no_tensorflow() -> None:
    configs = json.dumps({name: NEEDED.get(name, {}) for name in ARCHITECTURES})
    result = subprocess.run(
        [sys.executable, "-c", NO_TENSORFLOW, configs],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        check=True,
    )
    assert result.stdout.strip() == "[]"


def test_registries_agree() -> None:
    assert ARCHITECTURES.keys() - {*MODEL_TYPES} == UNVERIFIED.keys()
    # It gives embeddings of texts, which have tests of their own.
    assert {*MODEL_TYPES} - {*VERIFIED} == {"clip"}
    assert CASES.keys() == {*VERIFIED}
    for name, architecture in ARCHITECTURES.items():
        for task in TASKS:
            if architecture.head(task):
                assert type(read(name, task, pad_token_id=0).head) in HEADS


def test_names_of_activations() -> None:
    assert {*TRANSFORMERS_NAMES} == TRANSFORMERS_ACTIVATIONS.keys()


def test_all_reasons_at_once() -> None:
    result = refusals(
        "bert",
        hidden_act="xielu",
        is_decoder=True,
        num_attention_heads=5,
        position_embedding_type="relative_key",
        type_vocab_size="2",
    )
    expected = "hidden_act is_decoder num_attention_heads position_embedding_type type_vocab_size"
    assert result == expected.split()
    result = refusals(
        "modernbert",
        "sequence-classification",
        classifier_activation="magic",
        classifier_pooling="max",
        global_rope_theta=0,
        hidden_activation="magic",
        layer_types=["chunked_attention"],
        num_hidden_layers=1,
    )
    theta = "global_rope_theta or rope_parameters.full_attention.rope_theta"
    assert result == [
        "classifier_activation",
        "classifier_pooling",
        theta,
        "hidden_activation",
        "layer_types",
    ]


def test_head_that_does_not_exist() -> None:
    assert refusals("t5", "fill-mask", feed_forward_proj="magic") == [
        "feed_forward_proj",
        "model_type",
    ]
    assert "jina_bert" not in with_head("fill-mask")


@pytest.mark.parametrize(
    ("model_type", "values"),
    [
        ("bert", {"hidden_size": "32", "num_attention_heads": 5}),
        ("qwen3", {"num_hidden_layers": -1, "layer_types": ["full_attention"]}),
        ("qwen2", {"num_attention_heads": 0, "num_key_value_heads": 5}),
        ("gte", {"head_dim": 7}),
        ("distilbert", {"dim": None, "hidden_size": 32}),
        (
            "deberta-v2",
            {"hidden_size": 0, "conv_kernel_size": 3, "conv_groups": 7, "attention_head_size": 5},
        ),
        ("t5", {"feed_forward_proj": "magic", "is_gated_act": True, "dense_act_fn": "relu"}),
        ("roberta", {"max_position_embeddings": [], "pad_token_id": 511}),
    ],
    ids=str,
)
def test_one_reason_for_one_mistake(model_type: str, values: dict[str, Any]) -> None:
    """A refused value gives one reason: what follows from it is not reported as well."""
    assert refusals(model_type, **values) == [next(iter(values))]


def test_value_of_another_type_is_reported_with_the_rest() -> None:
    """A value of the wrong type ends the reading, but the other reasons are reported too."""
    assert refusals("qwen3", hidden_act="magic", is_decoder=True, head_dim=[]) == [
        "head_dim",
        "hidden_act",
        "is_decoder",
    ]


@pytest.mark.parametrize(
    ("model_type", "values"),
    [
        *(
            (name, {"num_hidden_layers": 10**9})
            for name in ("albert", "bert", "distilbert", "qwen2", "modernbert", "t5")
        ),
        *((name, {"head_dim": 10**12}) for name in ("qwen3", "gemma3_text", "gte")),
        ("modernbert", {"hidden_size": 12 * 10**12}),
        ("qwen2", {"max_window_layers": 10**12, "num_hidden_layers": MOST_LAYERS + 1}),
    ],
    ids=str,
)
def test_absurd_sizes_are_cheap(model_type: str, values: dict[str, Any]) -> None:
    start = time.perf_counter()
    assert {*refusals(model_type, **values)} & {*values, "n_layers", "num_layers"}
    assert time.perf_counter() - start < 0.5


def test_keys_that_the_reference_does_not_read() -> None:
    file = ConfigFile("config.json", {"surprise": 1, "hidden_act": "gelu"})
    read_architecture(file, "bert", "feature-extraction")
    assert file.ignored == {"config.json": ["surprise"]}


def test_reasons_of_unsupported_types() -> None:
    """A known type is refused with its reason, and one with code of its own for that."""
    for model_type, reason in REASONS.items():
        assert model_type not in ARCHITECTURES
        with pytest.raises(UnsupportedError) as raised:
            read(model_type, auto_map={"AutoModel": "modeling.Their"})
        assert f"'{model_type}' is not supported" in str(raised.value)
        assert f"not {model_type}: {reason}" in str(raised.value)
        assert "xlm-roberta" in str(raised.value)
    with pytest.raises(UnsupportedError, match="not neobert: transformers has no class for it"):
        read("neobert", auto_map={"AutoModel": "model.NeoBERT"})
    with pytest.raises(UnsupportedError) as raised:
        read("neobert")
    assert "not neobert" not in str(raised.value)


@pytest.mark.parametrize("values", [{"auto_map": {"AutoModel": "modeling.Their"}}, {}])
def test_code_of_its_own_may_read_any_key(values: dict[str, Any]) -> None:
    """A class in the model's own code may read keys that transformers' class does not."""
    file = ConfigFile("config.json", {"unsloth_version": "1", **values})
    read_architecture(file, "bert", "feature-extraction", translated=not values)
    assert file.ignored == {"config.json": [*values, "unsloth_version"]}
    file = ConfigFile("config.json", {"surprise": 1, **values})
    with pytest.raises(UnsupportedError, match="surprise"):
        read_architecture(file, "bert", "feature-extraction", translated=not values)
