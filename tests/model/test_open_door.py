"""Keys that the reference does not read: none refuses a model or changes an answer."""

from __future__ import annotations

import json
import random
import string
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import CONFIG_MAPPING

from fixtures import models
from fixtures.models import rewrite
from tests.model.test_reference_keys import INVENTED
from tests.support.helpers import build, embed, reference
from tf_exporter import ConversionError, convert
from tf_exporter.architectures.reading import read_architecture
from tf_exporter.architectures.registry import ARCHITECTURES
from tf_exporter.exports.check import check_supported
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.source import ModelSource
from tf_exporter.options import Options
from tf_exporter.tokenizers.loading import load_tokenizer

VALUES: tuple[Any, ...] = (None, True, 7, 0.5, "x", [1, "y"], {"z": {"a": 1}})
FILES = (
    "config.json",
    "tokenizer_config.json",
    "config_sentence_transformers.json",
    "modules.json",
)
TEXTS = models.texts(3, 12)


def invented(count: int, seed: int) -> dict[str, Any]:
    """Random keys, and unknown keys of public folders, with random values."""
    random_ = random.Random(seed)
    names = [
        "_".join("".join(random_.choices(string.ascii_lowercase, k=6)) for _ in range(3))
        for _ in range(count)
    ]
    return {name: random_.choice(VALUES) for name in [*INVENTED, *names][:count]}


def put(folder: Path, file: str, keys: dict[str, Any]) -> None:
    """Adds keys to a config or to every entry of modules.json, whose own `name` stays."""
    if file == "modules.json":
        entries = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps([{**keys, **entry} for entry in entries]))
    else:
        rewrite(folder / file, **keys)


@pytest.mark.parametrize("model_type", sorted(models.CONFIGS))
def test_one_invented_key_at_a_time(model_type: str) -> None:
    """An unknown key in config.json changes nothing that is read, so the graph is the same."""
    values = json.loads(models.CONFIGS[model_type]().to_json_string(use_diff=False))
    expected = read_architecture(
        ConfigFile("config.json", values), model_type, "feature-extraction"
    )
    for key, value in invented(100, 1).items():
        file = ConfigFile("config.json", {**values, key: value})
        assert read_architecture(file, model_type, "feature-extraction") == expected
        assert key in file.ignored["config.json"]


def test_one_invented_key_in_each_file(model: Path) -> None:
    """The other configs of a model and of its tokenizer."""
    for name in FILES:
        original = (model / name).read_text()
        for key, value in invented(100, 2).items():
            put(model, name, {key: value})
            source = ModelSource(model, "model")
            check_supported(source, Options())
            if name == "tokenizer_config.json" or (name, key) == ("modules.json", "name"):
                continue  # a tokenizer has to be loaded: all its keys are tested at once below
            assert any(listed.endswith(key) for listed in source.ignored[name]), (name, key)
            (model / name).write_text(original)
        (model / name).write_text(original)


def test_answers_stay_the_same(model: Path) -> None:
    before = embed(build(model), TEXTS)
    expected = load_tokenizer(ModelSource(model, "model"), "").backend_tokenizer.to_str()
    for seed, name in enumerate(FILES):
        put(model, name, invented(100, seed))
    source = ModelSource(model, "model")
    assert load_tokenizer(source, "").backend_tokenizer.to_str() == expected
    assert len(source.ignored["tokenizer_config.json"]) >= 95
    assert np.array_equal(embed(build(model), TEXTS), before)
    assert np.abs(reference(model).encode(TEXTS) - before).max() <= 1e-5


def test_what_is_ignored_is_reported(model: Path, tmp_path: Path) -> None:
    rewrite(model / "config.json", tie_weights_=True)
    conversion = convert(model, tmp_path / "out", verify="off")
    assert conversion.manifest["ignored"] == {"config.json": ["tie_weights_"]}
    assert (
        conversion.summary[-1]
        == "Ignored, as the reference does not read them: config.json: tie_weights_."
    )


@pytest.mark.parametrize("model_type", sorted(models.CONFIGS))
def test_no_key_that_is_read_is_ignored(model_type: str) -> None:
    """Every field of the installed class with an odd value: never listed as ignored."""
    values = json.loads(models.CONFIGS[model_type]().to_json_string(use_diff=False))
    names = {field.name for field in fields(CONFIG_MAPPING[model_type])} | {
        *CONFIG_MAPPING[model_type].attribute_map
    }
    own = {
        field.name
        for field in fields(ARCHITECTURES[model_type].config)
        if field.default is not MISSING
    }
    assert names & own
    for name in names | own:
        file = ConfigFile("config.json", {**values, name: {"odd": 1}})
        try:
            read_architecture(file, model_type, "feature-extraction")
        except ConversionError:
            continue
        assert name not in file.ignored.get("config.json", []), name
