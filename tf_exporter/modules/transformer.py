"""Transformer: the tokenizer and the encoder, the first module of every model."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from tf_exporter.encoders import ENCODERS, UNVERIFIED
from tf_exporter.errors import InputError, UnsupportedError, one_line
from tf_exporter.modules.features import Dimensions, Features
from tf_exporter.progress import progress
from tf_exporter.published import native_view
from tf_exporter.source import TOKENIZER_LIMIT, ConfigFile, ModelSource
from tf_exporter.spec import TransformerSpec
from tf_exporter.tokenizers.pipeline import TokenizerGraph
from tf_exporter.tokenizers.spec import TokenizerSpec, read_tokenizer
from tf_exporter.weights import open_weights

_TOKENIZER_FILES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "spiece.model",
    "sentencepiece.bpe.model",
    "spm.model",
    "tokenizer.model",
    "sentencepiece.model",
)
"""Any one of these is enough; what a SentencePiece file holds is read by the sentencepiece library."""
_TOKENIZER_CONFIGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
_TOKENIZER_EXTRAS = ("chat_template.jinja", "additional_chat_templates", "tekken.json")
"""Other files that transformers opens where it finds them; they must not be links out of the model."""
_TOKENIZER_KEYS = frozenset(
    """
    _commit_hash add_bos_token add_eos_token add_prefix_space added_tokens_decoder additional_special_tokens backend bos_token
    bos_token_id chat_control_tokens chat_template clean_up_tokenization_spaces cls_token cls_token_id do_basic_tokenize
    do_lower_case eos_token eos_token_id errors extra_ids extra_special_tokens from_slow full_tokenizer_file is_local
    keep_accents legacy local_files_only mask_token mask_token_id max_len max_length merges_file model_input_names
    model_max_length name_or_path never_split pad_to_multiple_of pad_token pad_token_id pad_token_type_id padding_side
    processor_class remove_space response_template return_token_type_ids sep_token sep_token_id sp_model_kwargs
    spaces_between_special_tokens special_tokens_map_file split_by_punct split_special_tokens stride strip_accents
    tokenize_chinese_chars tokenizer_class tokenizer_file trim_offsets truncation truncation_side truncation_strategy unk_token
    unk_token_id use_default_system_prompt use_fast verbose vocab_file vocab_type word_delimiter_token
    """.split()
)
"""Keys of tokenizer_config.json that `AutoTokenizer` reads, so that what they do is in its backend, or that do nothing. Others
could make it open files of other names."""
_UNLIMITED = 10**20
"""transformers' tokenizers have a `model_max_length` above this where none is known."""


def load_tokenizer(source: ModelSource, spec: TransformerSpec) -> Any:
    """The transformers tokenizer as sentence-transformers sets it up: lower-cased where the module says so.

    Raises:
        InputError: its files are missing or cannot be loaded.
        UnsupportedError: it comes with code of its own.
    """
    at = f"{spec.folder}/" if spec.folder else ""
    if not any(source.exists(at + name) for name in _TOKENIZER_FILES):
        raise InputError(f"{at or './'}: no tokenizer; one of {', '.join(_TOKENIZER_FILES)} is needed")
    for name in (*_TOKENIZER_FILES, "merges.txt"):
        if source.exists(at + name):
            source.read_bytes(at + name, TOKENIZER_LIMIT)
    stored = source.read_object(at + "tokenizer.json", TOKENIZER_LIMIT) if source.exists(at + "tokenizer.json") else {}
    for name in _TOKENIZER_CONFIGS:
        if source.exists(at + name):
            _check_tokenizer_config(source, at, ConfigFile(at + name, source.read_object(at + name)), name)
    for name in _TOKENIZER_EXTRAS:
        source.path(at + name)
    from tokenizers import normalizers
    from transformers import AutoTokenizer

    try:
        with native_view(source.folder, spec.folder, spec.native_config) as folder:
            tokenizer = AutoTokenizer.from_pretrained(folder / spec.folder, local_files_only=True)
        backend = tokenizer.backend_tokenizer
    except Exception as error:  # transformers and tokenizers raise whatever the files made them trip over
        raise InputError(f"{at or './'}: the tokenizer cannot be loaded ({one_line(error)})") from error
    _check_model(source, at, stored, backend)
    if spec.do_lower_case:
        steps = _normalizers(backend.normalizer)
        if not any(isinstance(step, normalizers.Lowercase) for step in steps):
            backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *steps])
    return tokenizer


def _check_model(source: ModelSource, at: str, stored: dict[str, Any], backend: Any) -> None:
    """Refuses a tokenizer that transformers builds as another kind of model than the one tokenizer.json holds.

    A Unigram vocabulary under BertTokenizer becomes WordPiece, whose words are then all unknown.
    """
    model = stored.get("model")
    if not isinstance(model, dict):
        return
    kind, built = model.get("type") or _untyped_kind(model), type(backend.model).__name__
    if kind == built:
        return
    name = at + "tokenizer_config.json"
    tokenizer_class = source.read_object(name).get("tokenizer_class") if source.exists(name) else None
    raise UnsupportedError(
        name,
        "tokenizer_class",
        tokenizer_class,
        f"a class for the {kind} model of tokenizer.json, as PreTrainedTokenizerFast; with this one transformers makes "
        f"{built} of it, and most words become unknown",
    )


def _untyped_kind(model: dict[str, Any]) -> str:
    """The kind of a model that has no `type`, as in files of years ago: `tokenizers` tells by the keys as well."""
    if isinstance(model.get("vocab"), list):
        return "Unigram"
    if "merges" in model:
        return "BPE"
    return "WordPiece" if "max_input_chars_per_word" in model else "WordLevel"


