"""Adapters for tasks in folders of PEFT, as jina-embeddings-v5: a signature for each task."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch
from safetensors.torch import load_file, save_file

from fixtures import models
from fixtures.jina_v5 import PROMPTS, TASKS, embeddings, write_jina_v5
from fixtures.models import rewrite
from tests.support.helpers import build, embed_with
from tests.support.refusals import refused
from tf_exporter import InputError, UnsupportedError, WeightsError, convert
from tf_exporter.layers import low_rank
from tf_exporter.model.adapters import folders, matching
from tf_exporter.model.adapters import pairs as tensors
from tf_exporter.modules import module_spec
from tf_exporter.modules.transformer import tasks as transformers

TOLERANCE = 1e-5
TEXTS = [*models.texts(3, 12), "  a text with space \t", ""]
CODE = "jina_embeddings_v5"


@pytest.fixture(scope="module", params=["eurobert", "qwen3"])
def jina(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("jina") / request.param
    return write_jina_v5(place, request.param)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_jina_v5(tmp_path_factory.mktemp("small") / "eurobert")


@pytest.fixture
def model(small: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small, tmp_path / "model"))


@pytest.mark.parametrize("size", [32, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("task", TASKS)
def test_task(jina: Path, task: str, size: int) -> None:
    """With the default prompt, in a batch and one by one."""
    expected = embeddings(jina, TEXTS, task, PROMPTS["document"], jina.name)
    assert np.abs(embed_with(jina, TEXTS, f"encode_{task}", size) - expected).max() <= TOLERANCE


def test_tasks_differ(small: Path) -> None:
    results = [embeddings(small, TEXTS, task) for task in TASKS]
    for index, one in enumerate(results):
        for other in results[index + 1 :]:
            assert np.abs(one - other).max() > 0.1


def test_signatures(small: Path) -> None:
    """Each task with each prompt; without a task, the one that the published code loads first."""
    signatures = build(small).signatures
    default = PROMPTS["document"]
    assert {name: (s.prompt, s.task) for name, s in signatures.items()} == {
        "serving_default": (default, ""),
        **{f"encode_{task}": (default, task) for task in TASKS},
        **{f"encode_{task}_{name}": (PROMPTS[name], task) for task in TASKS for name in PROMPTS},
    }
    assert signatures["serving_default"].route == "retrieval"


def test_prompt(small: Path) -> None:
    expected = embeddings(small, TEXTS, "retrieval", PROMPTS["query"])
    assert np.abs(embed_with(small, TEXTS, "encode_retrieval_query") - expected).max() <= TOLERANCE


def test_default_task(model: Path) -> None:
    """`model_kwargs={"default_task": …}`, if it is saved with the model."""
    config = model / "sentence_bert_config.json"
    config.write_text(json.dumps({"model_args": {"default_task": "clustering"}}))
    expected = embeddings(model, TEXTS, "clustering", PROMPTS["document"])
    assert np.abs(embed_with(model, TEXTS, "serving_default") - expected).max() <= TOLERANCE
    rewrite(config, model_args={"default_task": "other"})
    refused(model, UnsupportedError, "default_task", "retrieval")


def test_all_positions_are_used(model: Path) -> None:
    """The published class ignores the tokenizer's limit."""
    rewrite(model / "tokenizer_config.json", model_max_length=8)
    positions = json.loads((model / "config.json").read_text())["max_position_embeddings"]
    assert build(model).describe().tokenizer_spec.max_length == positions
    (model / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 9}))
    assert build(model).describe().tokenizer_spec.max_length == 9


