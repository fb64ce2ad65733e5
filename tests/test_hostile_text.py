"""Names and values of a model are data: escaped and shortened in output, and never advice."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from fixtures.models import rewrite
from tests.support.refusals import refused
from tf_exporter import (
    ConversionError,
    InputError,
    UnsupportedError,
    UsageError,
    WeightsError,
    convert,
)
from tf_exporter.artifact.markdown import code, plain
from tf_exporter.errors import joined, one_line, printable, shortened

EVIL = "a\nconvert-hf-model: b\r\x1b[31mred\x9b0m\u202egnirts\u2028c\u200bd\x00" + "long" * 25_000


def test_what_is_printed() -> None:
    for text in ("plain", "größe", "文字", "עברית", "e\u0301", "👍", "a\\nb"):
        assert printable(text) == text
    assert (
        printable("a\nb\x1b\u202e\u2028\ud800\U000e0001") == r"a\nb\x1b\u202e\u2028\ud800\U000e0001"
    )
    assert one_line(ValueError("\x1b[1;31mWeights\x1b[0m only\n\n load")) == "Weights only load"
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert shortened(deep) == "list, deeply nested"
    while deep:  # freed level by level, or it would overflow the stack
        deep = deep[0]


@pytest.mark.parametrize("kind", [ConversionError, InputError, UsageError, WeightsError])
def test_errors_have_one_line(kind: type[ConversionError]) -> None:
    error = kind(f"{EVIL}: is not a file")
    assert (
        str(error).isprintable()
        and len(str(error)) < 700
        and str(error).endswith(": is not a file")
    )


def test_reasons_have_one_line_each() -> None:
    reasons = [UnsupportedError(EVIL, f"{index}{EVIL}", {EVIL: EVIL}, EVIL) for index in range(100)]
    for line in str(reasons[0]).splitlines():
        assert line.isprintable() and len(line) < 2_500
    lines = str(joined(reasons)).split("\n")
    assert len(lines) == 21 and lines[-1] == "… and 80 more reasons"
    assert lines[:20] == [*map(str, reasons[:20])]


def rename_tensor(model: Path) -> None:
    tensors = load_file(model / "model.safetensors")
    save_file(
        {**tensors, EVIL: torch.zeros(1)}, model / "model.safetensors", metadata={"format": "pt"}
    )


def change_module(**changes: Any) -> Callable[[Path], None]:
    def change(model: Path) -> None:
        entries = json.loads((model / "modules.json").read_text())
        entries[1].update(changes)
        (model / "modules.json").write_text(json.dumps(entries))

    return change


def without(model: Path, name: str) -> Path:
    (model / name).unlink()
    return model


def route(model: Path, **changes: Any) -> None:
    """A Router as the only module."""
    entry = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.base.modules.Router"}
    (model / "modules.json").write_text(json.dumps([entry]))
    values = {"types": {}, "structure": {}, "parameters": {}, **changes}
    (model / "router_config.json").write_text(json.dumps(values))


PLACES: dict[str, Callable[[Path], Any]] = {
    "value": lambda m: rewrite(m / "config.json", hidden_act=EVIL),
    "kind": lambda m: rewrite(m / "config.json", model_type=EVIL),
    "architecture": lambda m: rewrite(m / "config.json", rope_scaling={EVIL: EVIL}),
    "module's config": lambda m: rewrite(m / "1_Pooling/config.json", **{EVIL: 1}),
    "module's path": change_module(path=EVIL),
    "module's path outside": change_module(path="../" + EVIL),
    "module's type": change_module(type=EVIL),
    "module's own type": change_module(type=f"sentence_transformers.models.{EVIL}"),
    "prompt": lambda m: rewrite(m / "config_sentence_transformers.json", prompts={EVIL: 5}),
    "default prompt": lambda m: rewrite(
        m / "config_sentence_transformers.json", default_prompt_name=EVIL
    ),
    "known prompts": lambda m: rewrite(
        m / "config_sentence_transformers.json", prompts={EVIL: ""}, default_prompt_name="x"
    ),
    "tokenizer's file": lambda m: rewrite(
        without(m, "tokenizer.json") / "tokenizer_config.json", vocab_file=EVIL
    ),
    "normalizer": lambda m: rewrite(m / "tokenizer.json", normalizer={"type": EVIL}),
    "model's kwargs": lambda m: rewrite(m / "sentence_bert_config.json", model_kwargs={EVIL: 1}),
    "processor's kwargs": lambda m: rewrite(
        m / "sentence_bert_config.json", processor_kwargs={EVIL: 1}
    ),
    "route's module": lambda m: route(m, types={EVIL: "sentence_transformers.base.modules.Router"}),
    "route's class": lambda m: route(
        m, types={"a": f"sentence_transformers.models.{EVIL}"}, structure={"a": ["a"]}
    ),
    "route": lambda m: route(m, structure={EVIL: 5}),
    "route's default": lambda m: route(
        m,
        types={"a": "sentence_transformers.models.Pooling"},
        structure={EVIL: ["a"]},
        parameters={"default_route": "x"},
    ),
    "route's mapping": lambda m: route(
        m,
        types={"a": "sentence_transformers.models.Pooling"},
        structure={"a": ["a"]},
        parameters={"route_mappings": {EVIL: "a"}},
    ),
    "route's modules": lambda m: route(
        m, types={"a": "sentence_transformers.models.Pooling"}, structure={"a": [[EVIL]]}
    ),
    "route of many modules": lambda m: route(
        m, types={"a": "sentence_transformers.models.Pooling"}, structure={"a": ["a"] * 1_000_000}
    ),
    "route's unhashable mapping": lambda m: route(
        m,
        types={"a": "sentence_transformers.models.Pooling"},
        structure={"a": ["a"]},
        parameters={"route_mappings": {"{[]: 1}": "a"}},
    ),
    "argument among special tokens": lambda m: (m / "special_tokens_map.json").write_text(
        json.dumps({"tokenizer_file": EVIL})
    ),
    "shard": lambda m: (
        without(m, "model.safetensors") / "model.safetensors.index.json"
    ).write_text(json.dumps({"weight_map": {"a": EVIL}})),
    "architectures": lambda m: rewrite(
        without(m, "modules.json") / "config.json",
        architectures=[f"{EVIL}ForSequenceClassification"],
        id2label={EVIL: EVIL},
    ),
}


@pytest.mark.slow
def test_ignored_names(model: Path) -> None:
    """Names of ignored keys are listed on one line, escaped and shortened."""
    change_module(**{EVIL: 1})(model)
    rename_tensor(model)
    for name in ("config.json", "tokenizer_config.json", "config_sentence_transformers.json"):
        rewrite(model / name, **{EVIL: 1})
    conversion = convert(model, model.parent / "out", verify="off")
    [line] = [line for line in conversion.summary if line.startswith("Ignored")]
    assert line.isprintable() and len(line) < 2_000, ascii(line)
    for name in ("config.json", "tokenizer_config.json", "modules.json", "model.safetensors"):
        assert f"{name}: " in line


@pytest.mark.parametrize("name", PLACES)
def test_refusals(model: Path, name: str) -> None:
    PLACES[name](model)
    with pytest.raises(ConversionError) as raised:
        convert(model, model.parent / "out", verify="off")
    assert raised.value.exit_code in (3, 5)
    for line in str(raised.value).split("\n"):
        assert line.isprintable() and len(line) < 2_000, ascii(line)


def test_pickles(model: Path) -> None:
    """The errors of torch have colours and advice."""
    (model / "model.safetensors").unlink()
    torch.save({"a": Path}, model / "pytorch_model.bin")
    refused(model, InputError, "pytorch_model.bin")


def test_artifacts(model: Path, tmp_path: Path) -> None:
    """The manifest has the text itself, escaped as JSON; the card has it as plain text."""
    prompt = "x |\n# Title\r<script>alert(1)</script>`[a](b)`\x1b[31m\u202e"
    rewrite(model / "config_sentence_transformers.json", prompts={"query\n": prompt})
    conversion = convert(model, tmp_path / "out", verify="off")
    manifest = (tmp_path / "out/assets.extra/tf_exporter.json").read_text(encoding="utf-8")
    assert json.loads(manifest) == conversion.manifest
    assert conversion.manifest["prompts"] == {"query\n": prompt}
    card = (tmp_path / "out/README.md").read_text(encoding="utf-8")
    for text in (manifest, card):
        assert text.replace("\n", "").isprintable()
    assert "\n# Title" not in card and "<script" not in card.replace("\\<", "")
    row = next(line for line in card.splitlines() if line.startswith("| `encode_query_` |"))
    assert row.replace("\\|", "").count("|") == 3


def test_markdown() -> None:
    assert plain("a|b<c>`d`*e*\n") == r"a\|b\<c\>\`d\`\*e\*\\n"
    assert code("a/b") == "`a/b`" and code("a`b") == r"a\`b"


@pytest.mark.slow
def test_command_line(model: Path, tmp_path: Path) -> None:
    """Names of folders do not add lines to the output."""
    evil = model.rename(tmp_path / "m\nconvert-hf-model: b\x1b[31m")
    command = [
        sys.executable,
        "-m",
        "tf_exporter.cli",
        str(evil),
        str(tmp_path / "o\nSaved to\x1b[31m"),
        "--verify",
        "off",
    ]
    result = subprocess.run(command, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr
    assert len(result.stderr.splitlines()) == 3 and len(result.stdout.splitlines()) == 2
    assert b"\x1b" not in result.stderr + result.stdout
