"""Settings of a multi-vector model outside its modules, as in sentence-transformers 6.2.

Its own layout has all settings in its modules. PyLate's has them in
config_sentence_transformers.json, and Stanford's in artifact.metadata. PyLate's `model_type` is
"ColBERT"; models that were saved with sentence-transformers ≤ 4 have none.
"""

from __future__ import annotations

import string
from dataclasses import dataclass, field
from typing import Any

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.source import ModelSource
from tf_exporter.names import DOCUMENT, QUERY

PYLATE = "ColBERT"
"""The `model_type` of models that PyLate saved."""
STANFORD = "HF_ColBERT"
"""The architecture of Stanford's ColBERT in config.json."""
_METADATA = "artifact.metadata"
_PUNCTUATION = tuple(string.punctuation)
_LENGTH = 32
"""The number of tokens of a query, if nothing says it."""
_TRANSFORMER = ("query_length", "document_length", "query_expansion")
"""Keys that PyLate has outside the Transformer module's own config."""
_PREFIXES = {"query_prefix": QUERY, "document_prefix": DOCUMENT}
_MARKERS = (
    *_TRANSFORMER,
    *_PREFIXES,
    "do_query_expansion",
    "attend_to_expansion_tokens",
    "attend_to_mask_tokens",
    "skiplist_words",
)
"""Keys that show that PyLate saved a model."""


@dataclass(frozen=True)
class LateSettings:
    """The settings that older layouts have outside the modules."""

    transformer: dict[str, Any] = field(default_factory=dict)
    """Defaults for keys of the Transformer module's own config."""
    prefixes: dict[str, str] = field(default_factory=dict)
    """Task → the token before its texts. It was inserted as a token, and is text now."""
    skipped: tuple[str, ...] | None = None
    """The words that the mask leaves out, if the model has no mask; None: not said."""
    adds_modules: bool = False
    """Whether a mask and Normalize follow the modules of the folder."""
    needs_dense: bool = False
    """Whether the reference adds a Dense module with random weights if the folder has none."""

    @property
    def modules(self) -> list[tuple[str, str, ConfigFile]]:
        """Kind, folder and config of the modules that are added."""
        skipped = _PUNCTUATION if self.skipped is None else self.skipped
        added: dict[str, dict[str, Any]] = {
            "MultiVectorMask": {"skiplist_words": [*skipped]},
            "Normalize": {"module_input_name": "token_embeddings"},
        }
        return [(kind, "", ConfigFile(f"({kind})", values)) for kind, values in added.items()]


def is_pylate(file: ConfigFile) -> bool:
    """Whether PyLate saved a model, by its config_sentence_transformers.json."""
    if "model_type" in file:
        return bool(file.values["model_type"] == PYLATE)
    return any(key in file for key in _MARKERS)


def read_late_settings(file: ConfigFile, prompts: dict[str, str]) -> LateSettings:
    """Reads the keys of PyLate in config_sentence_transformers.json.

    Prefixes are put before `prompts`, which are changed.

    Raises:
        UnsupportedError: a value has another type.
    """
    prefixes = {}
    for key, task in _PREFIXES.items():
        if key in file:
            prefix: str = file.take(key, (str, type(None))) or ""
            prefixes[task] = prefix
            prompts[task] = prefix + prompts.get(task, "").removeprefix(prefix)
    # Null means the Transformer's own default, but for query_expansion, which it turns off.
    given = {
        key: file.values[key]
        for key in _TRANSFORMER
        if key in file and (file.values[key] is not None or key == "query_expansion")
    }
    for key in _TRANSFORMER:
        file.take(key, (int, dict, type(None)))
    if "query_expansion" not in given and any(key in file for key in _MARKERS):
        given["query_expansion"] = _expansion(file, given)
    skipped: list[str] | None = file.take("skiplist_words", (list, type(None)))
    pylate = is_pylate(file)
    if skipped is not None and not all(isinstance(word, str) for word in skipped):
        file.refuse(file.unsupported("skiplist_words", "strings"))
        skipped = None
    words = None if skipped is None else tuple(skipped)
    converted = pylate and "model_type" not in file
    # The reference leaves out punctuation by default only where there are prefixes.
    if converted and words is None and not prefixes:
        words = ()
    return LateSettings(given, prefixes, words, pylate, needs_dense=converted)


def _expansion(file: ConfigFile, given: dict[str, Any]) -> dict[str, Any] | None:
    """PyLate's query expansion. `given` loses the length of queries, which is a part of it."""
    kinds = (bool, type(None))
    expands = file.take("do_query_expansion", kinds)
    attends = [
        file.take(key, kinds) for key in ("attend_to_expansion_tokens", "attend_to_mask_tokens")
    ]
    if expands is False:
        return None
    attend = attends[0] if "attend_to_expansion_tokens" in file else attends[1]
    length = given.pop("query_length", None) or _LENGTH
    return {"strategy": "fixed", "attend": bool(attend), "length": length}


def is_stanford(source: ModelSource) -> bool:
    """Whether a model is one of Stanford's ColBERT, by its config.json."""
    if not source.exists("config.json"):
        return False
    names = source.read_object("config.json").get("architectures")
    return isinstance(names, list) and STANFORD in names


def read_stanford(source: ModelSource) -> tuple[LateSettings, dict[str, str]]:
    """The settings and the prompts in artifact.metadata; its defaults if the file is absent.

    Raises:
        UnsupportedError: a value has another type.
    """
    file = source.config(_METADATA) if source.exists(_METADATA) else ConfigFile(_METADATA, {})
    prefixes = {
        QUERY: (file.take("query_token_id", (str, type(None))) or "[unused0]") + " ",
        DOCUMENT: (file.take("doc_token_id", (str, type(None))) or "[unused1]") + " ",
    }
    kinds = (int, type(None))
    transformer: dict[str, Any] = {}
    if (length := file.take("doc_maxlen", kinds)) is not None:
        transformer["document_length"] = length
    transformer["query_expansion"] = {
        "strategy": "fixed",
        "attend": bool(file.take("attend_to_mask_tokens", (bool, type(None)))),
        "length": file.take("query_maxlen", kinds) or _LENGTH,
    }
    skips = file.take("mask_punctuation", bool, True)
    # All other keys are for training and for Stanford's own index.
    file.finish(frozenset(), lambda key: False)
    skipped = _PUNCTUATION if skips else ()
    return LateSettings(transformer, prefixes, skipped, True), dict(prefixes)