def _check_tokenizer_config(source: ModelSource, at: str, config: ConfigFile, name: str) -> None:
    """Refuses code, unknown keys, and names of files that the model does not have itself."""
    config.require("auto_map", (None, {}))
    if name != "tokenizer_config.json":
        return
    config.require("init_inputs", ([], ()))
    stored = ("tokenizer_file", ("tokenizer.json",)), ("vocab_file", _TOKENIZER_FILES), ("merges_file", ("merges.txt",))
    for key, files in stored:
        # Paths of where the tokenizer was once saved; transformers puts the model's own files in their place.
        if config.values.get(key) is not None and not any(source.exists(at + own) for own in (*files, "tokenizer.json")):
            raise UnsupportedError(config.file, key, config.values[key], f"{files[0]} in the model")
    length = config.values.get("model_max_length")
    if length is not None and (isinstance(length, bool) or not isinstance(length, (int, float)) or not 1 <= length < math.inf):
        raise UnsupportedError(config.file, "model_max_length", length, "a positive number")
    config.finish(_TOKENIZER_KEYS)


def _normalizers(normalizer: Any) -> list[Any]:
    """The steps of a normalizer, none of None."""
    from tokenizers import normalizers

    if isinstance(normalizer, normalizers.Sequence):
        return [*normalizer]  # type: ignore[misc]  # iterates, though its types do not say so
    return [] if normalizer is None else [normalizer]


class Transformer(tf.Module):
    """Texts → token ids → token embeddings."""

    def __init__(
        self,
        source: ModelSource,
        spec: TransformerSpec,
        max_seq_length: int | None,
        dimensions: Dimensions,
        quiet: bool = True,
        tokenizer_ops: str = "core",
    ):
        """`max_seq_length`: the user's, in place of the configured one."""
        super().__init__()
        kind = {**ENCODERS, **UNVERIFIED}.get(spec.model_type)
        if kind is None:
            raise UnsupportedError(spec.encoder_config.file, "model_type", spec.model_type, ENCODERS)
        weights = open_weights(source, spec.folder, shards=True).without_prefix(kind.prefix)
        with progress("weights", len(weights), quiet) as bar:
            weights.on_take = bar.update
            self.encoder = kind(spec.encoder_config, weights)
        weights.finish(kind.unused)
        hf_tokenizer = load_tokenizer(source, spec)
        self.max_length = self._max_length(spec, max_seq_length, hf_tokenizer.model_max_length)
        self.tokenizer_spec = read_tokenizer(hf_tokenizer, self.max_length)
        pad_id = self.tokenizer_spec.pad_id
        if self.tokenizer_spec.padding_side == "left" and self.encoder.counts_padding(pad_id):
            # A text's embedding would depend on its neighbours in the batch, in the reference as here.
            supported = f"right, as the positions of model_type {spec.model_type} count padding of id {pad_id}"
            raise UnsupportedError("tokenizer_config.json", "padding_side", "left", supported)
        self._check_ids(self.tokenizer_spec, spec.encoder_config.file)
        self.hf_tokenizer = hf_tokenizer
        self.tokenizer = TokenizerGraph(self.tokenizer_spec, hf_tokenizer.backend_tokenizer, tokenizer_ops)
        dimensions["token_embeddings"] = self.encoder.hidden_size

    def _max_length(self, spec: TransformerSpec, asked: int | None, model_max_length: int) -> int | None:
        """sentence-transformers' precedence; refuses lengths that its encoder has no positions for."""
        positions = self.encoder.max_position_embeddings
        length: int | None
        if asked is not None:
            key, length = "max_seq_length", asked
        elif spec.text_max_length is not None:
            key, length = "processing_kwargs.text.max_length", spec.text_max_length
        elif spec.max_seq_length is not None:
            key, length = "max_seq_length", spec.max_seq_length
        else:
            length = int(model_max_length)
            key, length = "max_position_embeddings", length if positions is None else min(length, positions)
        length = None if length > _UNLIMITED else length
        most = self.encoder.max_length
        if most is not None and (length is None or length > most):
            supported = f"at most {most}, the positions of the encoder; see --max-seq-length"
            raise UnsupportedError("sentence_bert_config.json", key, length, supported)
        return length

    def _check_ids(self, tokenizer: TokenizerSpec, file: str) -> None:
        """Refuses a tokenizer whose ids the encoder has no rows for."""
        ids = {*tokenizer.model.vocab.values(), tokenizer.pad_id, *(token.id for token in tokenizer.added_tokens)}
        highest = max({*ids, *tokenizer.single.special_ids})
        if highest >= self.encoder.vocab_size:
            raise UnsupportedError(file, "vocab_size", self.encoder.vocab_size, f"more than the token id {highest}")
        types = {tokenizer.pad_type_id, *(piece.type_id for piece in tokenizer.single.pieces)}
        if self.encoder.type_vocab_size and tokenizer.has_token_type_ids and max(types) >= self.encoder.type_vocab_size:
            rows = self.encoder.type_vocab_size
            raise UnsupportedError(file, "type_vocab_size", rows, f"more than the segment {max(types)}")

    def __call__(self, features: Features) -> Features:
        """int32 [batch, length] ids, mask and segments → `token_embeddings` [batch, length, hidden]."""
        types = features["token_type_ids"]
        if not self.tokenizer_spec.has_token_type_ids:
            types = tf.zeros_like(types)
        tokens = self.encoder(features["input_ids"], features["attention_mask"], types)
        return {**features, "token_embeddings": tokens}
