"""Reading config.json: each key is a field, has a fixed value, or is known not to matter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from types import MappingProxyType
from typing import Any, ClassVar

from typing_extensions import Self

from tf_exporter.architectures.activation_names import TRANSFORMERS_NAMES
from tf_exporter.errors import UnsupportedError
from tf_exporter.layers.rope import LAYER_TYPES
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.untyped import Json

FIXED: dict[str, tuple[Any, ...]] = {
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    "is_encoder_decoder": (False,),
    "add_cross_attention": (False,),
    "quantization_config": (None,),
    "per_layer_config": (None,),
}
"""Keys of any config that change the result, with their supported values.

transformers 5 no longer reads `position_embedding_type`. It computes another result than the one a
model with relative positions was trained for, without a word, so such a model is refused.
"""

_KINDS: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "str": (str,),
    "bool": (bool,),
}

MOST_LAYERS = 1000
WIDEST_HEAD = 2**16
WIDEST_KERNEL = 63
"""Upper bound of kernel sizes: each position of a kernel adds ops to every layer."""
_MOST = dict.fromkeys(("num_hidden_layers", "n_layers", "num_layers"), MOST_LAYERS)
"""Upper bounds by key, so that reading a config is cheap whatever its numbers are."""

IGNORED = frozenset(
    """
    _name_or_path name_or_path model_type architectures transformers_version torch_dtype dtype
    initializer_range gradient_checkpointing use_cache return_dict output_attentions output_past
    torchscript use_bfloat16 chunk_size_feed_forward tie_word_embeddings tie_encoder_decoder
    hidden_dropout_prob attention_probs_dropout_prob classifier_dropout classifier_dropout_prob
    dropout attention_dropout qa_dropout seq_classif_dropout pooler_fc_size
    pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head pooler_type
    directionality summary_type summary_use_proj summary_activation
    summary_last_dropout id2label label2id num_labels _num_labels problem_type finetuning_task
    task_specific_params tokenizer_class prefix bos_token_id eos_token_id sep_token_id pad_token_id
    decoder_start_token_id mask_token_id language attn_implementation _attn_implementation
    _attn_implementation_autoset sentence_transformers adapters custom_pipelines model_name
    max_length min_length do_sample early_stopping num_beams num_beam_groups diversity_penalty
    temperature top_k top_p typical_p repetition_penalty length_penalty no_repeat_ngram_size
    encoder_no_repeat_ngram_size bad_words_ids num_return_sequences output_scores
    return_dict_in_generate forced_bos_token_id forced_eos_token_id remove_invalid_values
    exponential_decay_length_penalty suppress_tokens begin_suppress_tokens tf_legacy_loss
    sinusoidal_pos_embds
    """.split()
)
"""Keys that do not change an embedding: training, heads, generation, bookkeeping."""


@dataclass(frozen=True)
class EncoderConfig:
    """The base class of encoder configs, which are read from config.json and checked.

    A field with a default is a key of config.json. The default is the one of transformers' config
    class. `read` computes the fields without defaults.
    """

    aliases: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Other names of keys, with their fields."""

    @classmethod
    def read(cls, file: ConfigFile) -> Self:
        """Reads the config of a model. `file` keeps all other reasons to refuse it until `finish`.

        Raises:
            UnsupportedError: a value has the wrong type.
        """
        config = cls(**read_fields(file, cls))
        config.check(file)
        return config

    def check(self, file: ConfigFile) -> None:
        """Refuses values that are not supported, or not together."""

    @property
    def vocab_size(self) -> int:
        """Number of rows of the word embeddings."""
        raise NotImplementedError

    @property
    def hidden_size(self) -> int:
        """Width of a token embedding."""
        raise NotImplementedError

    @property
    def type_vocab_size(self) -> int:
        """Number of segments; 0: none."""
        return 0

    @property
    def max_position_embeddings(self) -> int | None:
        """Number of positions, which sentence-transformers limits texts to; None: no limit."""
        return None

    @property
    def max_length(self) -> int | None:
        """The longest text in tokens; None: no limit."""
        return None

    @property
    def leaks_beyond(self) -> int | None:
        """The length in tokens from which padding on the left changes the reference's answers.

        None: it never does, or `Architecture.pads_leak` says that it always does.
        """
        return None

    @property
    def reach(self) -> int | None:
        """The distance, in tokens, within which every layer attends to a token; None: any."""
        return None

    @property
    def fails_beyond(self) -> bool:
        """Whether the reference fails for texts with more than `max_length` tokens."""
        return False

    def counts_padding(self, pad_id: int) -> bool:
        """Whether padding with this id on the left changes the positions of the tokens."""
        return False


