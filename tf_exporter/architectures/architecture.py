"""The record of an architecture: all that is known of it without its weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from tf_exporter.architectures.config import EncoderConfig
from tf_exporter.architectures.heads import CausalLMConfig, Classifier, HeadConfig, MaskedLM, NoHeadConfig
from tf_exporter.model.config_file import ConfigFile

Config = TypeVar("Config", bound=EncoderConfig)


@dataclass(frozen=True, kw_only=True)
class Architecture(Generic[Config]):
    """What one `model_type` is. The encoder's TensorFlow part is in `tf_exporter/encoders/`.

    A head that transformers has for it is a function of config.json and the encoder's config; None: there is no such head.
    """

    config: type[Config]
    prefix: str | tuple[str, ...]
    """What checkpoints with a head put before the names of the encoder's tensors."""
    unused: tuple[str, ...]
    """Patterns of names of tensors that make no embedding."""
    ignored: frozenset[str] = frozenset()
    """Keys of config.json that the reference reads and that do not change the result, besides those of all architectures."""
    collects_layers: bool = False
    """Whether the encoder gives what goes into each layer, for `output_hidden_states`."""
    pads_leak: bool = False
    """Whether, in the reference, a text's embedding depends on the padding."""
    verified: bool = True
    """Whether transformers has a class for it, so that a reference can be run."""
    classifier: Callable[[ConfigFile, Config], Classifier] | None = None
    masked_lm: Callable[[ConfigFile, Config], MaskedLM] | None = None
    causal_lm: Callable[[ConfigFile, Config], CausalLMConfig] | None = None

    def head(self, task: str) -> Callable[[ConfigFile, Config], HeadConfig] | None:
        """The reader of the head for a `transformer_task`."""
        readers: dict[str, Callable[[ConfigFile, Config], HeadConfig] | None] = {
            "feature-extraction": lambda file, config: NoHeadConfig(),
            "fill-mask": self.masked_lm,
            "sequence-classification": self.classifier,
            "text-generation": self.causal_lm,
        }
        return readers[task]
