"""Loading of a model's tokenizer with transformers, from the model's own files only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tf_exporter.errors import InputError, UnsupportedError, one_line
from tf_exporter.model.reference.view import transformers_folder
from tf_exporter.model.source import TOKENIZER_LIMIT, ModelSource
from tf_exporter.model.untyped import TokenizersPart, TransformersTokenizer
from tf_exporter.tokenizers.configs import (
    TOKENIZER_CONFIG,
    TOKENIZER_CONFIGS,
    TOKENIZER_FILES,
    check_tokenizer_config,
)
from tf_exporter.tokenizers.contract import Backend

UNLIMITED = 10**20
"""A `model_max_length` above this stands for no limit in transformers."""
_LONGEST_TEXT = 2**31 - 1
"""The most tokens a text can have: a higher limit truncates nothing."""
_MOST_TOKENS = 2**64
"""Limits from here to `UNLIMITED` fail in transformers: they do not fit into 64 bits."""
_MOST_IDS = 2**24
"""Token ids have to be below this: `tokenizers` allocates memory for all ids up to the highest.

Real ids are below 2¹⁹.
"""
_PROCESSOR_CONFIGS = (
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
)
_TOKENIZER_EXTRAS = ("chat_template.jinja", "additional_chat_templates", "tekken.json")
"""Other files that transformers opens if they exist; they must not be links out of the model."""


def load_tokenizer(
    source: ModelSource,
    folder: str,
    do_lower_case: bool = False,
    kwargs: dict[str, Any] | None = None,
) -> TransformersTokenizer:
    """The transformers tokenizer, set up as in sentence-transformers.

    Args:
        source: the model.
        folder: the tokenizer's folder in the model.
        do_lower_case: whether texts are lower-cased first.
        kwargs: arguments of `AutoTokenizer.from_pretrained` from the model's own settings.

    Raises:
        InputError: its files are missing or cannot be loaded.
        UnsupportedError: it needs code of its own, or its configs are not supported.
    """
    prefix = f"{folder}/" if folder else ""
    if not any(source.exists(prefix + name) for name in TOKENIZER_FILES):
        raise InputError(
            f"{prefix or './'}: no tokenizer; one of {', '.join(TOKENIZER_FILES)} is needed"
        )
    for name in (*TOKENIZER_FILES, "merges.txt"):
        if source.exists(prefix + name):
            source.read_bytes(prefix + name, TOKENIZER_LIMIT)
    stored = (
        source.read_object(prefix + "tokenizer.json", TOKENIZER_LIMIT)
        if source.exists(prefix + "tokenizer.json")
        else {}
    )
    _check_class(source, prefix)
    for name in TOKENIZER_CONFIGS:
        if source.exists(prefix + name):
            check_tokenizer_config(source, prefix, source.config(prefix + name), name)
    for name in _PROCESSOR_CONFIGS:
        if source.exists(prefix + name):
            # transformers looks for a processor first, and fails if it needs the model's code.
            config = source.config(prefix + name)
            config.require("auto_map", (None, {}))
            config.check()
    check_ids(prefix + "tokenizer.json", stored)
    if not stored and source.exists(prefix + "vocab.json"):
        vocab = source.read_object(prefix + "vocab.json", TOKENIZER_LIMIT)
        check_ids(prefix + "vocab.json", {"model": {"vocab": vocab}})
    for name in _TOKENIZER_EXTRAS:
        source.path(prefix + name)
    from tokenizers import normalizers
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    try:
        with transformers_folder(source) as view:
            # If transformers has no class for it, it would ask whether to run the model's code.
            tokenizer = AutoTokenizer.from_pretrained(
                view / folder, local_files_only=True, trust_remote_code=False, **(kwargs or {})
            )
    except Exception as error:  # transformers and tokenizers raise errors of any type
        name = prefix + TOKENIZER_CONFIG
        code = source.read_object(name).get("auto_map") if source.exists(name) else None
        if code:
            supported = "tokenizers that transformers has a class for; code of a model is never run"
            raise UnsupportedError(name, "auto_map", code, supported) from error
        _check_fit(source, prefix, stored)
        raise InputError(
            f"{prefix or './'}: the tokenizer cannot be loaded ({one_line(error)})"
        ) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise _python_only(prefix + "tokenizer_config.json", type(tokenizer).__name__)
    backend = tokenizer.backend_tokenizer
    _check_model(source, prefix, stored, backend)
    if do_lower_case:
        steps = _normalizers(backend.normalizer)
        if not any(isinstance(step, normalizers.Lowercase) for step in steps):
            backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *steps])
    return tokenizer


def length_limit(file: str, key: str, length: int) -> int | None:
    """The number of tokens that are kept of a text, for a model's `length`; None: all.

    Raises:
        UnsupportedError: the reference fails with that length.
    """
    if _MOST_TOKENS <= length <= UNLIMITED:
        raise UnsupportedError(
            file, key, length, "a number below 2⁶⁴, or one above 10²⁰ for no limit"
        )
    return length if length <= _LONGEST_TEXT else None


def _check_class(source: ModelSource, prefix: str) -> None:
    """Refuses a tokenizer that exists in Python only.

    This happens before its other files are read, and before its class imports further libraries.
    `tokenizer_class` is in tokenizer_config.json or, failing that, in config.json.
    """
    from transformers import PreTrainedTokenizerFast, PythonBackend
    from transformers.models.auto import tokenization_auto as auto

    names = (prefix + "tokenizer_config.json", prefix + "config.json")
    files = [name for name in names if source.exists(name)]
    values = {file: source.read_object(file) for file in files}
    file = next((file for file in files if values[file].get("tokenizer_class")), None)
    if file is None or not isinstance(values[file]["tokenizer_class"], str):
        return
    name: str = values[file]["tokenizer_class"]
    model_type = values.get(prefix + "config.json", {}).get("model_type")
    if isinstance(model_type, str) and (
        model_type in auto.MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS
        or auto.TOKENIZER_MAPPING_NAMES.get(model_type) == "TokenizersBackend"
    ):
        return  # transformers ignores tokenizer_class for this type of model
    kind: object = auto.tokenizer_class_from_name(
        name.removesuffix("Fast")
    ) or auto.tokenizer_class_from_name(name)
    if kind in (None, PythonBackend):
        return  # transformers then uses PreTrainedTokenizerFast
    if not isinstance(kind, type) or not issubclass(kind, PreTrainedTokenizerFast):
        raise _python_only(file, name)


def _python_only(file: str, name: str) -> UnsupportedError:
    supported = (
        "a tokenizer that Hugging Face tokenizers runs, "
        "as BertTokenizer, RobertaTokenizer or PreTrainedTokenizerFast"
    )
    return UnsupportedError(
        file, "tokenizer_class", name, f"{supported}; {name} is Python code of transformers"
    )


def set_lower_case(backend: TokenizersPart, lower: bool) -> None:
    """Turns the lower-casing of a tokenizer of `tokenizers` on or off.

    BertNormalizer has an option for it, which also strips accents unless `strip_accents` is set.
    Other normalizers get a `Lowercase` step at the start.
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


