"""Configs of heads, read from config.json, for the task classes of transformers 5.24."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tf_exporter.architectures.encoder_config import EncoderConfig
from tf_exporter.model.config_file import ConfigFile


@dataclass(frozen=True)
class NoHeadConfig:
    """No head: the last hidden state, unchanged."""


@dataclass(frozen=True)
class Norm:
    """A layer norm, with all names that checkpoints have for it."""

    names: tuple[str, ...]
    eps: float
    bias: bool = True


@dataclass(frozen=True)
class ClassificationConfig:
    """Pooling, a linear layer, and a linear layer for the labels."""

    labels: int
    dense: str | None
    """Name of the first layer; None: there is no such layer."""
    activation: str
    out: str
    """Name of the layer for the labels."""
    dense_bias: bool = True
    norm: Norm | None = None
    """The norm between the two layers."""
    pooling: str = "cls"
    """The first token ("cls"), the last place ("last"), the mean ("mean"), or the mean after the
    first layer ("late")."""


@dataclass(frozen=True)
class LastTokenConfig:
    """A linear layer for the labels, from the last token."""

    labels: int
    pad_id: int
    """The last token is the last one with another id."""


@dataclass(frozen=True)
class MaskedLMConfig:
    """A linear layer, a norm, and a product with the word embeddings or another matrix."""

    dense: str
    """Name of the layer."""
    norm: Norm
    activation: str
    decoder: str | None
    """Name of the last layer; None: its matrix is always the word embeddings."""
    bias: str | None
    """Name of the last bias where it may be separate from the last layer."""
    tied: bool
    """Whether the last matrix is the word embeddings if the checkpoint has no other."""
    dense_bias: bool = True
    decoder_bias: bool = True
    biases_may_lack: bool = False
    """Whether a checkpoint may lack all biases except the norm's."""
    rest: str | None = None
    """Name of a matrix for the hidden features that exceed the width of the word embeddings."""


@dataclass(frozen=True)
class VocabularyConfig:
    """A product with a matrix for the vocabulary."""

    tied: bool
    """Whether the matrix is the word embeddings if the checkpoint has no other."""
    bias: bool


@dataclass(frozen=True)
class CausalLMConfig:
    """A product with a matrix for the vocabulary, for the last token alone."""

    tied: bool
    """As in `VocabularyConfig`."""
    softcap: float | None = None
    """Bound of the logits, which are softcap · tanh(logit / softcap); None: no bound."""


@dataclass(frozen=True)
class TextFeaturesConfig:
    """A product of the embedding of a text's end, without bias."""

    projection: str
    """Name of the layer."""
    width: int
    end_id: int | None
    """The id of the token at the end of a text; None: the highest id of a text."""


Classifier = ClassificationConfig | LastTokenConfig
MaskedLM = MaskedLMConfig | VocabularyConfig
HeadConfig = NoHeadConfig | TextFeaturesConfig | Classifier | MaskedLM | CausalLMConfig


def label_count(file: ConfigFile) -> int:
    """The number of labels, as in `PretrainedConfig`: from id2label, else num_labels, else 2."""
    id2label, number = (
        file.take("id2label", (dict, type(None))),
        file.take("num_labels", (int, type(None))),
    )
    if id2label is not None:
        return len(id2label)
    return 2 if number is None else number


def is_tied(file: ConfigFile, default: bool) -> bool:
    """Whether the config ties the matrix for the vocabulary to the word embeddings."""
    tied: bool = file.take("tie_word_embeddings", bool, default)
    return tied


def classifier(
    dense: str | None, activation: str, out: str
) -> Callable[[ConfigFile, EncoderConfig], ClassificationConfig]:
    """The reader of a classifier for the first token, with two layers and an activation between."""
    return lambda file, config: ClassificationConfig(label_count(file), dense, activation, out)


def last_token(
    default_pad_id: int | None,
) -> Callable[[ConfigFile, EncoderConfig], LastTokenConfig]:
    """The reader of a classifier for the last token, as `GenericForSequenceClassification`.

    `default_pad_id`: the `pad_token_id` if the config has none.
    """

    def read(file: ConfigFile, config: EncoderConfig) -> LastTokenConfig:
        pad_id: int | None = file.take("pad_token_id", (int, type(None)), default_pad_id)
        if pad_id is None:
            # Without it, the reference supports only batches of one pair.
            file.refuse(
                file.unsupported(
                    "pad_token_id", "the id of a padding token, to find the last token of a text"
                )
            )
        return LastTokenConfig(label_count(file), pad_id or 0)

    return read


def causal_lm(file: ConfigFile, config: EncoderConfig) -> CausalLMConfig:
    """The config of the causal language model head, which is not tied by default."""
    return CausalLMConfig(is_tied(file, False))
