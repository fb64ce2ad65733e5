"""Absurd sizes in small files: refused by name, quickly and with little memory."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fixtures.models import rewrite
from tests.support.refusals import refused
from tf_exporter import InputError, UnsupportedError, convert

POOLING = {"name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}


@pytest.fixture(scope="module", autouse=True)
def _imported() -> None:
    """Imports the libraries first, so that no test measures them."""
    from transformers import AutoTokenizer

    import tf_exporter.exports.registry  # noqa: F401

    assert AutoTokenizer


def change_tokenizer(model: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    parts = json.loads((model / "tokenizer.json").read_text())
    change(parts)
    (model / "tokenizer.json").write_text(json.dumps(parts))


def change_raw_tokenizer(model: Path, **changes: Any) -> None:
    """Changes tokenizer.json, and makes transformers use it unchanged."""
    rewrite(model / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    rewrite(model / "tokenizer.json", **changes)


def steps(kind: str, step: dict[str, Any], count: int) -> dict[str, Any]:
    return {"type": "Sequence", kind: [step] * count}


SIZES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "token id": (
        lambda m: change_tokenizer(m, lambda parts: parts["model"]["vocab"].update(x1=2**31)),
        "2147483648",
    ),
    "highest token id": (
        lambda m: change_tokenizer(m, lambda parts: parts["model"]["vocab"].update(x1=2**24)),
        "16777216",
    ),
    "added token": (
        lambda m: change_tokenizer(m, lambda parts: parts["added_tokens"][0].update(id=2**31 - 1)),
        "2147483647",
    ),
    "normalizer": (
        lambda m: change_raw_tokenizer(m, normalizer=steps("normalizers", {"type": "NFKC"}, 65)),
        "65 steps",
    ),
    "pre-tokenizer": (
        lambda m: change_raw_tokenizer(
            m, pre_tokenizer=steps("pretokenizers", {"type": "WhitespaceSplit"}, 1_000)
        ),
        "1000 steps",
    ),
    "prompts": (
        lambda m: rewrite(
            m / "config_sentence_transformers.json",
            prompts={f"{index}": "" for index in range(10_000)},
        ),
        "10,000 prompts",
    ),
    "modules": (
        lambda m: (m / "modules.json").write_text(
            json.dumps([{**POOLING, "name": f"{index}"} for index in range(10_000)])
        ),
        "10000",
    ),
}


@pytest.mark.parametrize("name", SIZES)
def test_refused(model: Path, name: str) -> None:
    change, word = SIZES[name]
    change(model)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    refused(model, UnsupportedError, word)
    assert time.process_time() - started < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000, "kB"


def test_keys(model: Path) -> None:
    rewrite(model / "config.json", **{f"key {index}": 1 for index in range(100_000)})
    started = time.process_time()
    refused(model, InputError, "100,000 unknown keys")
    assert time.process_time() - started < 5


def test_numbers(model: Path) -> None:
    """An integer too large for a float is refused."""
    text = (model / "config.json").read_text()
    (model / "config.json").write_text(
        text.replace('"num_hidden_layers": 3', '"num_hidden_layers": 1' + "0" * 400)
    )
    refused(model, InputError, "config.json", "401 digits")


def test_nested(model: Path, tmp_path: Path) -> None:
    """Nesting up to the limit of Python's parser, and deeper."""
    text = (model / "config.json").read_text().rstrip()
    for depth in (100, 300, 900, 1_100):
        (model / "config.json").write_text(
            f'{text[:-1]}, "hidden_act": {"[" * depth + "]" * depth}}}'
        )
        with pytest.raises((UnsupportedError, InputError)):
            convert(model, tmp_path / "out", verify="off")
