"""Published tokenizers and their chat templates, beside the reference; random small weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from fixtures import chat
from fixtures.real import SHARED
from tests.support.helpers import build, hostile_texts, reference
from tests.support.refusals import refused
from tf_exporter import UnsupportedError
from tf_exporter.verification.reference_process import load

pytestmark = pytest.mark.engines

PLACE = Path(__file__).parents[2] / ".venv/weights"
TYPES = {"qwen3": "qwen3", "gemma3": "gemma3_text", "llama3": "qwen3"}
"""Tokenizer → an architecture for it."""


def published(name: str) -> Path:
    folder = PLACE / name
    if not (folder / "tokenizer.json").is_file():
        pytest.skip(f"the tokenizer {name} is not there: run `make test-engines`, with npm")
    return folder


def texts() -> list[str]:
    """Hostile texts, and real ones in many languages if the shared test data is there."""
    found = [text.decode(errors="replace") for text in hostile_texts()]
    udhr, naughty = SHARED / "text/udhr.jsonl", SHARED / "text/blns.json"
    if udhr.is_file():
        lines = udhr.read_text(encoding="utf-8").splitlines()
        found += [json.loads(line)["text"] for line in lines[::80]]
        found += json.loads(naughty.read_text(encoding="utf-8"))[::3]
    return found


def mismatches(folder: Path, theirs: Any, pairs: bool) -> tuple[int, int]:
    """The number of rows whose ids differ from the reference's, and of all rows."""
    model, all_texts = build(folder), texts()
    others = [*all_texts[40:], *all_texts[:40]]
    different = count = 0
    for signature in model.signatures.values():
        for start in range(0, len(all_texts), 64):
            columns = [all_texts[start : start + 64], others[start : start + 64]][: 1 + pairs]
            rows = [*zip(*columns)] if pairs else columns[0]
            expected = theirs.preprocess(rows, prompt=signature.prompt)["input_ids"].numpy()
            encodings = model.first.encodings(signature.use, *map(tf.constant, columns))
            ids = model.first.tokenizer.padding(encodings).input_ids.numpy()
            assert ids.shape == expected.shape
            different += int((ids != expected).any(axis=1).sum())
            count += len(rows)
    return different, count


@pytest.mark.parametrize("name", TYPES)
def test_texts(name: str, tmp_path: Path) -> None:
    """The tokenizer's own template, with and without prompts, many texts truncated."""
    folder = chat.write_chat_model(
        tmp_path / "model",
        None,
        model_type=TYPES[name],
        published=published(name),
        max_length=64,
        max_position_embeddings=64,
        prompts={"query": "Instruct: find the text\nQuery: "},
    )
    different, count = mismatches(folder, reference(folder), pairs=False)
    print(f"{name}: {count} texts, {different} with other ids")
    assert different == 0 and count >= 300


@pytest.mark.parametrize("template", chat.PAIR_TEMPLATES)
def test_pairs(template: str, tmp_path: Path) -> None:
    folder = chat.write_chat_reranker(
        tmp_path / "model",
        chat.PAIR_TEMPLATES[template],
        published=published("qwen3"),
        max_length=160,
        max_position_embeddings=160,
    )
    different, count = mismatches(folder, load(str(folder), "CrossEncoder"), pairs=True)
    print(f"{template}: {count} pairs, {different} with other ids")
    assert different == 0 and count >= 300


def test_template_with_a_date(tmp_path: Path) -> None:
    """Llama 3.2's writes today's date, unless the model's settings give one."""
    sizes: dict[str, Any] = {
        "published": published("llama3_2"),
        "max_length": 64,
        "max_position_embeddings": 64,
    }
    folder = chat.write_chat_model(tmp_path / "dated", None, **sizes)
    refused(folder, UnsupportedError, "chat_template", "reads the clock")
    processing = {"chat_template": {"date_string": "26 Jul 2024"}}
    folder = chat.write_chat_model(tmp_path / "fixed", None, processing_kwargs=processing, **sizes)
    different, count = mismatches(folder, reference(folder), pairs=False)
    assert different == 0 and count >= 300