@pytest.mark.slow
def test_verified(jina: Path, tmp_path: Path) -> None:
    """All signatures are compared with transformers and PEFT, and weights are stored once."""
    rewrite(jina / "tokenizer_config.json", model_max_length=8)
    conversion = convert(jina, tmp_path / "out")
    checked = conversion.manifest["verification"]
    assert checked["max_abs_difference"] <= TOLERANCE
    assert "peft" in checked["reference_versions"]
    names = {name for name in conversion.manifest["signatures"] if name.startswith("tokenize")}
    assert names == {"tokenize"}
    saved = sum(path.stat().st_size for path in (tmp_path / "out/variables").glob("*.data*"))
    files = [jina / "model.safetensors", *jina.rglob("adapter_model.safetensors")]
    assert saved < 1.2 * sum(path.stat().st_size for path in files)


REAL_TASK = low_rank.for_task
Patch = Callable[[pytest.MonkeyPatch], None]


def product(wrong: Callable[..., Any]) -> Patch:
    return lambda patch: patch.setattr(low_rank.LowRank, "add_product", wrong)


def changed(self: Any, y: Any, x: Any, factor: float, order: int = 1) -> Any:
    task = low_rank._task.get()
    parts = tf.split(x @ self.first[task], self._ranks, axis=1)
    changes = [part @ second[task] for part, second in zip(parts, self.seconds)]
    return y + factor * tf.concat(changes[::order], axis=1)


def factors(change: Callable[[Any], Any]) -> Patch:
    """A mistake in the rank and the factor of modules."""

    def patch(patch: pytest.MonkeyPatch) -> None:
        real = matching.targeted
        patch.setattr(
            tensors,
            "targeted",
            lambda *arguments: {name: change(pair) for name, pair in real(*arguments).items()},
        )

    return patch


def stacked(change: Callable[[np.ndarray, np.ndarray], Any]) -> Patch:
    """A mistake in the stacked matrices."""

    def patch(patch: pytest.MonkeyPatch) -> None:
        real = folders._Stacked._stacked
        patch.setattr(
            folders._Stacked, "_stacked", lambda self, module: change(*real(self, module))
        )

    return patch


def mean_pooling(patch: pytest.MonkeyPatch) -> None:
    pooling, normalize = module_spec.LAST_TOKEN
    config = pooling.config.replaced({**pooling.config.values, "pooling_mode": "mean"})
    patch.setattr(module_spec, "LAST_TOKEN", (replace(pooling, config=config), normalize))


MISTAKES: dict[str, Patch] = {
    "no task": lambda patch: patch.setattr(transformers, "for_task", lambda index: REAL_TASK(None)),
    "another task": lambda patch: patch.setattr(
        transformers, "for_task", lambda index: REAL_TASK((index + 1) % len(TASKS))
    ),
    "no change": product(lambda self, y, x: y),
    "only the change": product(lambda self, y, x: changed(self, 0.0, x, 1.0)),
    "subtracted": product(lambda self, y, x: changed(self, y, x, -1.0)),
    "twice": product(lambda self, y, x: changed(self, y, x, 2.0)),
    "of other layers": product(
        lambda self, y, x: changed(self, y, x, 1.0, -1 if len(self._ranks) == 3 else 1)
    ),
    "no factor": factors(lambda pair: pair._replace(scale=1.0)),
    "the factor twice": factors(lambda pair: pair._replace(scale=pair.scale**2)),
    "a rank less": stacked(lambda first, second: (first[:, 1:], second[..., 1:])),
    "ranks in another order": stacked(lambda first, second: (first[:, ::-1], second)),
    "the mean, not the last token": mean_pooling,
    "not normalized": lambda patch: patch.setattr(
        module_spec, "LAST_TOKEN", module_spec.LAST_TOKEN[:1]
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_seen(small: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MISTAKES[name](monkeypatch)
    task = "text-matching"
    expected = embeddings(small, TEXTS, task, PROMPTS["query"])
    assert np.abs(embed_with(small, TEXTS, f"encode_{task}_query") - expected).max() > TOLERANCE


EUROBERT_ONLY = ("is_decoder", "classifier_pooling", "mlp_bias", "pretraining_tp")
CONFIGS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"task_names": ["retrieval", "retrieval"]}, UnsupportedError, "task_names"),
    ({"task_names": ["retrieval", "../x"]}, UnsupportedError, "task_names"),
    ({"task_names": ["retrieval", "none"]}, InputError, "adapters/none/adapter_config.json"),
    ({"task_names": ["clustering"]}, UnsupportedError, "retrieval"),
    ({"task_names": "absent"}, UnsupportedError, "task_names"),
    ({"rope_theta": "absent"}, InputError, "rope_theta"),
    ({"is_decoder": True}, UnsupportedError, "is_decoder"),
    (dict.fromkeys(EUROBERT_ONLY, "absent"), WeightsError, "q_norm"),
    ({"architectures": ["Other"]}, UnsupportedError, "architectures"),
    ({"auto_map": {"AutoModel": "someone/else--code.Model"}}, UnsupportedError, "auto_map"),
    ({"another_key": 1}, UnsupportedError, "another_key"),
]


