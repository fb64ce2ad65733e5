"""Module configs, read without TensorFlow, compared with the reference key by key."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers.base.modules import Normalize, Router
from sentence_transformers.cross_encoder.modules import LogitScore
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from sentence_transformers.sentence_transformer.modules import (
    CNN,
    LSTM,
    BoW,
    Dense,
    Dropout,
    LayerNorm,
    Pooling,
    StaticEmbedding,
    WeightedLayerPooling,
    WordWeights,
)
from sentence_transformers.sparse_encoder.modules import (
    SparseAutoEncoder,
    SparseStaticEmbedding,
    SpladePooling,
)
from transformers import AutoTokenizer

from fixtures import models
from fixtures.heads import write_query_document_model
from fixtures.models import rewrite
from fixtures.word_models import word_embeddings
from tests.support.helpers import difference
from tests.support.words import ATOL
from tf_exporter import InputError, UnsupportedError
from tf_exporter.layers.activations import TORCH_ACTIVATIONS
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.source import ModelSource
from tf_exporter.model.torch_activations import TORCH_ACTIVATION_NAMES
from tf_exporter.modules.arguments import ARGUMENTS, DROPS_OTHERS
from tf_exporter.modules.configs import MODULE_CONFIGS, MODULE_KINDS, TAKES_TEXTS
from tf_exporter.modules.dimensions import Dimensions
from tf_exporter.modules.layers import TEXT_MODULES, WEIGHTED, WEIGHTLESS
from tf_exporter.modules.module_spec import ModuleSpec
from tf_exporter.modules.reading import check_modules, read_module
from tf_exporter.modules.spec import read_model

ODD = {"odd": [1, None]}
INVENTED = (
    *(
        "matryoshka_dimensions",
        "_comment",
        "base_model",
        "unsloth_version",
        "transformers.js_config",
    ),
    *(
        "self",
        "cls",
        "args",
        "kwargs",
        "config",
        "device",
        "torch_dtype",
        "temperature",
        "name",
        "type",
    ),
    *("tokenizer", "weight", "Bias", "sentence_embedding_dimension", ""),
)
WORDS = ["a", "b", "c"]
BEFORE = {
    "token_embeddings": 8,
    "sentence_embedding": 8,
    "causal_logits": 8,
    "sentence_lengths": 0,
    "input_ids": 3,
}
"""The widths of the features that earlier modules compute."""


def test_a_spec_is_read_without_tensorflow() -> None:
    code = (
        "import sys, tf_exporter.modules.spec, tf_exporter.modules.reading;"
        "heavy = {'tensorflow', 'torch', 'transformers', 'sentence_transformers'};"
        "print(heavy & sys.modules.keys())"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "set()\n"


def test_names_are_those_of_what_is_built() -> None:
    assert TORCH_ACTIVATIONS.keys() == TORCH_ACTIVATION_NAMES
    others = ["MultiVectorMask", "Transformer"]
    assert sorted([*TEXT_MODULES, *others, *WEIGHTED, *WEIGHTLESS]) == sorted(MODULE_KINDS)
    assert sorted([*TEXT_MODULES, "Transformer"]) == sorted(TAKES_TEXTS)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of each kind of module, saved by the reference."""
    root = tmp_path_factory.mktemp("modules")
    tokenizer = AutoTokenizer.from_pretrained(models.write_transformer(root / "plain", "bert"))
    modules: list[Any] = [
        *(
            BoW(WORDS, {"a": 2.0}),
            CNN(8, 4),
            Dense(8, 4),
            Dropout(),
            LSTM(8, 4),
            LayerNorm(8),
            LogitScore(1),
        ),
        *(
            MultiVectorMask(["a"], skiplist_tasks=["query"], keep_only_token_ids=[1]),
            Normalize(),
            Pooling(8),
            SparseAutoEncoder(8, 16, k=2, k_aux=4),
            SpladePooling(embedding_dimension=8),
        ),
        *(WeightedLayerPooling(8, 3, 1), word_embeddings(), WordWeights(WORDS, {"a": 2.0})),
        SparseStaticEmbedding(tokenizer, torch.rand(len(tokenizer))),
        StaticEmbedding(tokenizer, embedding_dim=8),
    ]
    result = {type(module).__name__: root / type(module).__name__ for module in modules}
    for module in modules:
        folder = result[type(module).__name__]
        folder.mkdir()
        module.save(str(folder))
        config_name = type(module).config_file_name
        if not (folder / config_name).exists():
            (folder / config_name).write_text("{}")
    return result