def _check_model(
    source: ModelSource, prefix: str, stored: dict[str, Any], backend: TokenizersPart
) -> None:
    """Refuses a tokenizer that transformers builds with another model than tokenizer.json has.

    For example, BertTokenizer builds WordPiece from a Unigram vocabulary: all words are unknown.
    """
    model = stored.get("model")
    if not isinstance(model, dict):
        return
    kind, built = model.get("type") or _untyped_kind(model), type(backend.model).__name__
    if kind != built:
        raise _wrong_class(
            source, prefix, kind, f"transformers makes {built} of it, and most words become unknown"
        )


def _check_fit(source: ModelSource, prefix: str, stored: dict[str, Any]) -> None:
    """Refuses a tokenizer class that cannot be built from tokenizer.json, if the file is valid."""
    from tokenizers import Tokenizer

    try:
        Tokenizer.from_str(json.dumps(stored))
    except Exception:  # the file itself is invalid
        return
    kind = stored["model"].get("type") or _untyped_kind(stored["model"])
    raise _wrong_class(source, prefix, kind, "transformers cannot load it")


def _wrong_class(source: ModelSource, prefix: str, kind: str, outcome: str) -> UnsupportedError:
    name = prefix + "tokenizer_config.json"
    tokenizer_class = (
        source.read_object(name).get("tokenizer_class") if source.exists(name) else None
    )
    supported = (
        f"a class for the {kind} model of tokenizer.json, as PreTrainedTokenizerFast; "
        f"with this one {outcome}"
    )
    return UnsupportedError(name, "tokenizer_class", tokenizer_class, supported)


