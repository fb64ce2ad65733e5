"""Reading an encoder's config.json: every key is a field, has one allowed value, or is known not to matter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any, TypeVar

from tf_exporter.activations import TRANSFORMERS_ACTIVATIONS, Activation
from tf_exporter.errors import UnsupportedError
from tf_exporter.model.config_file import ConfigFile

Config = TypeVar("Config")

FIXED: dict[str, tuple[Any, ...]] = {
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    "is_encoder_decoder": (False,),
    "add_cross_attention": (False,),
    "cross_attention_hidden_size": (None,),
    "pruned_heads": ({},),
    "output_hidden_states": (False,),
    "quantization_config": (None,),
    "auto_map": (None,),
    "per_layer_config": (None,),
    "tie_last_hidden_states": (None,),
}
"""Keys of any config that change the result, with the values that are reproduced."""

_KINDS: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,)}

IGNORED = frozenset(
    """
    _name_or_path name_or_path model_type architectures transformers_version torch_dtype dtype
    initializer_range gradient_checkpointing use_cache return_dict output_attentions output_past
    torchscript use_bfloat16 chunk_size_feed_forward tie_word_embeddings tie_encoder_decoder
    hidden_dropout_prob attention_probs_dropout_prob classifier_dropout classifier_dropout_prob dropout attention_dropout
    qa_dropout seq_classif_dropout pooler_fc_size pooler_num_attention_heads pooler_num_fc_layers
    pooler_size_per_head pooler_type directionality summary_type summary_use_proj summary_activation
    summary_last_dropout id2label label2id num_labels _num_labels problem_type finetuning_task
    task_specific_params tokenizer_class prefix bos_token_id eos_token_id sep_token_id pad_token_id
    decoder_start_token_id mask_token_id language attn_implementation _attn_implementation
    _attn_implementation_autoset sentence_transformers adapters custom_pipelines model_name
    max_length min_length do_sample early_stopping num_beams num_beam_groups diversity_penalty
    temperature top_k top_p typical_p repetition_penalty length_penalty no_repeat_ngram_size
    encoder_no_repeat_ngram_size bad_words_ids num_return_sequences output_scores
    return_dict_in_generate forced_bos_token_id forced_eos_token_id remove_invalid_values
    exponential_decay_length_penalty suppress_tokens begin_suppress_tokens tf_legacy_loss
    sinusoidal_pos_embds
    """.split()
)
"""Keys that do not change an embedding: training, heads, generation, bookkeeping."""


def read_config(
    file: ConfigFile, kind: type[Config], aliases: dict[str, str] | None = None, ignored: frozenset[str] = frozenset()
) -> Config:
    """The fields of the frozen dataclass `kind`, from the keys of the same names or their `aliases`.

    `ignored`: keys that do not matter to this architecture.

    Raises:
        UnsupportedError: a key that is neither a field nor known not to matter, or a value that is not reproduced.
    """
    values: dict[str, Any] = {}
    for key, allowed in FIXED.items():
        if key not in ignored:
            file.require(key, allowed)
    for field in fields(kind):  # type: ignore[arg-type]  # a dataclass type; TypeVar cannot say so
        kinds = _KINDS[str(field.type)]
        for key in (alias for alias, name in (aliases or {}).items() if name == field.name):
            if key in file:
                values[field.name] = file.take(key, kinds)
                file.require(field.name, (values[field.name],))
        if field.name in file or field.default is MISSING:
            values[field.name] = file.take(field.name, kinds, required=True)
        value = values.get(field.name, field.default)
        least = field.metadata.get("least", 1)
        if kinds == (int,) and value < least:
            raise UnsupportedError(file.file, field.name, value, f"a number of at least {least}")
        if value > (most := field.metadata.get("most", value)):
            raise UnsupportedError(file.file, field.name, value, f"a number of at most {most}")
    file.finish(IGNORED | ignored)
    return kind(**values)


def check_heads(file: ConfigFile, key: str, hidden_size: int, heads: int) -> None:
    """Refuses a width that the heads do not divide."""
    if hidden_size % heads:
        raise UnsupportedError(file.file, key, heads, f"a divisor of the hidden size {hidden_size}")


def activation(file: ConfigFile, key: str, name: str) -> Activation:
    """The function a config names."""
    if name not in TRANSFORMERS_ACTIVATIONS:
        raise UnsupportedError(file.file, key, name, TRANSFORMERS_ACTIVATIONS)
    return TRANSFORMERS_ACTIVATIONS[name]


LAYER_TYPES = ("full_attention", "sliding_attention")


def read_layer_types(file: ConfigFile, slides: Callable[[int], bool]) -> Callable[[int], list[str]]:
    """From the number of layers to which attention each has: as `layer_types` lists them, or sliding where `slides(index)`."""
    listed: list[str] | None = file.take("layer_types", (list, type(None)))

    def types(layers: int) -> list[str]:
        if listed is None:
            return [LAYER_TYPES[slides(index)] for index in range(layers)]
        if len(listed) != layers or any(name not in LAYER_TYPES for name in listed):
            raise file.unsupported("layer_types", f"{layers} of {', '.join(LAYER_TYPES)}")
        return listed

    return types
