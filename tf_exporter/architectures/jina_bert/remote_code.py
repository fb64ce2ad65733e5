"""Translation of configs for Jina's code."""

from __future__ import annotations

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.remote_code import RemoteCode, Translation, classes, drop, fix

_CODE = RemoteCode(
    ("jinaai/jina-bert-implementation", "jinaai/jina-bert-v2-qk-post-norm"),
    classes("configuration_bert.JinaBertConfig", "modeling_bert.JinaBert"),
)


def _translate(file: ConfigFile) -> None:
    """Translates the config of Jina embeddings v2, `model_type` "bert"."""
    _CODE.check(file)
    fix(file, position_embedding_type="alibi")
    drop(file, "emb_pooler model_max_length")
    file.values["model_type"] = "jina_bert"


def _applies(file: ConfigFile) -> bool:
    return file.values.get("position_embedding_type") == "alibi" and "feed_forward_type" in file


JINA = Translation("bert", _applies, _translate)
