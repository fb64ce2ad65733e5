"""DeBERTa-v2 and v3 (P. He et al., 2020), as `transformers.models.deberta_v2` 5.24."""

from __future__ import annotations

from dataclasses import dataclass, field

from typing_extensions import Self

from tf_exporter.architectures.architecture import Architecture
from tf_exporter.architectures.bert.config import LayersConfig, bert_masked_lm
from tf_exporter.architectures.encoder_config import (
    WIDEST_KERNEL,
    check_activation,
    check_heads,
    read_fields,
)
from tf_exporter.architectures.head_configs import (
    ClassificationConfig,
    MaskedLMConfig,
    Norm,
    classifier,
    is_tied,
)
from tf_exporter.errors import UnsupportedError
from tf_exporter.model.config_file import ConfigFile

KINDS = ("c2p", "p2c")
"""Terms of the scores: query · distance to the key, and key · distance to the query."""
FARTHEST = 2**20
"""Upper bound of the distances in the table."""


@dataclass(frozen=True, kw_only=True)
class DisentangledConfig(LayersConfig):
    """The keys of DeBERTa and DeBERTa-v2, with the defaults of the first."""

    vocab_size: int = 50265
    layer_norm_eps: float = 1e-7
    max_position_embeddings: int = field(default=512, metadata={"most": FARTHEST})
    type_vocab_size: int = field(default=0, metadata={"least": 0})
    position_biased_input: bool = True
    relative_attention: bool = False
    max_relative_positions: int = field(default=-1, metadata={"least": -1, "most": FARTHEST})
    kinds: tuple[str, ...]
    """The extra terms of the scores, of "c2p" and "p2c"."""
    embedding_width: int
    """Width of the word embeddings."""

    @property
    def farthest(self) -> int:
        """The distance from which on all distances share a row."""
        return (
            self.max_relative_positions
            if self.max_relative_positions > 0
            else self.max_position_embeddings
        )

    @property
    def terms(self) -> int:
        """The number of extra terms that the scale of the scores allows for."""
        return len(self.kinds)

    @property
    def max_length(self) -> int | None:
        return self.max_position_embeddings if self.position_biased_input else None

    def counts_padding(self, pad_id: int) -> bool:
        return self.position_biased_input


@dataclass(frozen=True, kw_only=True)
class DebertaV2Config(DisentangledConfig):
    """`transformers.DebertaV2Config`: the keys that change a token embedding.

    Some of them are read by the model but are not fields of transformers' class.
    """

    vocab_size: int = 128100
    hidden_size: int = 1536
    num_hidden_layers: int = 24
    num_attention_heads: int = 24
    intermediate_size: int = 6144
    position_buckets: int = field(default=-1, metadata={"least": -1})
    share_att_key: bool = False
    conv_kernel_size: int = field(default=0, metadata={"least": 0, "most": WIDEST_KERNEL})
    conv_groups: int = 1
    conv_act: str = "tanh"
    norms_distances: bool
    """Whether the table of distances is normalized."""

    @classmethod
    def read(cls, file: ConfigFile) -> Self:
        keys = read_fields(file, cls)
        names = read_kinds(file)
        config = cls(
            **keys,
            kinds=tuple(kind for kind in KINDS if kind in names),
            norms_distances=_read_norm(file),
            embedding_width=read_embedding_width(file, keys["hidden_size"]),
        )
        config.check(file)
        return config

    def check(self, file: ConfigFile) -> None:
        size = check_heads(file, self.hidden_size, self.num_attention_heads)
        head_size = file.take("attention_head_size", int)
        if head_size is not None and head_size != size:
            error = UnsupportedError(
                file.file,
                "attention_head_size",
                head_size,
                f"{size}, the hidden size divided by the number of heads",
            )
            file.refuse(error, "hidden_size", "num_attention_heads")
        check_activation(file, "hidden_act", self.hidden_act)
        if (
            self.relative_attention
            and self.position_buckets > 0
            and not 1 <= self.position_buckets // 2 < self.farthest - 1
        ):
            supported = f"2 to {2 * self.farthest - 3}, for distances up to {self.farthest}"
            error = UnsupportedError(
                file.file, "position_buckets", self.position_buckets, supported
            )
            file.refuse(error, "max_relative_positions", "max_position_embeddings")
        if self.conv_kernel_size:
            self._check_convolution(file)

    def _check_convolution(self, file: ConfigFile) -> None:
        if self.conv_kernel_size % 2 == 0:
            supported = "an odd number, or 0 for none"
            file.refuse(
                UnsupportedError(file.file, "conv_kernel_size", self.conv_kernel_size, supported)
            )
        if self.hidden_size % self.conv_groups:
            supported = f"a divisor of the hidden size {self.hidden_size}"
            file.refuse(
                UnsupportedError(file.file, "conv_groups", self.conv_groups, supported),
                "hidden_size",
            )
        check_activation(file, "conv_act", self.conv_act)


