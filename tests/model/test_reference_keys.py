"""The keys that transformers reads, from its classes and its source files."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import transformers
from transformers import CONFIG_MAPPING, AutoConfig, AutoModel, PreTrainedConfig

from fixtures import models
from tests.support.fresh import modules_imported_by
from tf_exporter.model.reference import keys as reference_keys
from tf_exporter.model.reference.keys import reads_config_key, reads_tokenizer_key

INVENTED = [
    *"tie_weights_ down_scale_factor gap_size net_structure_type num_memory_blocks".split(),
    *"emb_size cell pre_trained structure training transformers.js_config xla_device".split(),
    *"unsloth_version unsloth_fixed eos_token_ids export_model_type output_size name".split(),
    *"author custom_metrics matryoshka_dimensions total_flos uniem_embedding_strategy".split(),
    *"layers_to_keep generator_size base_model sbert_ce_default_activation_function".split(),
]
"""Keys of public folders that no class reads."""


@pytest.mark.parametrize("model_type", sorted(models.CONFIGS))
def test_every_field_is_read(model_type: str) -> None:
    """Fields of the class and its bases, aliases, methods, and keys looked up elsewhere."""
    reads, kind = reads_config_key(model_type), CONFIG_MAPPING[model_type]
    fields = {field.name for field in dataclasses.fields(kind)}
    assert {"hidden_size", "dim", "d_model"} & fields
    for name in {
        *fields,
        *kind.attribute_map,
        "to_dict",
        "rope_scaling",
        "quantization_config",
        "is_causal",
    }:
        assert reads(name), name
    assert not [name for name in INVENTED if reads(name)]


def test_its_files_are_there() -> None:
    """A file that has moved would make its keys look as if nothing read them."""
    root = Path(transformers.__file__).parent
    for name in (*reference_keys._SHARED, *reference_keys._TOKENIZERS):
        assert (root / name).is_file(), name


WITHOUT_EFFECT = {
    "auto_map",
    "output_cross_attentions",
    "use_cache",
    "vision_aspect_ratio",
    "vision_feature_layer",
}
WITHOUT_EFFECT |= {"vision_feature_select_strategy"}
"""Keys read from every config: the place of its code, unused outputs, a cache, and vision."""


def test_what_a_model_looks_up_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every attribute of the config that is read while a model is built and run."""
    import torch

    for model_type in models.CONFIGS:
        keys_read: set[str] = set()
        original = PreTrainedConfig.__getattribute__

        def noting(
            self: Any, key: str, original: Any = original, keys_read: set[str] = keys_read
        ) -> Any:
            keys_read.add(key)
            return original(self, key)

        config = models.CONFIGS[model_type]()
        with monkeypatch.context() as patch:
            patch.setattr(PreTrainedConfig, "__getattribute__", noting)
            model = AutoModel.from_config(config)
            called = model.encoder if config.is_encoder_decoder else model
            called(input_ids=torch.tensor([[5, 6]]), attention_mask=torch.tensor([[1, 1]]))
        assert len(keys_read) > 10
        reads = reads_config_key(model_type)
        unread = {
            key
            for key in keys_read
            if not key.startswith("_") and not hasattr(dict, key) and not reads(key)
        }
        assert not unread - WITHOUT_EFFECT, model_type


def test_tokenizer_keys() -> None:
    read = "tokenizer_object gguf_file fast_tokenizer_files vocab merges post_processor"
    read += " added_tokens_decoder pad_token some_file"
    assert not [key for key in read.split() if not reads_tokenizer_key(key)]
    ignored = "boi_token lang return_tensors return_attention_mask mirror mask_token_sent author"
    assert not [key for key in ignored.split() if reads_tokenizer_key(key)]


def test_without_transformers_every_key_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference_keys, "_transformers", lambda: None)
    assert reads_config_key("bert")("tie_weights_")
    assert reads_tokenizer_key("author")


def test_unknown_architectures_read_every_key() -> None:
    assert reads_config_key("of_nobody")("tie_weights_")


def test_nothing_heavy_is_imported() -> None:
    code = """
from tf_exporter.model.reference.keys import reads_config_key
assert not reads_config_key('bert')('xla_device')
"""
    assert not modules_imported_by(code) & {"torch", "transformers", "tensorflow"}


def test_fields_are_those_of_the_installed_class() -> None:
    """A config with every field, saved and read again, has no unread key."""
    for model_type in models.CONFIGS:
        saved = AutoConfig.for_model(model_type).to_dict()
        reads = reads_config_key(model_type)
        assert [key for key in saved if not reads(key)] == []
