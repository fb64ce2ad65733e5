"""docs/hub.md: every command and every piece of code in it, in order, on small models under the names that the page uses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from transformers import AutoModelForPreTraining, AutoModelForSequenceClassification

from fixtures import heads, models
from tests.hub.test_google import by_hand, tf1_variables, write_tf1
from tests.serving.pages import PROJECT, blocks, run
from tf_exporter.hub.pooler import NAMES

pytestmark = [pytest.mark.serving, pytest.mark.long]
PAGE = PROJECT / "docs" / "hub.md"


def test_all_of_it(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow_hub", reason="tensorflow_hub is not installed; make test-serving does that")
    positions = {"max_position_embeddings": 128}
    bert = heads.write_plain_head(tmp_path / "bert-base-uncased", "bert", AutoModelForPreTraining, **positions)
    models.rewrite(bert / "tokenizer_config.json", model_max_length=128)
    heads.write_plain_head(tmp_path / "bert-finetuned", "bert", AutoModelForSequenceClassification, num_labels=2)
    write_tf1(tmp_path / "uncased_L-3_H-32_A-4", tf1_variables(by_hand()))
    found = blocks(PAGE)
    assert [block.language for block in found if not block.runs] == ["text"]
    ran = [run(block, tmp_path, block.code) for block in found if block.runs]
    assert len(ran) >= 11
    made = {path.name for path in tmp_path.iterdir() if (path / "saved_model.pb").exists()}
    pair = {"preprocessing", "encoder", "encoder-with-mlm", "small-bert", "small-bert-preprocessing"}
    assert made == {*pair, "fine-tuned", "classifier", "fixed"}
    out = "\n".join(ran)
    assert "shape=(1, 40)" in out and "b'LABEL_" in out and f"shape=(1, 1, {len(models.VOCAB)})" in out


def test_table() -> None:
    """The architectures are those of the code."""
    [row] = re.findall(r"^\| `encoder` \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert row == ", ".join(f"`{name}`" for name in sorted(NAMES))