CLASSES: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        *(BoW, CNN, Dense, Dropout, LSTM, LayerNorm, LogitScore, MultiVectorMask, Normalize),
        *(Pooling, SparseAutoEncoder, SparseStaticEmbedding, SpladePooling, StaticEmbedding),
        *(WeightedLayerPooling, WordWeights, type(word_embeddings())),
    )
}


def config_of(folder: Path) -> Path:
    return folder / str(CLASSES[folder.name].config_file_name)


def read(folder: Path, file: ConfigFile | None = None) -> object:
    """Our reading of the config; None if it is refused."""
    values = json.loads(config_of(folder).read_text())
    spec = ModuleSpec(folder.name, "", file or ConfigFile("config.json", values))
    try:
        return read_module(spec, Dimensions(BEFORE))
    except (UnsupportedError, InputError):
        return None


def loaded(folder: Path, key: str) -> tuple[Any, ...] | None:
    """The config and weights that the reference loads, without the key itself; None if it fails."""
    try:
        module = CLASSES[folder.name].load(str(folder))
    except Exception:  # of any type
        return None
    config = {name: str(value) for name, value in module.get_config_dict().items() if name != key}
    return config, {name: tensor.tolist() for name, tensor in module.state_dict().items()}


@pytest.fixture
def changing(folders: dict[str, Path]) -> Callable[[str, str, Any], tuple[Any, Any, Any, Any]]:
    """A function of (kind, key, value): our and their results before and after the change."""

    def changed(kind: str, key: str, value: Any) -> tuple[Any, Any, Any, Any]:
        folder = folders[kind]
        kept = config_of(folder).read_text()
        before, expected = read(folder), loaded(folder, key)
        try:
            config_of(folder).write_text(json.dumps({**json.loads(kept), key: value}))
            return before, expected, read(folder), loaded(folder, key)
        finally:
            config_of(folder).write_text(kept)

    return changed


@pytest.mark.parametrize("kind", MODULE_CONFIGS)
def test_invented_keys(
    kind: str, changing: Callable[[str, str, Any], tuple[Any, Any, Any, Any]]
) -> None:
    """We ignore the keys that the reference ignores, and refuse those that it fails on."""
    assert len(INVENTED) == 20
    for key in INVENTED:
        before, expected, ours, theirs = changing(kind, key, ODD)
        assert before is not None
        assert expected is not None
        assert (ours, theirs) == ((before, expected) if kind in DROPS_OTHERS else (None, None)), key


@pytest.mark.parametrize("kind", MODULE_CONFIGS)
def test_arguments_are_those_of_the_class(kind: str, folders: dict[str, Path]) -> None:
    """Every key that the reference reads is listed, and we read each."""
    of_class = CLASSES[kind]
    names = {name for name in inspect.signature(of_class.__init__).parameters if name != "self"} | {
        *of_class.config_key_renames
    }
    given_by_load = {
        "SparseStaticEmbedding": {"tokenizer", "weight"},
        "StaticEmbedding": names,
        "WordEmbeddings": {"tokenizer", "embedding_weights"},
    }
    taken_out = {"SparseStaticEmbedding": {"path"}, "WordEmbeddings": {"tokenizer_class"}}
    old = {name for name in ARGUMENTS[kind] if name.startswith("pooling_mode_")}
    assert (
        ARGUMENTS[kind] == names - given_by_load.get(kind, set()) | taken_out.get(kind, set()) | old
    )
    file = Recording("config.json", json.loads(config_of(folders[kind]).read_text()))
    assert read(folders[kind], file) is not None
    assert file.seen >= ARGUMENTS[kind]


