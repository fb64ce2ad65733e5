"""Translation of configs for Jina's code."""

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

_CODE = RemoteCode(
    ("jinaai/xlm-roberta-flash-implementation",),
    (
        *classes(
            "configuration_xlm_roberta.XLMRobertaFlashConfig", "modeling_xlm_roberta.XLMRoberta"
        ),
        "modeling_lora.XLMRobertaLoRA",
    ),
)


def _translate(file: ConfigFile) -> None:
    """Translates Jina's config, `model_type` "xlm-roberta".

    Adapters are refused: to choose one, the model would need the task as another input.
    """
    if adapters := file.values.get("lora_adaptations"):
        raise UnsupportedError(
            file.file,
            "lora_adaptations",
            adapters,
            "no adapters, or a model with its adapter merged into the weights",
        )
    _CODE.check(file)
    fix(file, position_embedding_type="rotary")
    need(file, SIZES)
    allow(file, truncate_dim=None, pad_vocab_size_multiple=1, head_dim=None)
    for key in ("lora_adaptations", "task_instructions"):
        file.require(key, (None, [], {}))
    drop(
        file,
        "lora_adaptations task_instructions load_trained_adapters lora_alpha lora_rank "
        "lora_dropout_p lora_main_params_trainable use_flash_attn use_reentrant "
        "matryoshka_dimensions emb_pooler",
    )
    file.values["model_type"] = "jina_embeddings_v3"
    set_rotary(file, "rotary_emb_base", None)


JINA = Translation(
    "xlm-roberta", lambda file: file.values.get("position_embedding_type") == "rotary", _translate
)