def key_fields(kind: type[EncoderConfig]) -> list[Field[Any]]:
    """The fields that are keys of config.json: all fields with a default."""
    return [field for field in fields(kind) if field.default is not MISSING]


def read_fields(file: ConfigFile, kind: type[EncoderConfig]) -> dict[str, Any]:
    """The values of `key_fields`, read from keys of the same names or from aliases.

    A value out of range is refused. The default replaces it until `file.finish` raises the error.
    """
    return {field.name: _read_field(file, field, kind.aliases) for field in key_fields(kind)}


def _read_field(file: ConfigFile, field: Field[Any], aliases: Mapping[str, str]) -> Json:
    kinds = _KINDS[str(field.type)]
    value = field.default
    for key in (*(alias for alias, name in aliases.items() if name == field.name), field.name):
        with file.refusing():
            value = file.take(key, kinds, value)
            if key != field.name and key in file:
                file.require(field.name, (value,))
    least, most = field.metadata.get("least", 1), field.metadata.get("most", _MOST.get(field.name))
    if kinds != (int,) or (value >= least and (most is None or value <= most)):
        return value
    supported = f"a number of at least {least}" if value < least else f"a number of at most {most}"
    file.refuse(UnsupportedError(file.file, file.prefix + field.name, value, supported))
    return field.default


def check_heads(
    file: ConfigFile,
    hidden: int,
    heads: int,
    keys: tuple[str, str] = ("hidden_size", "num_attention_heads"),
) -> int:
    """The size of a head. Refuses a number of heads that does not divide the hidden size.

    `keys`: the keys of the hidden size and of the number of heads.
    """
    width_key, heads_key = keys
    if hidden % heads:
        supported = f"a divisor of the hidden size {hidden}"
        error = UnsupportedError(file.file, file.prefix + heads_key, heads, supported)
        file.refuse(error, width_key)
    elif hidden // heads > WIDEST_HEAD:
        supported = f"at most {WIDEST_HEAD * heads}, for {heads} heads"
        error = UnsupportedError(file.file, file.prefix + width_key, hidden, supported)
        file.refuse(error, heads_key)
    return min(hidden // heads, WIDEST_HEAD)


def check_activation(file: ConfigFile, key: str, name: str) -> None:
    """Refuses an activation function that is not supported."""
    check_name(file, key, name, TRANSFORMERS_NAMES)


def check_name(file: ConfigFile, key: str, name: str, supported: Iterable[str]) -> None:
    """Refuses a name that is not in `supported`."""
    if name not in supported:
        file.refuse(UnsupportedError(file.file, file.prefix + key, name, supported))


def read_key_value_heads(
    file: ConfigFile, heads: int, default: int | None, nullable: bool = True
) -> int:
    """The number of key and value heads; `heads` if it is null, or absent without a default.

    `nullable`: whether the reference accepts null.
    """
    kinds = (int, type(None)) if nullable else (int,)
    shared: int | None = file.take("num_key_value_heads", kinds, default)
    shared = heads if shared is None else shared
    if shared < 1 or heads % shared:
        error = UnsupportedError(
            file.file, "num_key_value_heads", shared, f"a divisor of the {heads} heads"
        )
        file.refuse(error, "num_attention_heads")
    return shared


def read_layer_types(
    file: ConfigFile, layers: int, slides: Callable[[int], bool]
) -> tuple[str, ...]:
    """The attention of each layer: from the key `layer_types`, or sliding where `slides(index)`."""
    listed: list[str] | None = file.take("layer_types", (list, type(None)))
    if listed is not None and (
        len(listed) != layers or any(name not in LAYER_TYPES for name in listed)
    ):
        file.refuse(
            file.unsupported("layer_types", f"{layers} values, each {' or '.join(LAYER_TYPES)}"),
            "num_hidden_layers",
        )
    elif listed is not None:
        return tuple(listed)
    return tuple(LAYER_TYPES[slides(index)] for index in range(layers))
