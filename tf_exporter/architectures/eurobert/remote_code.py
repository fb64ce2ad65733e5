"""Translation of configs for the code of Jina embeddings v5 (M. K. Akram et al., 2026).

The encoder of the model nano is EuroBERT, and that of the model small is Qwen3.
"""

from __future__ import annotations

from tf_exporter.architectures.task_adapters import KEY, read_task_names
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.remote_code import RemoteCode, Translation, need

_NAME = "jina_embeddings_v5"
_CODE = RemoteCode(
    ("jinaai/jina-embeddings-v5-text-nano", "jinaai/jina-embeddings-v5-text-small"),
    (f"configuration_{_NAME}.JinaEmbeddingsV5Config", f"modeling_{_NAME}.JinaEmbeddingsV5Model"),
)
_SIZES = """
    vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads
    num_key_value_heads max_position_embeddings rms_norm_eps rope_theta
"""
_FIRST = "retrieval"
"""The task that the code needs, whose adapter it loads first."""


def _translate(file: ConfigFile) -> None:
    """Translates Jina's config, `model_type` "jina_embeddings_v5".

    Both sizes have the same names of classes. Only EuroBERT's config says that it is no decoder.
    """
    _CODE.check(file)
    file.require("architectures", (None, ["JinaEmbeddingsV5Model"]))
    file.require("is_decoder", (False,))
    need(file, _SIZES)
    tasks = read_task_names(file, "task_names")
    if _FIRST not in tasks:
        raise file.unsupported("task_names", f"names of tasks, one of them {_FIRST!r}")
    file.values.pop("task_names")
    file.values.pop("architectures", None)
    file.values["model_type"] = "eurobert" if file.values.get("is_decoder") is False else "qwen3"
    file.values[KEY] = {"tasks": tasks, "default": _FIRST}


JINA_V5 = Translation(_NAME, lambda file: True, _translate)
