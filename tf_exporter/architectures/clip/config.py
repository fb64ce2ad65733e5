"""The text tower of CLIP (A. Radford et al., 2021), as `transformers.models.clip` 5.24.

`model_type` "clip" is the whole model, of which the projected embedding of a text is taken;
"clip_text_model" is the tower by itself, which gives token embeddings.
"""

from __future__ import annotations

from dataclasses import dataclass

from typing_extensions import Self

from tf_exporter.architectures.architecture import Architecture
from tf_exporter.architectures.bert.config import LayersConfig
from tf_exporter.architectures.encoder_config import FIXED, IGNORED, EncoderConfig, read_fields
from tf_exporter.architectures.head_configs import TextFeaturesConfig
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.reference.keys import reads_config_key

_OLD_END = 2
"""The `eos_token_id` of old configs. The reference then takes the highest id for the end."""
_OF_TEXTS = frozenset("initializer_factor projection_dim bos_token_id eos_token_id".split())
_OF_IMAGES = frozenset("vision_config vision_config_dict".split())


@dataclass(frozen=True, kw_only=True)
class ClipTextConfig(LayersConfig):
    """`transformers.CLIPTextConfig`: the keys that change a token embedding."""

    vocab_size: int = 49408
    hidden_size: int = 512
    intermediate_size: int = 2048
    num_attention_heads: int = 8
    max_position_embeddings: int = 77
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5


@dataclass(frozen=True, kw_only=True)
class ClipConfig(EncoderConfig):
    """`transformers.CLIPConfig`: the keys that change the embedding of a text."""

    projection_dim: int = 512
    text: ClipTextConfig
    end_id: int | None
    """The id of the token whose embedding is projected; None: the highest id of a text."""

    @property
    def vocab_size(self) -> int:
        return self.text.vocab_size

    @property
    def hidden_size(self) -> int:
        return self.text.hidden_size

    @property
    def max_length(self) -> int | None:
        # sentence-transformers does not look for the limit in `text_config`.
        return self.text.max_length

    @property
    def fails_beyond(self) -> bool:
        return True

    def counts_padding(self, pad_id: int) -> bool:
        return True

    @classmethod
    def read(cls, file: ConfigFile) -> Self:
        keys = read_fields(file, cls)
        # The reference collects no hidden states here.
        file.require("output_hidden_states", (False,))
        # A second object of old files replaces the first.
        names = ("text_config", "text_config_dict")
        values = {name: file.take(name, (dict, type(None))) for name in names}
        name = names[values[names[1]] is not None]
        part = file.part(name, values[name] or {})
        for key, allowed in FIXED.items():
            part.require(key, allowed)
        part.take("output_hidden_states", bool)
        text = ClipTextConfig.read(part)
        end: int = part.take("eos_token_id", int, 49407)
        with file.refusing():
            part.finish(IGNORED | _OF_TEXTS, reads_config_key("clip"))
        return cls(**keys, text=text, end_id=None if end == _OLD_END else end)


def clip_text_features(file: ConfigFile, config: ClipConfig) -> TextFeaturesConfig:
    """The config of `CLIPModel.get_text_features`."""
    return TextFeaturesConfig("text_projection", config.projection_dim, config.end_id)


CLIP = Architecture(
    config=ClipConfig,
    encoder="tf_exporter.architectures.clip.encoder:Clip",
    prefix="text_model",
    unused=(
        r"(vision_model|visual_projection)\..*",
        r"logit_scale",
        r"embeddings\.position_ids",
    ),
    ignored=_OF_IMAGES | {"initializer_factor", "logit_scale_init_value"},
    text_features=clip_text_features,
)
CLIP_TEXT = Architecture(
    config=ClipTextConfig,
    encoder="tf_exporter.architectures.clip.encoder:ClipText",
    prefix="text_model",
    unused=(r"text_projection\..*", r"embeddings\.position_ids"),
    ignored=_OF_TEXTS,
)