class Recording(ConfigFile):
    """A config file that records which keys are read."""

    def __init__(self, file: str, values: dict[str, Any]) -> None:
        super().__init__(file, values)
        self.seen: set[str] = set()

    def take(self, key: str, *arguments: Any, **options: Any) -> Any:
        self.seen.add(key)
        return super().take(key, *arguments, **options)

    def require(self, key: str, allowed: tuple[Any, ...], *follows_from: str) -> None:
        self.seen.add(key)
        super().require(key, allowed, *follows_from)


@pytest.mark.parametrize(
    ("kind", "key"), [(kind, key) for kind, keys in ARGUMENTS.items() for key in sorted(keys)]
)
def test_odd_values(
    kind: str, key: str, changing: Callable[[str, str, Any], tuple[Any, Any, Any, Any]]
) -> None:
    """A value that changes nothing for us changes nothing for the reference."""
    for value in (ODD, 99, None, True, "x"):
        before, expected, ours, theirs = changing(kind, key, value)
        if ours == before:
            assert theirs == expected, value


UNUSED: dict[tuple[str, str], tuple[Any, ...]] = {
    ("Dense", "init_weight"): (None,),
    ("Pooling", "embedding_dimension"): (99, 0.5, True, "x", [1]),
    ("Pooling", "pooling_mode_mean_tokens"): (None, 0, ODD),
    ("SparseAutoEncoder", "dead_threshold"): (99, None),
    ("SparseAutoEncoder", "k_aux"): (0, None, ODD),
    ("SparseStaticEmbedding", "frozen"): (True, None),
    ("SparseStaticEmbedding", "path"): ("weights", None),
    ("SpladePooling", "embedding_dimension"): (99, None, ODD),
    ("WeightedLayerPooling", "embedding_dimension"): (99, None, ODD),
    ("WeightedLayerPooling", "layer_weights"): (None,),
}


@pytest.mark.parametrize(("kind", "key"), UNUSED)
def test_what_no_result_depends_on(
    kind: str, key: str, changing: Callable[[str, str, Any], tuple[Any, Any, Any, Any]]
) -> None:
    for value in UNUSED[kind, key]:
        before, expected, ours, theirs = changing(kind, key, value)
        assert (ours, theirs) == (before, expected), value


def test_old_names(
    changing: Callable[[str, str, Any], tuple[Any, Any, Any, Any]], folders: dict[str, Path]
) -> None:
    for kind, key in (
        ("LSTM", "embedding_dimension"),
        ("CNN", "in_embedding_dimension"),
        ("Pooling", "embedding_dimension"),
    ):
        old = key.replace("embedding", "word_embedding")
        kept = config_of(folders[kind]).read_text()
        before = read(folders[kind])
        config_of(folders[kind]).write_text(kept.replace(f'"{key}"', f'"{old}"'))
        assert read(folders[kind]) == before
        config_of(folders[kind]).write_text(kept)
        _, _, ours, theirs = changing(kind, old, "not looked at")
        assert ours == before
        assert theirs is not None


def test_keys_of_a_router(tmp_path: Path) -> None:
    """The reference ignores unknown keys beside the parameters, and fails on unknown parameters."""
    folder = write_query_document_model(tmp_path / "model")
    path = folder / "router_config.json"
    kept = json.loads(path.read_text())
    before = read_model(ModelSource(folder, "model"))
    for key in INVENTED[:6]:
        path.write_text(json.dumps({**kept, key: ODD}))
        source = ModelSource(folder, "model")
        assert read_model(source).tasks == before.tasks
        assert source.ignored == {"router_config.json": [key]}
        if key == INVENTED[0]:
            assert Router.load(str(folder)).get_config_dict() == kept["parameters"]
        path.write_text(json.dumps({**kept, "parameters": {**kept["parameters"], key: ODD}}))
        with pytest.raises(UnsupportedError, match=key):
            read_model(ModelSource(folder, "model"))
        with pytest.raises(TypeError):
            Router.load(str(folder))


