"""Translation of configs for Jina's code."""

from __future__ import annotations

from tf_exporter.architectures.task_adapters import KEY, read_checkpoint_adapters
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
    """Translates Jina's config, `model_type` "xlm-roberta"."""
    _CODE.check(file)
    adapters = read_checkpoint_adapters(file)
    if adapters is None:
        file.require("task_instructions", (None, [], {}))
    fix(file, position_embedding_type="rotary")
    need(file, SIZES)
    allow(file, truncate_dim=None, pad_vocab_size_multiple=1, head_dim=None)
    drop(
        file,
        "lora_adaptations task_instructions load_trained_adapters lora_alpha lora_rank "
        "lora_dropout_p lora_main_params_trainable use_flash_attn use_reentrant "
        "matryoshka_dimensions emb_pooler",
    )
    file.values["model_type"] = "jina_embeddings_v3"
    set_rotary(file, "rotary_emb_base", None)
    if adapters is not None:
        file.values[KEY] = adapters


JINA = Translation(
    "xlm-roberta", lambda file: file.values.get("position_embedding_type") == "rotary", _translate
)
