"""Configs that were written for code on the Hub, put into the terms of transformers' own class that computes the same, if any.

The code itself is never run. transformers would ask for it, or silently take a class's defaults in place of keys it does not
know; it only ever sees the translated config (`native_view`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tf_exporter.errors import InputError, UnsupportedError
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.source import ModelSource
from tf_exporter.views import view

_SIZES = """
    vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size hidden_act layer_norm_eps type_vocab_size
    max_position_embeddings
"""
_HEADS = ("ForMaskedLM", "ForPreTraining", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")


@dataclass(frozen=True)
class _Code:
    """Code on the Hub, by the names that `auto_map` knows it by."""

    repositories: tuple[str, ...]
    classes: tuple[str, ...]

    def check(self, file: ConfigFile) -> None:
        """Removes `auto_map`; refuses one that names any other code. Models saved with a copy of the code name no repository."""
        named = file.values.pop("auto_map", None)
        if named is None:
            return
        values = list(named.values()) if isinstance(named, dict) else [named]
        known = {*self.classes, *(f"{repository}--{name}" for repository in self.repositories for name in self.classes)}
        if any(not isinstance(value, str) or value not in known for value in values):
            raise UnsupportedError(
                file.file, "auto_map", named, f"the code of {' or '.join(self.repositories)}, which is not run"
            )


def _classes(configuration: str, modeling: str, *heads: str) -> tuple[str, ...]:
    return (configuration, f"{modeling}Model", *(f"{modeling}{head}" for head in (*_HEADS, *heads)))


_NOMIC = _Code(
    ("nomic-ai/nomic-bert-2048",),
    _classes("configuration_hf_nomic_bert.NomicBertConfig", "modeling_hf_nomic_bert.NomicBert", "ForMultipleChoice"),
)
_NEW = _Code(("Alibaba-NLP/new-impl",), _classes("configuration.NewConfig", "modeling.New", "ForMultipleChoice"))
_SNOWFLAKE = _Code(
    ("Snowflake/snowflake-arctic-embed-m-v2.0",),
    _classes("configuration_hf_alibaba_nlp_gte.GteConfig", "modeling_hf_alibaba_nlp_gte.Gte", "ForMultipleChoice"),
)
_JINA_V3 = _Code(
    ("jinaai/xlm-roberta-flash-implementation",),
    (
        *_classes("configuration_xlm_roberta.XLMRobertaFlashConfig", "modeling_xlm_roberta.XLMRoberta"),
        "modeling_lora.XLMRobertaLoRA",
    ),
)
_JINA_BERT = _Code(
    ("jinaai/jina-bert-implementation", "jinaai/jina-bert-v2-qk-post-norm"),
    _classes("configuration_bert.JinaBertConfig", "modeling_bert.JinaBert"),
)
JINA_BERT = "jina_bert"
"""A name of our own for what calls itself "bert"."""


def translated(file: ConfigFile) -> ConfigFile | None:
    """The config in the terms of the encoder that its `model_type` then names; None where it is so already.

    Keys that are no part of the published layout are left for the encoder to read or refuse.

    Raises:
        UnsupportedError: the config names other code, or what it describes is more than that encoder computes.
    """
    layout = LAYOUTS.get(str(file.values.get("model_type")))
    if layout is None or not layout.applies(file):
        return None
    copy = file.replaced(dict(file.values))
    layout.translate(copy)
    copy.check()
    return file.replaced(copy.values)


def native(config: ConfigFile | None) -> dict[str, Any] | None:
    """What transformers gets to see of a translated config; where it has no class for the model, enough for its tokenizer."""
    if config is None or config.values["model_type"] != JINA_BERT:
        return config.values if config else None
    return {**config.values, "model_type": "bert"}


def note(model_type: str) -> str:
    """What the reference of such a model is, in plain words."""
    return (
        f"config.json names code of its own, which is never run; the reference was transformers' own `{model_type}` on the same "
        "weights, with the same config in its terms"
    )


def _nomic_bert(file: ConfigFile) -> None:
    """Nomic's layout, from GPT-2's; newer files have both this and transformers' own keys."""
    _NOMIC.check(file)
    if "n_embd" not in file:
        return
    _fix(
        file,
        activation_function="swiglu",
        qkv_proj_bias=False,
        mlp_fc1_bias=False,
        mlp_fc2_bias=False,
        rotary_emb_fraction=1.0,
    )
    _allow(
        file,
        prenorm=False,
        parallel_block=False,
        causal=False,
        use_rms_norm=False,
        rotary_emb_interleaved=False,
        rotary_emb_scale_base=None,
        rotary_scaling_factor=None,
        rotary_head_dim=False,
        num_heads_kv=None,
        moe_every_n_layers=0,
        num_experts=0,
    )
    _drop(
        file,
        "attn_pdrop embd_pdrop resid_pdrop dense_seq_output fused_bias_fc fused_dropout_add_ln use_flash_attn use_xentropy "
        "reorder_and_upcast_attn scale_attn_by_inverse_layer_idx scale_attn_weights summary_first_dropout "
        "summary_proj_to_labels max_trained_positions parallel_block_tied_norm add_pooling_layer",
    )
    _need(file, "n_layer n_head n_inner layer_norm_epsilon")
    file.require("hidden_act", ("silu",))
    if "max_position_embeddings" in file:
        # For transformers, and so for the longest text, this one counts.
        file.values.pop("n_positions", None)
    _rename(file, "n_embd", "hidden_size")
    _rename(file, "n_layer", "num_hidden_layers")
    _rename(file, "n_head", "num_attention_heads")
    _rename(file, "n_inner", "intermediate_size")
    _rename(file, "n_positions", "max_position_embeddings")
    _rename(file, "layer_norm_epsilon", "layer_norm_eps")
    multiple: int = file.take("pad_vocab_size_multiple", int, 1)
    rows: int = file.take("vocab_size", int, required=True)
    if multiple < 1:
        raise file.unsupported("pad_vocab_size_multiple", "a number of at least 1")
    file.values["vocab_size"] = -(-rows // multiple) * multiple
    file.values.pop("pad_vocab_size_multiple", None)
    _set_rotary(file, "rotary_emb_base", None)


def _new(file: ConfigFile) -> None:
    """GTE's layout, of model type "new"."""
    _NEW.check(file)
    _gte(file)


def _snowflake(file: ConfigFile) -> None:
    """The same, of model type "gte", as Snowflake publishes it."""
    _SNOWFLAKE.check(file)
    if "position_embedding_type" in file:
        _gte(file)


def _gte(file: ConfigFile) -> None:
    _fix(file, position_embedding_type="rope")
    _need(file, _SIZES)
    _allow(
        file, layer_norm_type="layer_norm", pack_qkv=True, logn_attention_scale=False, logn_attention_clip1=False, head_dim=None
    )
    _drop(file, "unpad_inputs use_memory_efficient_attention")
    file.values["model_type"] = "gte"
    factor = None
    if (scaling := file.take("rope_scaling", (dict, type(None)))) is not None:
        scaling_file = file.part("rope_scaling", scaling)
        scaling_file.require("type", ("ntk",))
        scaling_file.require("mixed_b", (None,))
        factor = float(scaling_file.take("factor", (int, float), required=True))
        scaling_file.finish()
        if not factor >= 1:
            raise UnsupportedError(file.file, "rope_scaling.factor", factor, "a number of at least 1")
    file.values.pop("rope_scaling", None)
    _set_rotary(file, "rope_theta", factor)


def _jina_embeddings_v3(file: ConfigFile) -> None:
    """Jina's layout, of model type "xlm-roberta"; its adapters are refused, as a text would need the task's name."""
    if adapters := file.values.get("lora_adaptations"):
        raise UnsupportedError(file.file, "lora_adaptations", adapters, "none: a model whose adapter is merged into its weights")
    _JINA_V3.check(file)
    _fix(file, position_embedding_type="rotary")
    _need(file, _SIZES)
    _allow(file, truncate_dim=None, pad_vocab_size_multiple=1, head_dim=None)
    for key in ("lora_adaptations", "task_instructions"):
        file.require(key, (None, [], {}))
    _drop(
        file,
        "lora_adaptations task_instructions load_trained_adapters lora_alpha lora_rank lora_dropout_p "
        "lora_main_params_trainable use_flash_attn use_reentrant matryoshka_dimensions emb_pooler",
    )
    file.values["model_type"] = "jina_embeddings_v3"
    _set_rotary(file, "rotary_emb_base", None)


def _jina_bert(file: ConfigFile) -> None:
    """Jina's second embeddings, of model type "bert"."""
    _JINA_BERT.check(file)
    _fix(file, position_embedding_type="alibi")
    _drop(file, "emb_pooler model_max_length")
    file.values["model_type"] = JINA_BERT


def _fix(file: ConfigFile, **values: Any) -> None:
    """Removes keys that have to have these values, as the published code has others by default."""
    for key in values:
        file.take(key, type(values[key]) if not isinstance(values[key], float) else (int, float), required=True)
    _allow(file, **values)


def _need(file: ConfigFile, keys: str) -> None:
    """Refuses a config without these keys, whose defaults are others in transformers' own class."""
    for key in keys.split():
        if key not in file:
            raise InputError(f"{file.file}: key {key!r} is missing")


def _allow(file: ConfigFile, **values: Any) -> None:
    """Removes keys that may only have these values."""
    for key, value in values.items():
        file.require(key, (value, int(value)) if isinstance(value, float) else (value,))
        file.values.pop(key, None)


def _drop(file: ConfigFile, keys: str) -> None:
    """Removes keys that do not matter."""
    for key in keys.split():
        file.values.pop(key, None)


def _rename(file: ConfigFile, published: str, native: str) -> None:
    """Moves a value; where there are both keys, their values have to be the same."""
    if published in file:
        value = file.values.pop(published)
        if file.values.setdefault(native, value) != value:
            raise UnsupportedError(file.file, published, value, f"the value of {native}")


def _set_rotary(file: ConfigFile, key: str, factor: float | None) -> None:
    """The base of the rotary positions, from `key`, and the published code's scaling "ntk" by a factor.

    That one has frequencies of (theta · factor)^(−2i/size) / factor^(2/size): transformers' linear scaling, of another base.
    """
    theta = float(file.take(key, (int, float), required=True))
    file.values.pop(key)
    if factor is None:
        native: dict[str, Any] = {"rope_type": "default", "rope_theta": theta}
    else:
        hidden, heads = (file.take(name, int, required=True) for name in ("hidden_size", "num_attention_heads"))
        if hidden < 1 or heads < 1:
            raise UnsupportedError(file.file, "num_attention_heads", heads, "a positive number")
        native = {"rope_type": "linear", "factor": factor ** (2 * heads / hidden), "rope_theta": theta * factor}
    if file.values.setdefault("rope_parameters", native) != native:
        raise UnsupportedError(file.file, "rope_parameters", file.values["rope_parameters"], f"{native}, as {key} says")


@dataclass(frozen=True)
class _Layout:
    applies: Callable[[ConfigFile], bool]
    translate: Callable[[ConfigFile], None]


LAYOUTS = {
    "bert": _Layout(
        lambda file: file.values.get("position_embedding_type") == "alibi" and "feed_forward_type" in file, _jina_bert
    ),
    "gte": _Layout(lambda file: "auto_map" in file or "position_embedding_type" in file, _snowflake),
    "new": _Layout(lambda file: True, _new),
    "nomic_bert": _Layout(lambda file: "auto_map" in file or "n_embd" in file, _nomic_bert),
    "xlm-roberta": _Layout(lambda file: file.values.get("position_embedding_type") == "rotary", _jina_embeddings_v3),
}
"""By the `model_type` they have."""


@contextmanager
def native_view(source: ModelSource, part: str, config: dict[str, Any] | None) -> Iterator[Path]:
    """A model's folder as transformers may open it: with `config` as the config.json in `part`, without the published code.

    The rest is links. Where `config` is None, the folder itself.
    """
    if config is None:
        yield source.folder
        return
    with view(source, {part: config}) as place:
        yield place
