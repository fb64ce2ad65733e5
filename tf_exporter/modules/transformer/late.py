"""The texts of a multi-vector model: their limits by task, and the expansion of queries.

As `Transformer.preprocess` of sentence-transformers 6.2 has them.
"""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.errors import UnsupportedError
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.untyped import TransformersTokenizer
from tf_exporter.names import DOCUMENT, QUERY

_KEY = "query_expansion"
_STRATEGIES = FIXED, _LEAST = ("fixed", "min")


@dataclass(frozen=True)
class Expansion:
    """Tokens that fill short queries up, and that count for a score."""

    fixed: bool
    """Whether longer queries are truncated to the length."""
    attend: bool
    """Whether the encoder attends to these tokens."""
    token: str | None
    """None: the mask token or, without one, the token that ends a text."""
    length: int


@dataclass(frozen=True)
class Lengths:
    """The most tokens of texts by their task; None: those of any text."""

    query: int | None
    document: int | None
    expansion: Expansion | None

    def limits(self, text: int | None, default: int | None) -> dict[str, tuple[str, int | None]]:
        """Task → the key in the config that limits its texts, and the limit.

        Args:
            text: the limit in `processing_kwargs`, which takes precedence over all but a fixed
                length.
            default: the limit of texts without a task.
        """
        query = "query_length", text or self.query or default
        if self.expansion is not None:
            least = self.expansion.length
            if self.expansion.fixed:
                query = f"{_KEY}.length", least
            elif text is None and self.query is not None:
                query = "query_length", max(self.query, least)
        document = "document_length", text or self.document or default
        return {"": ("max_seq_length", default), QUERY: query, DOCUMENT: document}


def read_lengths(file: ConfigFile) -> Lengths:
    """Reads `query_length`, `document_length` and `query_expansion` of a Transformer module.

    Raises:
        UnsupportedError: the reference refuses them, too.
    """
    query, document = (_length(file, key) for key in ("query_length", "document_length"))
    values = file.take(_KEY, (dict, type(None)))
    if values is None:
        file.check()
        return Lengths(query, document, None)
    part = file.part(_KEY, values)
    part.require("strategy", _STRATEGIES)
    if "strategy" not in part:
        part.refuse(part.unsupported("strategy", _STRATEGIES))
    length = _length(part, "length")
    if length is None:
        part.refuse(part.unsupported("length", "a positive number"))
    expansion = Expansion(
        fixed=part.take("strategy", str, FIXED) == FIXED,
        attend=part.take("attend", bool, False),
        token=part.take("token", (str, type(None))),
        length=length or 1,
    )
    part.finish()
    if query is not None and query < expansion.length:
        supported = f"at least {expansion.length}, the length of the expansion"
        file.refuse(file.unsupported("query_length", supported))
    file.check()
    return Lengths(query, document, expansion)


def _length(file: ConfigFile, key: str) -> int | None:
    value: int | None = file.take(key, (int, type(None)))
    if value is not None and value < 1:
        file.refuse(file.unsupported(key, "a positive number"))
        return None
    return value


def expansion_id(file: str, expansion: Expansion, tokenizer: TransformersTokenizer) -> int:
    """The id of the token that fills queries up.

    Raises:
        UnsupportedError: the tokenizer has no such token.
    """
    if expansion.token is None:
        id = tokenizer.mask_token_id
        id = tokenizer.eos_token_id if id is None else id
    else:
        id = tokenizer.convert_tokens_to_ids(expansion.token)
        if id == tokenizer.unk_token_id and expansion.token != tokenizer.unk_token:
            id = None
    if id is None:
        supported = "a token of the tokenizer; null for its mask token or the end of a text"
        raise UnsupportedError(file, f"{_KEY}.token", expansion.token, supported)
    return int(id)


def register_prefixes(prefixes: dict[str, str], tokenizer: TransformersTokenizer) -> None:
    """Makes the prefixes of older models special tokens, where they are tokens of the vocabulary.

    Otherwise a text would be split where these models had one token.
    """
    from tokenizers import AddedToken

    added, vocab = tokenizer.added_tokens_encoder, tokenizer.get_vocab()
    found = []
    for value in prefixes.values():
        for prefix in (value, *value.split(None, 1)[:1]) if value.split() else ():
            if prefix in added or prefix in vocab:
                if tokenizer.tokenize(prefix) != [prefix]:
                    found.append(AddedToken(prefix, normalized=False, special=True))
                break
    if found:
        tokenizer.add_special_tokens({"additional_special_tokens": found})
