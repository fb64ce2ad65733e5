"""The description of an architecture, without weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Generic, TypeVar

from tf_exporter.architectures.contract import Encoder
from tf_exporter.architectures.encoder_config import EncoderConfig
from tf_exporter.architectures.head_configs import (
    CausalLMConfig,
    Classifier,
    HeadConfig,
    MaskedLM,
    NoHeadConfig,
    TextFeaturesConfig,
)
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.remote_code import Translation
from tf_exporter.model.weights import Weights

Config = TypeVar("Config", bound=EncoderConfig)


@dataclass(frozen=True)
class Dropout:
    """The keys of config.json for the dropout rates of training."""

    hidden: str = "hidden_dropout_prob"
    attention: str = "attention_probs_dropout_prob"
    default: float = 0.1
    """The rate if config.json has none."""


@dataclass(frozen=True, kw_only=True)
class Architecture(Generic[Config]):
    """The config, the encoder and the heads of one `model_type`.

    The fields `classifier`, `masked_lm` and `causal_lm` read the config of a head from config.json
    and the encoder's config; None: transformers has no such head.
    """

    config: type[Config]
    encoder: str
    """The class of the encoder as "module:class". Only `build` imports it, with TensorFlow."""
    prefix: str | tuple[str, ...]
    """The prefix of the encoder's tensors in checkpoints with a head."""
    unused: tuple[str, ...]
    """Patterns for the names of tensors that embeddings do not need."""
    ignored: frozenset[str] = frozenset()
    """Keys of config.json that the reference reads but that do not change an embedding.

    `encoder_config.IGNORED` has the keys of all architectures.
    """
    pooler: str | None = None
    """The name of the pooler's layer; None: there is no pooler."""
    dropout: Dropout | None = None
    """Keys of the dropout rates; None: the encoder has none and is not exported for training."""
    pads_leak: bool = False
    """Whether a text's embedding depends on its padding in the reference."""
    remote_code: tuple[Translation, ...] = ()
    """Translations of configs for the model's own code into transformers' keys."""
    known_as: str | None = None
    """The `model_type` that transformers gets instead; None: the same one."""
    adapters: bool = True
    """Whether tensors in checkpoints have the names of transformers' modules, as adapters have."""
    verified: bool = True
    """Whether transformers has a class for it, so that conversions can be verified."""
    classifier: Callable[[ConfigFile, Config], Classifier] | None = None
    masked_lm: Callable[[ConfigFile, Config], MaskedLM] | None = None
    causal_lm: Callable[[ConfigFile, Config], CausalLMConfig] | None = None
    text_features: Callable[[ConfigFile, Config], TextFeaturesConfig] | None = None
    """Reads the config of `get_text_features`, which makes one embedding of a text.

    None: the encoder's outputs are token embeddings.
    """

    def build(self, config: Config, weights: Weights) -> Encoder:
        """Builds the encoder."""
        encoder: Callable[[Config, Weights], Encoder] = resolve_name(self.encoder)
        return encoder(config, weights)

    def head(self, task: str) -> Callable[[ConfigFile, Config], HeadConfig] | None:
        """The reader of the head for a `transformer_task`."""
        readers: dict[str, Callable[[ConfigFile, Config], HeadConfig] | None] = {
            "feature-extraction": self.text_features or (lambda file, config: NoHeadConfig()),
            "fill-mask": self.masked_lm,
            "sequence-classification": self.classifier,
            "text-generation": self.causal_lm,
        }
        return readers[task]
