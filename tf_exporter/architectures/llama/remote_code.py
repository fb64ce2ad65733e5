"""Translation of configs for NVIDIA's code, which makes Llama bidirectional."""

from __future__ import annotations

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.remote_code import RemoteCode, Translation, drop

_FILE = "llama_bidirectional_model"
_NAME = "LlamaBidirectional"
_CODE = RemoteCode(
    ("nvidia/llama-embed-nemotron-8b", "nvidia/llama-nemotron-embed-1b-v2"),
    (f"{_FILE}.{_NAME}Config", f"{_FILE}.{_NAME}Model"),
)


def _translate(file: ConfigFile) -> None:
    """Translates NVIDIA's config, `model_type` "llama_bidirec".

    `pooling` and `temperature` have no effect on token embeddings: only NVIDIA's own classifier
    reads them, which transformers has no class for, and its users.
    """
    _CODE.check(file)
    file.require("architectures", (None, [f"{_NAME}Model"]))
    file.require("is_causal", (False,))
    # A note for another engine, which agrees with the code.
    file.require("use_bidirectional_attention", (True,))
    drop(file, "pooling temperature use_bidirectional_attention")
    file.values.update(model_type="llama", is_causal=False)


LLAMA_BIDIREC = Translation("llama_bidirec", lambda file: True, _translate)
