"""Adapters for tasks beside the weights, as jina-embeddings-v3: one signature for each task."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch
from safetensors.torch import load_file, save_file

from fixtures import models
from fixtures.jina_tasks import PROMPTS, RANK, TASKS, embeddings, write_jina_tasks
from fixtures.models import rewrite
from tests.support.helpers import embed_with
from tests.support.refusals import refused
from tf_exporter import InputError, UnsupportedError, WeightsError, convert
from tf_exporter.architectures import task_adapters
from tf_exporter.layers import low_rank
from tf_exporter.modules.transformer import tasks as transformers
from tf_exporter.tokenizers.ops.stripping import stripped

TOLERANCE = 1e-5
TEXTS = [*models.texts(3, 12), "  a text with space \t", "\u3000hello\u2003world\n", "\u2029 "]


@pytest.fixture(scope="module")
def jina(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_jina_tasks(tmp_path_factory.mktemp("jina") / "model")


@pytest.fixture
def model(jina: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(jina, tmp_path / "model"))


@pytest.mark.parametrize("size", [32, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("task", [None, *TASKS])
def test_task(jina: Path, task: str | None, size: int) -> None:
    """In a batch and one by one; without a task, the weights are the shared ones."""
    name = f"encode_{task}" if task else "serving_default"
    expected = embeddings(jina, TEXTS, task, PROMPTS[task] if task else "")
    assert np.abs(embed_with(jina, TEXTS, name, size) - expected).max() <= TOLERANCE


def test_tasks_differ(jina: Path) -> None:
    results = [embeddings(jina, TEXTS, task) for task in (None, *TASKS)]
    for index, one in enumerate(results):
        for other in results[index + 1 :]:
            assert np.abs(one - other).max() > 0.1


@pytest.mark.slow
def test_weights_are_stored_once(jina: Path, tmp_path: Path) -> None:
    conversion = convert(jina, tmp_path / "out")
    signatures = conversion.manifest["signatures"]
    assert {f"encode_{task}" for task in TASKS} <= signatures.keys()
    assert signatures["encode_retrieval.query"] == PROMPTS["retrieval.query"]
    assert "encode_query" not in signatures
    assert conversion.manifest["verification"]["max_abs_difference"] <= TOLERANCE
    saved = sum(path.stat().st_size for path in (tmp_path / "out/variables").glob("*.data*"))
    assert saved < 1.2 * (jina / "model.safetensors").stat().st_size
    graph = tf.saved_model.load(str(tmp_path / "out"))
    for task in TASKS:
        texts = tf.constant(TEXTS)
        result = graph.signatures[f"encode_{task}"](input_sequence=texts)["sentence_embedding"]
        expected = embeddings(jina, TEXTS, task, PROMPTS[task])
        assert np.abs(result.numpy() - expected).max() <= TOLERANCE


def test_stripped() -> None:
    """As `str.strip`, for every code point at both ends, and bytes that are no UTF-8."""
    codes = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    spaces = [chr(code) for code in codes if chr(code).isspace() or not chr(code).strip()]
    texts = ["", " ", " a b ", "".join(spaces), *(f"{space}x {space} y{space}" for space in spaces)]
    texts += [f"{chr(code)}z{chr(code)}" for code in codes[::97]]
    result = stripped(tf.constant([text.encode() for text in texts])).numpy()
    assert [text.decode() for text in result] == [text.strip() for text in texts]
    assert stripped(tf.constant([b" \xff\xfe "])).numpy()[0] == b"\xff\xfe"


def no_task(index: int | None) -> Any:
    return REAL_TASK(None)


def next_task(index: int | None) -> Any:
    return REAL_TASK(None if index is None else (index + 1) % len(TASKS))


REAL_TASK = low_rank.for_task
Patch = Callable[[pytest.MonkeyPatch], None]


def rows(wrong: Callable[..., Any]) -> Patch:
    return lambda patch: patch.setattr(low_rank.LowRank, "add_rows", wrong)


def product(wrong: Callable[..., Any]) -> Patch:
    return lambda patch: patch.setattr(low_rank.LowRank, "add_product", wrong)


def changed(self: Any, y: Any, x: Any, factor: float) -> Any:
    task = low_rank._task.get()
    assert task is not None
    parts = tf.split(x @ self.first[task], self._ranks, axis=1)
    changes = [part @ second[task] for part, second in zip(parts, self.seconds)]
    return y + factor * tf.concat(changes, axis=1)


def scale(change: Callable[[float], float]) -> Patch:
    def patch(patch: pytest.MonkeyPatch) -> None:
        real = task_adapters.read_checkpoint_adapters

        def wrong(file: Any) -> Any:
            values = real(file)
            return values and {**values, "alpha": change(values["alpha"] / RANK) * RANK}

        name = "tf_exporter.architectures.jina_embeddings_v3.remote_code.read_checkpoint_adapters"
        patch.setattr(name, wrong)

    return patch


MISTAKES: dict[str, Patch] = {
    "no task": lambda patch: patch.setattr(transformers, "for_task", no_task),
    "another task": lambda patch: patch.setattr(transformers, "for_task", next_task),
    "no change of layers": product(lambda self, y, x: y),
    "no change of tables": rows(lambda self, y, ids: y),
    "only the change": product(lambda self, y, x: changed(self, 0.0, x, 1.0)),
    "subtracted": product(lambda self, y, x: changed(self, y, x, -1.0)),
    "twice": product(lambda self, y, x: changed(self, y, x, 2.0)),
    "rows of the first task": rows(
        lambda self, y, ids: y + tf.tensordot(tf.gather(self.first[0], ids), self.seconds[0][1], 1)
    ),
    "no factor": scale(lambda value: 1.0),
    "the root of the factor": scale(lambda value: value**0.5),
    "not stripped": lambda patch: patch.setattr(
        "tf_exporter.modules.base.stripped", lambda texts: texts
    ),
    "stripped before the prompt": lambda patch: patch.setattr(
        "tf_exporter.modules.base.with_prompt",
        lambda prompt, texts: tf.strings.join([prompt.rstrip(), tf.strings.strip(texts)]),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_seen(jina: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MISTAKES[name](monkeypatch)
    task = "retrieval.passage"
    expected = embeddings(jina, TEXTS, task, PROMPTS[task])
    assert np.abs(embed_with(jina, TEXTS, f"encode_{task}") - expected).max() > TOLERANCE


CONFIGS: list[tuple[dict[str, Any], str]] = [
    ({"lora_adaptations": ["a", "a"]}, "lora_adaptations"),
    ({"lora_adaptations": [5]}, "lora_adaptations"),
    ({"lora_adaptations": []}, "task_instructions"),
    ({"lora_adaptations": None, "task_instructions": {}}, "lora_adaptations"),
    ({"model_type": "bert"}, "jina_embeddings_v5"),
    ({"lora_rank": 0}, "lora_rank"),
    ({"lora_alpha": float("inf")}, "lora_alpha"),
    ({"load_trained_adapters": False}, "load_trained_adapters"),
    ({"load_trained_adapters": "absent"}, "load_trained_adapters"),
    ({"position_embedding_type": "absolute"}, "rotary positions"),
    ({"auto_map": {"AutoModel": "someone/else--code.Model"}}, "auto_map"),
]


@pytest.mark.parametrize(("changes", "word"), CONFIGS, ids=lambda value: str(value)[:40])
def test_config(model: Path, changes: dict[str, Any], word: str) -> None:
    rewrite(model / "config.json", **changes)
    refused(model, UnsupportedError, word)


def test_no_rank(model: Path) -> None:
    rewrite(model / "config.json", lora_rank="absent")
    refused(model, InputError, "lora_rank")


def test_default_task(model: Path) -> None:
    """It is the task of `serving_default`, as the published class has it; the prompt stays."""
    config = model / "sentence_bert_config.json"
    rewrite(config, model_args={"default_task": TASKS[1]})
    expected = embeddings(model, TEXTS, TASKS[1])
    assert np.abs(embed_with(model, TEXTS, "serving_default") - expected).max() <= TOLERANCE
    rewrite(config, model_args={"default_task": "other"})
    refused(model, UnsupportedError, "default_task")


def test_adapters_without_the_module(model: Path) -> None:
    entries = json.loads((model / "modules.json").read_text())
    entries[0]["type"] = "sentence_transformers.models.Transformer"
    (model / "modules.json").write_text(json.dumps(entries))
    refused(model, UnsupportedError, "lora_adaptations", "custom_st.Transformer")


NAME = "roberta.encoder.layers.0.mlp.fc1.parametrizations.weight.0.lora_A"
TENSORS: dict[str, tuple[Callable[[dict[str, torch.Tensor]], Any], str]] = {
    "one task less": (
        lambda tensors: tensors.update({NAME: tensors[NAME][1:].clone()}),
        "3 matrices",
    ),
    "another rank": (lambda tensors: tensors.update({NAME: torch.zeros(3, 4, 32)}), "rank 3"),
    "another width": (
        lambda tensors: tensors.update({NAME: torch.zeros(3, 3, 31)}),
        "not [3, 3, 32]",
    ),
    "a matrix": (lambda tensors: tensors.update({NAME: torch.zeros(3, 32)}), "rank 3"),
    "no B": (lambda tensors: tensors.pop(NAME.replace("_A", "_B")), "lora_B"),
    "no A": (lambda tensors: tensors.pop(NAME), "lora_A"),
    "no weight": (lambda tensors: tensors.pop(NAME.replace("0.lora_A", "original")), "fc1.weight"),
    "two weights": (
        lambda tensors: tensors.update({NAME.partition(".param")[0] + ".weight": torch.zeros(2)}),
        "two tensors",
    ),
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors(model: Path, name: str) -> None:
    change, word = TENSORS[name]
    tensors = load_file(model / "model.safetensors")
    change(tensors)
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    refused(model, WeightsError, word)