def check_ids(file: str, stored: dict[str, Any]) -> None:
    """Refuses a tokenizer.json with very high ids, before `tokenizers` allocates memory for them.

    `tokenizers` itself reports all other errors of the file.

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
    """The kind of a model without `type`, as in old files: it follows from the keys."""
    if isinstance(model.get("vocab"), list):
        return "Unigram"
    if "merges" in model:
        return "BPE"
    return "WordPiece" if "max_input_chars_per_word" in model else "WordLevel"


def _normalizers(normalizer: TokenizersPart) -> list[TokenizersPart]:
    """The steps of a normalizer; an empty list for None."""
    from tokenizers import normalizers

    if isinstance(normalizer, normalizers.Sequence):
        return [*normalizer]  # type: ignore[misc]  # iterates, though its types do not say so
    return [] if normalizer is None else [normalizer]


class WithoutSpecialTokens:
    """A transformers tokenizer that adds no special tokens to a text."""

    def __init__(self, tokenizer: TransformersTokenizer) -> None:
        self._tokenizer = tokenizer
        self.max_length = length_limit(
            "tokenizer_config.json", "model_max_length", int(tokenizer.model_max_length)
        )

    @property
    def backend_tokenizer(self) -> Backend:
        backend: Backend = self._tokenizer.backend_tokenizer
        return backend

    def __call__(self, *texts: list[str], **options: object) -> Mapping[str, list[list[int]]]:
        encodings: Mapping[str, list[list[int]]] = self._tokenizer(
            *texts, add_special_tokens=False, **options
        )
        return encodings


class RawTokenizer:
    """A tokenizer.json as it is, with its truncation; it adds no special tokens to a text.

    It has the interface of a transformers tokenizer, but transformers does not rebuild its parts.
    """

    model_input_names = ("input_ids", "attention_mask")
    padding_side = "right"
    pad_token_id = pad_token_type_id = 0
    """The file need not have a padding token; any id will do."""
    all_special_ids: tuple[int, ...] = ()

    def __init__(self, backend: TokenizersPart) -> None:
        backend.no_padding()
        self.backend_tokenizer = backend
        truncation = backend.truncation
        self.max_length: int | None = truncation["max_length"] if truncation else None
        self.truncation_side: str = truncation["direction"] if truncation else "right"

    def __call__(self, *texts: list[str], **options: object) -> dict[str, list[list[int]]]:
        """The ids and masks of one list of texts, padded to the longest."""
        rows = [
            encoding.ids
            for encoding in self.backend_tokenizer.encode_batch(texts[0], add_special_tokens=False)
        ]
        longest = max(map(len, rows))
        return {
            "input_ids": [row + [self.pad_token_id] * (longest - len(row)) for row in rows],
            "attention_mask": [[1] * len(row) + [0] * (longest - len(row)) for row in rows],
        }


def load_raw_tokenizer(source: ModelSource, folder: str) -> RawTokenizer:
    """The tokenizer.json of a folder.

    Raises:
        InputError: the file is missing or cannot be loaded.
        UnsupportedError: it has an id that is too high.
    """
    name = f"{folder}/tokenizer.json" if folder else "tokenizer.json"
    check_ids(name, source.read_object(name, TOKENIZER_LIMIT))
    from tokenizers import Tokenizer

    try:
        return RawTokenizer(Tokenizer.from_file(str(source.path(name))))
    except Exception as error:  # tokenizers raises errors of any type
        raise InputError(f"{name}: the tokenizer cannot be loaded ({one_line(error)})") from error
