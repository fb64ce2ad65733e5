"""docs/hub.md: every command and code block, in order, on small models under the page's names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from transformers import AutoModelForPreTraining, AutoModelForSequenceClassification

from fixtures import heads, models
from tests.engines.pages import PROJECT, blocks, run
from tests.model.test_google import by_hand, tf1_variables, write_tf1
from tf_exporter.modules.trainable import TRAINABLE

pytestmark = [pytest.mark.engines, pytest.mark.slow]
PAGE = PROJECT / "docs" / "hub.md"


def test_every_block(tmp_path: Path) -> None:
    pytest.importorskip(
        "tensorflow_hub", reason="tensorflow_hub is not installed; make test-engines does that"
    )
    positions = {"max_position_embeddings": 128}
    bert = heads.write_plain_head(
        tmp_path / "bert-base-uncased", "bert", AutoModelForPreTraining, **positions
    )
    models.rewrite(bert / "tokenizer_config.json", model_max_length=128)
    heads.write_plain_head(
        tmp_path / "bert-finetuned", "bert", AutoModelForSequenceClassification, num_labels=2
    )
    write_tf1(tmp_path / "uncased_L-3_H-32_A-4", tf1_variables(by_hand()))
    page_blocks = blocks(PAGE)
    assert [block.language for block in page_blocks if not block.runs] == ["text"]
    ran = [run(block, tmp_path, block.code) for block in page_blocks if block.runs]
    assert len(ran) >= 11
    made = {path.name for path in tmp_path.iterdir() if (path / "saved_model.pb").exists()}
    pair = {
        "preprocessing",
        "encoder",
        "encoder-with-mlm",
        "small-bert",
        "small-bert-preprocessing",
    }
    assert made == {*pair, "fine-tuned", "classifier", "fixed"}
    out = "\n".join(ran)
    assert (
        "shape=(1, 40)" in out and "b'LABEL_" in out and f"shape=(1, 1, {len(models.VOCAB)})" in out
    )


def test_table() -> None:
    """The table lists the architectures of the code."""
    [row] = re.findall(r"^\| `encoder` \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert row == ", ".join(f"`{name}`" for name in sorted(TRAINABLE))
