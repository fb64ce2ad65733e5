"""Translations of configs for Alibaba's code, and for Snowflake's copy of it."""

from __future__ import annotations

from tf_exporter.errors import UnsupportedError
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.remote_code import (
    SIZES,
    RemoteCode,
    Translation,
    allow,
    classes,
    drop,
    fix,
    need,
    set_rotary,
)

_NEW = RemoteCode(
    ("Alibaba-NLP/new-impl",),
    classes("configuration.NewConfig", "modeling.New", "ForMultipleChoice"),
)
_SNOWFLAKE = RemoteCode(
    ("Snowflake/snowflake-arctic-embed-m-v2.0",),
    classes(
        "configuration_hf_alibaba_nlp_gte.GteConfig",
        "modeling_hf_alibaba_nlp_gte.Gte",
        "ForMultipleChoice",
    ),
)


def _new(file: ConfigFile) -> None:
    """Translates Alibaba's config, `model_type` "new"."""
    _NEW.check(file)
    _gte(file)


def _snowflake(file: ConfigFile) -> None:
    """Translates Snowflake's config, `model_type` "gte"."""
    _SNOWFLAKE.check(file)
    if "position_embedding_type" in file:
        _gte(file)


def _gte(file: ConfigFile) -> None:
    fix(file, position_embedding_type="rope")
    need(file, SIZES)
    allow(
        file,
        layer_norm_type="layer_norm",
        pack_qkv=True,
        logn_attention_scale=False,
        logn_attention_clip1=False,
        head_dim=None,
    )
    drop(file, "unpad_inputs use_memory_efficient_attention")
    file.values["model_type"] = "gte"
    factor = None
    if (scaling := file.take("rope_scaling", (dict, type(None)))) is not None:
        scaling_file = file.part("rope_scaling", scaling)
        scaling_file.require("type", ("ntk",))
        scaling_file.require("mixed_b", (None,))
        factor = float(scaling_file.take("factor", (int, float), required=True))
        scaling_file.finish()
        if not factor >= 1:
            raise UnsupportedError(
                file.file, "rope_scaling.factor", factor, "a number of at least 1"
            )
    file.values.pop("rope_scaling", None)
    set_rotary(file, "rope_theta", factor)


NEW = Translation("new", lambda file: True, _new)
SNOWFLAKE = Translation(
    "gte", lambda file: "auto_map" in file or "position_embedding_type" in file, _snowflake
)