@pytest.mark.parametrize(("changes", "kind", "word"), CONFIGS, ids=lambda value: str(value)[:40])
def test_config(model: Path, changes: dict[str, Any], kind: Any, word: str) -> None:
    rewrite(model / "config.json", **changes)
    refused(model, kind, word)


ADAPTERS: list[tuple[dict[str, Any], str]] = [
    ({"use_dora": True}, "use_dora"),
    ({"bias": "all"}, "bias"),
    ({"modules_to_save": ["norm"]}, "modules_to_save"),
    ({"lora_bias": True}, "lora_bias"),
    ({"peft_type": "IA3"}, "peft_type"),
]


@pytest.mark.parametrize(("changes", "word"), ADAPTERS, ids=lambda value: str(value)[:40])
def test_adapter_config(model: Path, changes: dict[str, Any], word: str) -> None:
    rewrite(model / "adapters/clustering/adapter_config.json", **changes)
    refused(model, UnsupportedError, "adapters/clustering", word)


def test_without_the_module(model: Path) -> None:
    entries = json.loads((model / "modules.json").read_text())
    entries[0]["type"] = "sentence_transformers.models.Transformer"
    (model / "modules.json").write_text(json.dumps(entries))
    refused(model, UnsupportedError, "task_names", "custom_st.Transformer")


NAME = "base_model.model.layers.0.self_attn.q_proj.lora_A.weight"
TENSORS: dict[str, tuple[Callable[[dict[str, torch.Tensor]], Any], str]] = {
    "another rank": (lambda tensors: tensors.update({NAME: torch.zeros(5, 32)}), "[5, 32]"),
    "another width": (lambda tensors: tensors.update({NAME: torch.zeros(4, 31)}), "[4, 31]"),
    "no A": (lambda tensors: tensors.pop(NAME), "lora_A"),
    "no pair": (
        lambda tensors: [tensors.pop(NAME.replace("A.weight", f"{part}.weight")) for part in "AB"],
        "no tensors for layers.0.self_attn.q_proj",
    ),
    "another layer": (
        lambda tensors: tensors.update({NAME.replace(".0.", ".9."): torch.zeros(4, 32)}),
        "layers.9.self_attn.q_proj",
    ),
    "another module": (
        lambda tensors: tensors.update({NAME.replace("q_proj", "k_proj"): torch.zeros(4, 32)}),
        "does not name",
    ),
    "a whole tensor": (
        lambda tensors: tensors.update({"base_model.model.norm.weight": torch.ones(32)}),
        "norm.weight",
    ),
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors(model: Path, name: str) -> None:
    change, word = TENSORS[name]
    path = model / "adapters/clustering/adapter_model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})
    refused(model, WeightsError, "adapters/clustering", word)


def test_no_tensors(model: Path) -> None:
    (model / "adapters/retrieval/adapter_model.safetensors").unlink()
    refused(model, InputError, "adapters/retrieval/adapter_config.json")
