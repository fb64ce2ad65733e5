"""The keys of a tokenizer's configs: what transformers reads, and what is refused."""

from __future__ import annotations

import math

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.reference.keys import reads_tokenizer_key
from tf_exporter.model.source import ModelSource

SENTENCEPIECE_FILES = (
    "spiece.model",
    "sentencepiece.bpe.model",
    "spm.model",
    "tokenizer.model",
    "sentencepiece.model",
)
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", *SENTENCEPIECE_FILES)
"""One of these is enough. The sentencepiece library reads the SentencePiece files."""
TOKENIZER_CONFIG = "tokenizer_config.json"
_SPECIAL_TOKENS = "special_tokens_map.json"
TOKENIZER_CONFIGS = (TOKENIZER_CONFIG, _SPECIAL_TOKENS, "added_tokens.json")
_HARMLESS_KEYS = frozenset(
    """
    _commit_hash add_bos_token add_eos_token add_prefix_space added_tokens_decoder
    additional_special_tokens backend bos_token bos_token_id chat_control_tokens
    chat_template clean_up_tokenization_spaces
    clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output cls_token
    cls_token_id do_basic_tokenize do_lower_case eos_token eos_token_id errors extra_ids
    extra_special_tokens files_loaded fix_mistral_regex from_slow full_tokenizer_file
    is_local keep_accents legacy local_files_only mask_token mask_token_id max_len
    max_length merges_file model_input_names model_max_length model_specific_special_tokens
    name_or_path never_split pad_to_multiple_of pad_token pad_token_id pad_token_type_id
    padding padding_side processor_class remove_space response_schema response_template
    return_token_type_ids sep_token sep_token_id sp_model_kwargs
    spaces_between_special_tokens special_tokens_map_file split_by_punct
    split_special_tokens stride strip_accents tokenize_chinese_chars tokenizer_class
    tokenizer_file transformers_version trim_offsets truncation truncation_side
    truncation_strategy trust_remote_code unk_id unk_token unk_token_id
    use_default_system_prompt use_fast verbose vocab_file vocab_type word_delimiter_token
    """.split()
)
"""Keys of tokenizer_config.json that tokenizer classes read.

Their effect is seen in the tokenizer that is built. Other keys that `AutoTokenizer` reads could
replace the tokenizer, or name other files.
"""


def check_tokenizer_config(source: ModelSource, prefix: str, config: ConfigFile, name: str) -> None:
    """Refuses keys that name code, other files or a whole tokenizer."""
    _check_auto_map(config)
    if name == _SPECIAL_TOKENS:
        # transformers may take any argument of a tokenizer from this file.
        tokens = frozenset(key for key in config.values if key.endswith(("_token", "_tokens")))
        config.finish(tokens, reads_tokenizer_key)
    if name != TOKENIZER_CONFIG:
        return
    config.require("init_inputs", ([], ()))
    for key, files in (("vocab_file", TOKENIZER_FILES), ("merges_file", ("merges.txt",))):
        # Paths from where the tokenizer was saved; transformers uses the model's own files instead.
        if config.values.get(key) is not None and not any(
            source.exists(prefix + own) for own in (*files, "tokenizer.json")
        ):
            config.refuse(config.unsupported(key, f"{files[0]} in the model"))
    for key in ("model_max_length", "max_len"):
        length = config.values.get(key)
        if length is not None and (
            isinstance(length, bool)
            or not isinstance(length, (int, float))
            or not 1 <= length < math.inf
        ):
            config.refuse(config.unsupported(key, "a positive number"))
    config.finish(_HARMLESS_KEYS, reads_tokenizer_key)


def _check_auto_map(config: ConfigFile) -> None:
    """Ignores the names of code in `auto_map`: transformers has its own class and does not run it.

    If it has no class of its own, loading the tokenizer fails.
    """
    if config.take("auto_map", (dict, list, type(None))):
        config.ignore("auto_map")
