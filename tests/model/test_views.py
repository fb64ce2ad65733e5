"""The reference's view of a model: plain files, and no config that chooses code or packages."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fixtures import models
from tests.support.helpers import InProcessReference
from tf_exporter import InputError, convert
from tf_exporter.model.reference.view import view
from tf_exporter.model.source import ModelSource
from tf_exporter.verification.reference_process import load

KERNEL = "someone/kernel"
CHOICES: list[tuple[str, dict[str, Any]]] = [
    ("config.json", {"_attn_implementation": KERNEL}),
    ("config.json", {"attn_implementation": KERNEL}),
    ("config.json", {"attn_implementation": "flash_attention_2", "output_attentions": True}),
    ("config.json", {"experts_implementation": KERNEL, "_experts_implementation": KERNEL}),
    (
        "config.json",
        {"use_kernels": True, "kernel_config": {"kernel_mapping": {"RMSNorm": KERNEL}}},
    ),
    (
        "config.json",
        {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}},
    ),
    (
        "config.json",
        {"fusion_config": {"patch_embeddings": True}, "distributed_config": {"tp_plan": "auto"}},
    ),
    (
        "config.json",
        {"configuration_files": ["config.4.0.0.json"], "transformers_weights": "other.safetensors"},
    ),
    (
        "config.json",
        {
            "auto_map": {"AutoConfig": "code.Config", "AutoModel": "code.Model"},
            "processor_class": "CLIPProcessor",
        },
    ),
    (
        "config.json",
        {"attribute_map": {"hidden_size": "intermediate_size"}, "torch_dtype": "float16"},
    ),
    (
        "tokenizer_config.json",
        {"auto_map": {"AutoTokenizer": ["code.T", None]}, "processor_class": "CLIPProcessor"},
    ),
    ("config_sentence_transformers.json", {"requirements": ["a-package-nobody-has>=9"]}),
    (
        "sentence_bert_config.json",
        {"model_kwargs": {"attn_implementation": KERNEL, "torch_dtype": "float16"}},
    ),
]


def changed(folder: Path, file: str, changes: dict[str, Any]) -> None:
    path = folder / file
    path.write_text(
        json.dumps({**(json.loads(path.read_text()) if path.exists() else {}), **changes})
    )


@pytest.fixture
def loaders(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replaces every function that would load code, packages or other files; lists the calls."""
    called: list[str] = []

    def instead(name: str) -> Any:
        def fail(*arguments: Any, **options: Any) -> Any:
            called.append(name)
            raise AssertionError(f"{name} was called")

        return fail

    monkeypatch.setattr(
        "transformers.integrations.hub_kernels.is_kernels_available", lambda *_, **__: True
    )
    for name in (
        "transformers.integrations.hub_kernels.get_kernel",
        "transformers.integrations.hub_kernels.load_and_register_attn_kernel",
        "transformers.modeling_utils.lazy_import_flash_attention",
        "transformers.modeling_utils.PreTrainedModel.prepare_distribute_model",
        "transformers.configuration_utils.get_configuration_file",
        "transformers.quantizers.auto.AutoHfQuantizer.from_config",
        "transformers.fusion_mapping.register_fusion_patches",
        "transformers.dynamic_module_utils.get_class_from_dynamic_module",
        "transformers.models.auto.auto_factory.get_class_from_dynamic_module",
        "transformers.models.auto.processing_auto.processor_class_from_name",
        "sentence_transformers.base.model.check_version_requirements",
    ):
        monkeypatch.setattr(name, instead(name), raising=True)
    return called


def test_nothing_is_chosen_by_a_config(good: Path, model: Path, loaders: list[str]) -> None:
    """With equal weights and texts the answers are equal, and no loader is called."""
    loaders_alone = "sentence_transformers.base.model.check_version_requirements"
    for file, changes in CHOICES:
        changed(model, file, changes)
    (model / "code.py").write_text("raise AssertionError('run')")
    (model / "processor_config.json").write_text(
        '{"processor_class": "CLIPProcessor", "auto_map": {"AutoProcessor": "code.P"}}'
    )
    (model / "adapter_config.py").write_text("")
    with view(ModelSource(good, "good")) as clean, view(ModelSource(model, "model")) as cleaned:
        assert not (cleaned / "code.py").exists()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                loaders_alone,
                lambda requirements, **_: loaders.extend(["requirements"] if requirements else []),
            )
            answers = [
                load(str(folder), "SentenceTransformer", None, None).encode(["hello world"])
                for folder in (clean, cleaned)
            ]
    assert loaders == []
    np.testing.assert_array_equal(*answers)


