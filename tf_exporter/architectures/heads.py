"""What heads are built from, and how it is read from config.json: as the classes for each task in transformers 5.23."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tf_exporter.architectures.config import EncoderConfig
from tf_exporter.model.config_file import ConfigFile


@dataclass(frozen=True)
class NoHeadConfig:
    """The encoder's tokens as they are."""


@dataclass(frozen=True)
class Norm:
    """A layer norm, by the names that checkpoints may have for it."""

    names: tuple[str, ...]
    eps: float
    bias: bool = True


@dataclass(frozen=True)
class ClassificationConfig:
    """A layer over what is pooled, and one for the labels."""

    labels: int
    dense: str | None
    """Name of the first layer; None: there is none."""
    activation: str
    out: str
    """Name of the layer for the labels."""
    dense_bias: bool = True
    norm: Norm | None = None
    """Between the two layers."""
    pooling: str = "cls"
    """The first token ("cls"), the mean of all, or the mean of what the first layer made of each ("late")."""


@dataclass(frozen=True)
class LastTokenConfig:
    """A layer for the labels over the last token."""

    labels: int
    pad_id: int
    """The last token is the last one that has another id."""


@dataclass(frozen=True)
class MaskedLMConfig:
    """A layer, a norm, and a product with the word embeddings or a matrix of its own."""

    dense: str
    """Name of the layer."""
    norm: Norm
    activation: str
    decoder: str | None
    """Name of the last layer; None: it is the word embeddings whatever the checkpoint has."""
    bias: str | None
    """Name of the last bias, where it may stand by itself."""
    tied: bool
    """Whether the decoder is the word embeddings where the checkpoint has no other."""
    dense_bias: bool = True
    decoder_bias: bool = True
    biases_may_lack: bool = False
    """Whether a checkpoint may have no bias at all but that of the norm."""
    rest: str | None = None
    """Name of a matrix for the features that word embeddings do not have."""


@dataclass(frozen=True)
class VocabularyConfig:
    """A product with a matrix for the vocabulary."""

    tied: bool
    """Whether the matrix is the word embeddings where the checkpoint has no other."""
    bias: bool


@dataclass(frozen=True)
class CausalLMConfig:
    """A product with a matrix for the vocabulary, of the last token alone."""

    tied: bool
    """As in `VocabularyConfig`."""
    softcap: float | None = None
    """What logits stay below."""


Classifier = ClassificationConfig | LastTokenConfig
MaskedLM = MaskedLMConfig | VocabularyConfig
HeadConfig = NoHeadConfig | Classifier | MaskedLM | CausalLMConfig


def label_count(file: ConfigFile) -> int:
    """As `transformers.PretrainedConfig`: the labels there are names for, else their number, else two."""
    id2label, number = file.take("id2label", (dict, type(None))), file.take("num_labels", (int, type(None)))
    if id2label is not None:
        return len(id2label)
    return 2 if number is None else number


def is_tied(file: ConfigFile, default: bool) -> bool:
    """Whether the config ties the matrix for the vocabulary to the word embeddings."""
    tied: bool = file.take("tie_word_embeddings", bool, default)
    return tied


def classifier(dense: str | None, activation: str, out: str) -> Callable[[ConfigFile, EncoderConfig], ClassificationConfig]:
    """The reader of a classifier of the first token: names of its layers, and the activation between them."""
    return lambda file, config: ClassificationConfig(label_count(file), dense, activation, out)


def last_token(default_pad_id: int | None) -> Callable[[ConfigFile, EncoderConfig], LastTokenConfig]:
    """The reader of a classifier of the last token, as `GenericForSequenceClassification`.

    `default_pad_id`: where the config has no `pad_token_id`.
    """

    def read(file: ConfigFile, config: EncoderConfig) -> LastTokenConfig:
        pad_id: int | None = file.take("pad_token_id", (int, type(None)), default_pad_id)
        if pad_id is None:
            # The reference then takes no more than one pair at a time.
            file.refuse(file.unsupported("pad_token_id", "the id of a token: what is last is told by it"))
        return LastTokenConfig(label_count(file), pad_id or 0)

    return read


def causal_lm(file: ConfigFile, config: EncoderConfig) -> CausalLMConfig:
    """The matrix for the vocabulary, tied only where the config says so."""
    return CausalLMConfig(is_tied(file, False))
