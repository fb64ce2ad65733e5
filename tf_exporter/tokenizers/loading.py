"""Loading a model's tokenizer with transformers, which makes its own of what the files say, but of nothing else."""

from __future__ import annotations

import json
import math
from typing import Any

from tf_exporter.errors import InputError, UnsupportedError, one_line
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.reference_keys import reads_tokenizer_key
from tf_exporter.published import native_view
from tf_exporter.source import TOKENIZER_LIMIT, ModelSource

UNLIMITED = 10**20
"""transformers' tokenizers have a `model_max_length` above this where none is known."""
_LONGEST_TEXT = 2**31 - 1
"""Tokens. No text has more, so a limit of more cuts none."""
_MOST_TOKENS = 2**64
"""From here to `UNLIMITED`, transformers hands a limit on to `tokenizers`, which cannot hold it."""
SENTENCEPIECE_FILES = ("spiece.model", "sentencepiece.bpe.model", "spm.model", "tokenizer.model", "sentencepiece.model")
_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", *SENTENCEPIECE_FILES)
"""Any one of these is enough; what a SentencePiece file holds is read by the sentencepiece library."""
TOKENIZER_CONFIG = "tokenizer_config.json"
_TOKENIZER_CONFIGS = (TOKENIZER_CONFIG, "special_tokens_map.json", "added_tokens.json")
_MOST_IDS = 2**24
"""Of a vocabulary; `tokenizers` has a place in memory for each up to the highest, and real ones end below 2¹⁹."""
_PROCESSOR_CONFIGS = ("processor_config.json", "preprocessor_config.json", "video_preprocessor_config.json")
_TOKENIZER_EXTRAS = ("chat_template.jinja", "additional_chat_templates", "tekken.json")
"""Other files that transformers opens where it finds them; they must not be links out of the model."""
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
"""Keys of tokenizer_config.json that tokenizer classes read. Their effect shows in the tokenizer that is built. Other keys that
`AutoTokenizer` reads could replace the tokenizer, or name other files."""


def load_tokenizer(
    source: ModelSource,
    folder: str,
    do_lower_case: bool = False,
    native_config: dict[str, Any] | None = None,
    kwargs: dict[str, Any] | None = None,
) -> Any:
    """The transformers tokenizer as sentence-transformers sets it up: lower-cased where asked for.

    Args:
        source: the model.
        folder: where the tokenizer is in it.
        do_lower_case: whether texts are lower-cased first.
        native_config: what stands for a config.json that was written for code of its own.
        kwargs: arguments of `AutoTokenizer.from_pretrained` that the model's own settings have.

    Raises:
        InputError: its files are missing or cannot be loaded.
        UnsupportedError: it comes with code of its own.
    """
    at = f"{folder}/" if folder else ""
    if not any(source.exists(at + name) for name in _TOKENIZER_FILES):
        raise InputError(f"{at or './'}: no tokenizer; one of {', '.join(_TOKENIZER_FILES)} is needed")
    for name in (*_TOKENIZER_FILES, "merges.txt"):
        if source.exists(at + name):
            source.read_bytes(at + name, TOKENIZER_LIMIT)
    stored = source.read_object(at + "tokenizer.json", TOKENIZER_LIMIT) if source.exists(at + "tokenizer.json") else {}
    _check_class(source, at)
    for name in _TOKENIZER_CONFIGS:
        if source.exists(at + name):
            _check_tokenizer_config(source, at, source.config(at + name), name)
    for name in _PROCESSOR_CONFIGS:
        if source.exists(at + name):
            # Where transformers looks for a processor first, and fails if it is one of the model's own.
            config = source.config(at + name)
            config.require("auto_map", (None, {}))
            config.check()
    check_ids(at + "tokenizer.json", stored)
    for name in _TOKENIZER_EXTRAS:
        source.path(at + name)
    from tokenizers import normalizers
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    try:
        with native_view(source, folder, native_config) as view:
            # Where transformers has no class of its own, it would ask whether to run the model's code.
            tokenizer = AutoTokenizer.from_pretrained(
                view / folder, local_files_only=True, trust_remote_code=False, **(kwargs or {})
            )
    except Exception as error:  # transformers and tokenizers raise whatever the files made them trip over
        name = at + TOKENIZER_CONFIG
        code = source.read_object(name).get("auto_map") if source.exists(name) else None
        if code:
            supported = "tokenizers that transformers has a class for; code of a model is never run"
            raise UnsupportedError(name, "auto_map", code, supported) from error
        _check_fit(source, at, stored)
        raise InputError(f"{at or './'}: the tokenizer cannot be loaded ({one_line(error)})") from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise _python_only(at + "tokenizer_config.json", type(tokenizer).__name__)
    backend = tokenizer.backend_tokenizer
    _check_model(source, at, stored, backend)
    if do_lower_case:
        steps = _normalizers(backend.normalizer)
        if not any(isinstance(step, normalizers.Lowercase) for step in steps):
            backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *steps])
    return tokenizer


