"""Translation of configs for NVIDIA's code, which makes Llama bidirectional."""

from __future__ import annotations

from tf_exporter.errors import UnsupportedError
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.remote_code import RemoteCode, Translation, drop

_FILE = "llama_bidirectional_model"
_CODE = RemoteCode(
    (
        "nvidia/llama-embed-nemotron-8b",
        "nvidia/llama-nemotron-embed-1b-v2",
        "nvidia/llama-3.2-nv-embedqa-1b-v2",
    ),
    (f"{_FILE}.LlamaBidirectionalConfig", f"{_FILE}.LlamaBidirectionalModel"),
)


def _translate(file: ConfigFile) -> None:
    """Translates NVIDIA's config, `model_type` "llama_bidirec".

    Its `pooling` and `temperature` are for its own classifier, or are left to its users:
    sentence-transformers pools by its own modules.
    """
    _CODE.check(file)
    if file.values.get("is_causal", False) is not False:
        raise UnsupportedError(file.file, "is_causal", file.values["is_causal"], "false")
    drop(file, "pooling temperature")
    file.values.update(model_type="llama", is_causal=False)


LLAMA_BIDIREC = Translation("llama_bidirec", lambda file: True, _translate)