def read_kinds(file: ConfigFile) -> list[str]:
    """Reads `pos_att_type`: a list, or a string with | as separator, whose parts may be empty."""
    value = file.take("pos_att_type", (str, list, type(None)))
    # In the reference, only a string may have capital letters.
    names = (
        [part.strip() for part in value.lower().split("|")]
        if isinstance(value, str)
        else value or []
    )
    if any(name not in (*KINDS, "") for name in names):
        file.refuse(file.unsupported("pos_att_type", KINDS))
    return names


def read_embedding_width(file: ConfigFile, hidden: int) -> int:
    """The width of the word embeddings: `embedding_size`, or else the hidden size."""
    width: int | None = file.take("embedding_size", int)
    return hidden if width is None else width


def _read_norm(file: ConfigFile) -> bool:
    """Whether the table of distances is normalized."""
    names = [part.strip() for part in file.take("norm_rel_ebd", str, "none").lower().split("|")]
    if any(name not in ("layer_norm", "none", "") for name in names):
        file.refuse(file.unsupported("norm_rel_ebd", ("layer_norm", "none")))
    return "layer_norm" in names


def deberta_v2_classifier(file: ConfigFile, config: DisentangledConfig) -> ClassificationConfig:
    """The config of the classification head."""
    # The pooler's size is a separate key, but only the hidden size works.
    file.require("pooler_hidden_size", (config.hidden_size,), "hidden_size")
    activation = file.take("pooler_hidden_act", str, "gelu")
    check_activation(file, "pooler_hidden_act", activation)
    return classifier("pooler.dense", activation, "classifier")(file, config)


def deberta_v2_masked_lm(file: ConfigFile, config: DisentangledConfig) -> MaskedLMConfig:
    """The config of the masked language model head."""
    if file.take("legacy", bool, True):
        return bert_masked_lm(file, config)
    if config.embedding_width != config.hidden_size:
        supported = f"{config.hidden_size}, the hidden size, where legacy is false"
        file.refuse(
            UnsupportedError(file.file, "embedding_size", config.embedding_width, supported),
            "hidden_size",
        )
    prefix = "lm_predictions.lm_head"
    return MaskedLMConfig(
        dense=f"{prefix}.dense",
        norm=Norm((f"{prefix}.LayerNorm",), config.layer_norm_eps),
        activation=config.hidden_act,
        decoder=None,
        bias=f"{prefix}.bias",
        tied=is_tied(file, True),
    )


UNUSED = (
    # Checkpoints have it even without position_biased_input.
    r"embeddings\.position_(ids|embeddings\.weight)",
    r"pooler\..*",
    r"(cls|lm_predictions|mask_predictions)\..*",
    r"classifier\..*",
    r"qa_outputs\..*",
)
IGNORED = frozenset(
    "legacy padding_idx pooler_dropout pooler_hidden_act pooler_hidden_size cls_dropout".split()
)
DEBERTA_V2 = Architecture(
    config=DebertaV2Config,
    encoder="tf_exporter.architectures.deberta_v2.encoder:DebertaV2",
    prefix="deberta",
    unused=UNUSED,
    ignored=IGNORED,
    classifier=deberta_v2_classifier,
    masked_lm=deberta_v2_masked_lm,
)