def length_limit(file: str, key: str, length: int) -> int | None:
    """How many tokens of a text are kept where a model says `length`; None: all.

    Raises:
        UnsupportedError: the reference fails on that length.
    """
    if _MOST_TOKENS <= length <= UNLIMITED:
        raise UnsupportedError(file, key, length, "a number below 2⁶⁴, or one above 10²⁰ for no limit")
    return length if length <= _LONGEST_TEXT else None


def _check_class(source: ModelSource, at: str) -> None:
    """Refuses a tokenizer that exists in Python only, before what else its files say is read, or libraries of its own are.

    The class is named in tokenizer_config.json, or else in config.json, by `tokenizer_class`.
    """
    from transformers import PreTrainedTokenizerFast, PythonBackend
    from transformers.models.auto import tokenization_auto as auto

    files = [at + name for name in ("tokenizer_config.json", "config.json") if source.exists(at + name)]
    values = {file: source.read_object(file) for file in files}
    file = next((file for file in files if values[file].get("tokenizer_class")), None)
    if file is None or not isinstance(values[file]["tokenizer_class"], str):
        return
    name: str = values[file]["tokenizer_class"]
    model_type = values.get(at + "config.json", {}).get("model_type")
    if isinstance(model_type, str) and (
        model_type in auto.MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS
        or auto.TOKENIZER_MAPPING_NAMES.get(model_type) == "TokenizersBackend"
    ):
        return  # transformers takes a class by the type of the model, whatever is named
    kind: object = auto.tokenizer_class_from_name(name.removesuffix("Fast")) or auto.tokenizer_class_from_name(name)
    if kind in (None, PythonBackend):
        return  # transformers then takes PreTrainedTokenizerFast
    if not isinstance(kind, type) or not issubclass(kind, PreTrainedTokenizerFast):
        raise _python_only(file, name)


def _python_only(file: str, name: str) -> UnsupportedError:
    supported = "a tokenizer that Hugging Face tokenizers runs, as BertTokenizer, RobertaTokenizer or PreTrainedTokenizerFast"
    return UnsupportedError(file, "tokenizer_class", name, f"{supported}; {name} is Python code of transformers")


def set_lower_case(backend: Any, lower: bool) -> None:
    """Has a tokenizer of `tokenizers` make capital letters small, or not, whatever it did before.

    BERT's normalizer has an option for it, which strips accents, too, where nothing is said of those; all others a step of
    their own, at the start.
    """
    from tokenizers import normalizers

    steps = _normalizers(backend.normalizer)
    bert = [step for step in steps if isinstance(step, normalizers.BertNormalizer)]
    for step in bert:
        step.lowercase = lower
    steps = [step for step in steps if not isinstance(step, normalizers.Lowercase)]
    if lower and not bert:
        steps.insert(0, normalizers.Lowercase())
    backend.normalizer = steps[0] if len(steps) == 1 else normalizers.Sequence(steps)


def _check_model(source: ModelSource, at: str, stored: dict[str, Any], backend: Any) -> None:
    """Refuses a tokenizer that transformers builds as another kind of model than the one tokenizer.json holds.

    A Unigram vocabulary under BertTokenizer becomes WordPiece, whose words are then all unknown.
    """
    model = stored.get("model")
    if not isinstance(model, dict):
        return
    kind, built = model.get("type") or _untyped_kind(model), type(backend.model).__name__
    if kind != built:
        raise _wrong_class(source, at, kind, f"transformers makes {built} of it, and most words become unknown")


def _check_fit(source: ModelSource, at: str, stored: dict[str, Any]) -> None:
    """Refuses a class that transformers cannot make of tokenizer.json, although the file itself is sound."""
    from tokenizers import Tokenizer

    try:
        Tokenizer.from_str(json.dumps(stored))
    except Exception:  # then it is the file that is at fault
        return
    kind = stored["model"].get("type") or _untyped_kind(stored["model"])
    raise _wrong_class(source, at, kind, "transformers cannot load it")


def _wrong_class(source: ModelSource, at: str, kind: str, outcome: str) -> UnsupportedError:
    name = at + "tokenizer_config.json"
    tokenizer_class = source.read_object(name).get("tokenizer_class") if source.exists(name) else None
    supported = f"a class for the {kind} model of tokenizer.json, as PreTrainedTokenizerFast; with this one {outcome}"
    return UnsupportedError(name, "tokenizer_class", tokenizer_class, supported)