@pytest.mark.slow
def test_what_the_reference_does_not_use(tmp_path: Path) -> None:
    """Unknown keys of Dense and Normalize are listed as ignored; Pooling's width is unused."""
    heads = [Pooling(32, "mean"), Dense(32, 8), Normalize()]
    folder = models.write_model(tmp_path / "model", heads=heads)
    rewrite(folder / "1_Pooling/config.json", embedding_dimension=999)
    for name in ("2_Dense", "3_Normalize"):
        path = folder / name / "config.json"
        values = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**values, **dict.fromkeys(INVENTED, ODD)}))
    assert difference(folder, models.texts(1, 6)) <= ATOL
    file = ConfigFile(
        "2_Dense/config.json", json.loads((folder / "2_Dense/config.json").read_text())
    )
    MODULE_CONFIGS["Dense"](file, Dimensions(sentence_embedding=32))
    assert file.ignored == {"2_Dense/config.json": sorted(INVENTED)}


def specs(**configs: dict[str, Any]) -> list[ModuleSpec]:
    return [
        ModuleSpec(kind, kind, ConfigFile(f"{kind}/config.json", values))
        for kind, values in configs.items()
    ]


def test_all_reasons_at_once() -> None:
    """The reasons of all modules, but none that follows from another."""
    modules = specs(
        Transformer={},
        Pooling={"embedding_dimension": 8, "pooling_mode": ["median", "cls", "middle"], "more": 1},
        Dense={"in_features": 9, "out_features": 0, "activation_function": "torch.nn.Softmax"},
        LayerNorm={"dimension": "8"},
        Normalize={"module_output_name": "x"},
    )
    with pytest.raises(UnsupportedError) as raised:
        check_modules(modules, {"token_embeddings": 8})
    assert [
        (reason.file.split("/")[0], reason.key, reason.value) for reason in raised.value.reasons
    ] == [
        ("Pooling", "pooling_mode", "median"),
        ("Pooling", "more", 1),
        ("Dense", "out_features", 0),
        ("Dense", "activation_function", "torch.nn.Softmax"),
        ("LayerNorm", "dimension", "8"),
        ("Normalize", "module_output_name", "x"),
    ]


def test_widths_from_module_to_module() -> None:
    """Widths are compared where they are known; an encoder's may not be."""

    def modules(*kinds: str) -> list[ModuleSpec]:
        configs: dict[str, dict[str, Any]] = {
            "Transformer": {},
            "StaticEmbedding": {},
            "Pooling": {"embedding_dimension": 8, "pooling_mode": ["mean", "cls"]},
            "Dense": {"in_features": 16, "out_features": 4},
            "LayerNorm": {"dimension": 5},
        }
        return specs(**{kind: configs[kind] for kind in kinds})

    pooled = "Transformer", "Pooling", "Dense"
    with pytest.raises(
        UnsupportedError, match=r"LayerNorm/config.json: dimension = 5 .* 4, the width"
    ):
        check_modules(modules(*pooled, "LayerNorm"), {"token_embeddings": None})
    with pytest.raises(UnsupportedError, match=r"in_features = 16 .* 14, the width"):
        check_modules(modules(*pooled), {"token_embeddings": 7})
    assert check_modules(modules(*pooled), {"token_embeddings": 8}) == {
        "token_embeddings": 8,
        "sentence_embedding": 4,
    }
    with pytest.raises(UnsupportedError, match=r"sentence_embedding.*no module before"):
        check_modules(modules("LayerNorm"), {})
    check_modules(modules("StaticEmbedding", "LayerNorm"), {})