@pytest.mark.parametrize(("file", "changes"), CHOICES)
def test_each_choice_is_taken_out(model: Path, file: str, changes: dict[str, Any]) -> None:
    before = json.loads((model / file).read_text()) if (model / file).exists() else {}
    changed(model, file, changes)
    with view(ModelSource(model, "model")) as place:
        assert not (place / file).is_symlink()
        seen = json.loads((place / file).read_text())
    assert not seen.keys() & changes.keys()
    assert {key: value for key, value in seen.items() if key in before} == {
        key: value for key, value in before.items() if key in seen
    }


def test_loaders_are_called_without_the_view(model: Path, loaders: list[str]) -> None:
    """Without the view the loaders are called, so the test above can fail."""
    changed(
        model, "config_sentence_transformers.json", {"requirements": ["a-package-nobody-has>=9"]}
    )
    with pytest.raises(AssertionError, match="check_version_requirements was called"):
        load(str(model), "SentenceTransformer", None, None)
    changed(model, "config_sentence_transformers.json", {"requirements": None})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "sentence_transformers.base.model.check_version_requirements", lambda *_, **__: None
        )
        changed(model, "config.json", {"configuration_files": ["config.4.0.0.json"]})
        with pytest.raises(AssertionError, match="get_configuration_file was called"):
            load(str(model), "SentenceTransformer", None, None)


@pytest.mark.slow
def test_the_attention_is_not_the_models_choice(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Models that name an attention that is not installed convert."""
    changed(model, "config.json", {"_attn_implementation": "flash_attention_2"})
    changed(
        model,
        "sentence_bert_config.json",
        {"model_kwargs": {"attn_implementation": "flash_attention_2"}},
    )
    monkeypatch.setattr("tf_exporter.exports.run.Reference", InProcessReference)
    assert convert(model, tmp_path / "out").verification["embedding_texts"] > 300


def test_links_stay_in_the_model(model: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text("{}")
    (model / "secret.json").symlink_to(tmp_path / "secret.json")
    (model / "nowhere").symlink_to(tmp_path / "none")
    (model / "again").symlink_to(model)
    (model / "weights.bin").symlink_to(model / "model.safetensors")
    (model / ".git").mkdir()
    os.mkfifo(model / ".git/pipe")
    with view(ModelSource(model, "model")) as place:
        names = {path.name for path in place.iterdir()}
        assert names & {"secret.json", "nowhere", ".git", "weights.bin"} == {"weights.bin"}
        assert (place / "1_Pooling/config.json").is_file()


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_what_is_no_file(model: Path, kind: str) -> None:
    """Reading it would never end."""
    place = model / "1_Pooling/special_tokens_map.json"
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "device":
        place.symlink_to("/dev/zero")
    else:
        here = os.getcwd()
        os.chdir(place.parent)  # a socket's path may not be long
        try:
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(place.name)
        finally:
            os.chdir(here)
    if kind == "device":  # a link out of the model
        with view(ModelSource(model, "model")) as seen:
            assert not (seen / "1_Pooling" / place.name).exists()
        return
    refused = pytest.raises(
        InputError, match=r"1_Pooling/special_tokens_map\.json: neither a file nor a folder"
    )
    with refused, view(ModelSource(model, "model")):
        pass


def test_a_config_in_other_terms(tmp_path: Path) -> None:
    folder = models.write_model(tmp_path / "model")
    source = ModelSource(folder, "model")
    source.stand_in("./config.json", {"model_type": "gte", "auto_map": {}})
    own = (folder / "config.json").read_text()
    with view(source) as place:
        assert json.loads((place / "config.json").read_text()) == {"model_type": "gte"}
        assert (place / "model.safetensors").resolve() == folder / "model.safetensors"
    assert (folder / "config.json").read_text() == own