def check_ids(file: str, stored: dict[str, Any]) -> None:
    """Refuses a tokenizer.json with ids that no vocabulary has, before memory is spent on them.

    Whatever else is wrong with it, `tokenizers` says.

    Raises:
        UnsupportedError: an id is too high.
    """
    model, added = stored.get("model"), stored.get("added_tokens")
    vocab = model.get("vocab") if isinstance(model, dict) else None
    ids = [*vocab.values()] if isinstance(vocab, dict) else []
    if isinstance(added, list):
        ids += [token.get("id") for token in added if isinstance(token, dict)]
    highest = max((id for id in ids if isinstance(id, int)), default=0)
    if highest >= _MOST_IDS:
        raise UnsupportedError(file, "id", highest, f"token ids below {_MOST_IDS:,}")


def _untyped_kind(model: dict[str, Any]) -> str:
    """The kind of a model that has no `type`, as in files of years ago: `tokenizers` tells by the keys as well."""
    if isinstance(model.get("vocab"), list):
        return "Unigram"
    if "merges" in model:
        return "BPE"
    return "WordPiece" if "max_input_chars_per_word" in model else "WordLevel"


def _check_tokenizer_config(source: ModelSource, at: str, config: ConfigFile, name: str) -> None:
    """Refuses keys that name code, other files or a whole tokenizer."""
    _check_auto_map(config)
    if name != TOKENIZER_CONFIG:
        return
    config.require("init_inputs", ([], ()))
    for key, files in (("vocab_file", _TOKENIZER_FILES), ("merges_file", ("merges.txt",))):
        # Paths of where the tokenizer was once saved; transformers puts the model's own files in their place.
        if config.values.get(key) is not None and not any(source.exists(at + own) for own in (*files, "tokenizer.json")):
            config.refuse(config.unsupported(key, f"{files[0]} in the model"))
    length = config.values.get("model_max_length")
    if length is not None and (isinstance(length, bool) or not isinstance(length, (int, float)) or not 1 <= length < math.inf):
        config.refuse(config.unsupported("model_max_length", "a positive number"))
    config.finish(_HARMLESS_KEYS, reads_tokenizer_key)


def _check_auto_map(config: ConfigFile) -> None:
    """Accepts the names of code that transformers does not run, as it has a class of its own.

    Where it has none, loading the tokenizer fails.
    """
    if config.take("auto_map", (dict, list, type(None))):
        config.ignore("auto_map")


def _normalizers(normalizer: Any) -> list[Any]:
    """The steps of a normalizer, none of None."""
    from tokenizers import normalizers

    if isinstance(normalizer, normalizers.Sequence):
        return [*normalizer]  # type: ignore[misc]  # iterates, though its types do not say so
    return [] if normalizer is None else [normalizer]


class WithoutSpecialTokens:
    """A transformers tokenizer as modules use it that put no special tokens around a text."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.max_length = length_limit("tokenizer_config.json", "model_max_length", int(tokenizer.model_max_length))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def __call__(self, texts: list[str], **options: Any) -> Any:
        """As transformers' tokenizer."""
        return self._tokenizer(texts, add_special_tokens=False, **options)


class RawTokenizer:
    """A tokenizer.json as it stands, its truncation included, without special tokens around a text.

    Has what is asked of a transformers tokenizer, which would make its own of the file.
    """

    model_input_names = ("input_ids", "attention_mask")
    padding_side = "right"
    pad_token_id = pad_token_type_id = 0
    """Any token will do to fill up the rows of a batch."""
    all_special_ids: tuple[int, ...] = ()

    def __init__(self, backend: Any) -> None:
        backend.no_padding()
        self.backend_tokenizer = backend
        truncation = backend.truncation
        self.max_length: int | None = truncation["max_length"] if truncation else None
        self.truncation_side: str = truncation["direction"] if truncation else "right"

    def __call__(self, texts: list[str], **options: Any) -> dict[str, list[list[int]]]:
        """`input_ids` and `attention_mask`, filled up to the longest."""
        rows = [encoding.ids for encoding in self.backend_tokenizer.encode_batch(texts, add_special_tokens=False)]
        longest = max(map(len, rows))
        return {
            "input_ids": [row + [self.pad_token_id] * (longest - len(row)) for row in rows],
            "attention_mask": [[1] * len(row) + [0] * (longest - len(row)) for row in rows],
        }


def load_raw_tokenizer(source: ModelSource, folder: str) -> RawTokenizer:
    """The tokenizer.json of a folder.

    Raises:
        InputError: it is missing or cannot be loaded.
    """
    name = f"{folder}/tokenizer.json" if folder else "tokenizer.json"
    check_ids(name, source.read_object(name, TOKENIZER_LIMIT))
    from tokenizers import Tokenizer

    try:
        return RawTokenizer(Tokenizer.from_file(str(source.path(name))))
    except Exception as error:  # tokenizers raises whatever the file made it trip over
        raise InputError(f"{name}: the tokenizer cannot be loaded ({one_line(error)})") from error
