"""The tokenizer class of transformers: those in Python only are refused; no model code is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fixtures.models import rewrite
from tests.support.refusals import refused
from tf_exporter import UnsupportedError
from tf_exporter.model.source import ModelSource
from tf_exporter.tokenizers.loading import load_tokenizer

PYTHON_ONLY: dict[str, dict[str, Any]] = {
    "PhobertTokenizer": {},
    "PhobertTokenizerFast": {},
    "BertweetTokenizer": {"normalization": True, "demojizer": None},
    "BertJapaneseTokenizer": {
        "word_tokenizer_type": "mecab",
        "subword_tokenizer_type": "wordpiece",
        "mecab_kwargs": None,
    },
    "SiglipTokenizer": {"do_lower_case": True},
    "BertModel": {},
    "logging": {},
}


@pytest.mark.parametrize("file", ["tokenizer_config.json", "config.json"])
@pytest.mark.parametrize("name", PYTHON_ONLY)
def test_tokenizers_in_python_alone(model: Path, name: str, file: str) -> None:
    """Refused first, whatever the other keys are, and without the libraries they need."""
    rewrite(model / "tokenizer_config.json", tokenizer_class="absent", **PYTHON_ONLY[name])
    rewrite(model / file, tokenizer_class=name)
    refused(
        model,
        UnsupportedError,
        f"{file}: tokenizer_class = '{name}'",
        "Hugging Face tokenizers",
        "Python code",
    )


def test_python_class_by_the_type_of_the_model(model: Path) -> None:
    rewrite(model / "tokenizer_config.json", tokenizer_class="absent")
    rewrite(model / "config.json", model_type="canine")
    with pytest.raises(UnsupportedError, match="tokenizer_class = 'CanineTokenizer'"):
        load_tokenizer(ModelSource(model, str(model)), "")


@pytest.mark.parametrize(
    "names", [["tokenization_own.Own", None], ["tokenization_own.Own", "tokenization_own.OwnFast"]]
)
def test_code_of_a_tokenizer_is_not_run(model: Path, names: list[str | None]) -> None:
    """transformers' own class computes the ids, as it does without the key."""
    source = ModelSource(model, str(model))
    expected = load_tokenizer(source, "")("hello [MASK] world")["input_ids"]
    (model / "tokenization_own.py").write_text(
        f"open({str(model / 'run')!r}, 'w')\nOwn = OwnFast = None\n"
    )
    for tokenizer_class in ("BertTokenizer", "OwnTokenizer", "absent"):
        rewrite(
            model / "tokenizer_config.json",
            tokenizer_class=tokenizer_class,
            auto_map={"AutoTokenizer": names},
        )
        assert load_tokenizer(source, "")("hello [MASK] world")["input_ids"] == expected
    rewrite(model / "config.json", model_type="own")
    with pytest.raises(UnsupportedError, match="auto_map"):
        load_tokenizer(source, "")
    assert not (model / "run").exists()
