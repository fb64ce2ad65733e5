"""WhitespaceTokenizer, and the truncation and padding of tokenizers of WordEmbeddings.

They follow `sentence_transformers.sentence_transformer.modules.tokenizer` 6.2.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from tf_exporter.errors import UnsupportedError
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.source import TOKENIZER_LIMIT, ModelSource
from tf_exporter.tokenizers.contract import TextTokenizer
from tf_exporter.tokenizers.ops.ragged import (
    RaggedCodes,
    Tokens,
    count,
    decode,
    places,
    run_ends,
    select,
    shift_right,
)
from tf_exporter.tokenizers.ops.string_table import StringTable
from tf_exporter.tokenizers.ops.tables import CodePointTable
from tf_exporter.tokenizers.pipeline import TokenizerGraph
from tf_exporter.tokenizers.post_processors import (
    Described,
    Encodings,
    Padded,
    Padding,
    Truncation,
)
from tf_exporter.tokenizers.spec import TokenizerSpec, WordsSpec
from tf_exporter.tokenizers.templates import BARE
from tf_exporter.tokenizers.unicode.python_text import LowerCase, punctuation, white_space

_UNKNOWN, _STOP = -1, 0
"""Values in the word table; other words have their id + 1."""


def words_spec(model: WordsSpec, max_length: int | None) -> TokenizerSpec:
    """The spec of a tokenizer of words that truncates texts at `max_length` words (None: never)."""
    return TokenizerSpec(
        added_tokens=(),
        encode_special_tokens=False,
        normalizer=(),
        pre_tokenizer=(),
        model=model,
        single=BARE[0],
        pair=BARE[1],
        max_length=max_length,
        truncation_side="right",
        padding_side="right",
        pad_id=0,
        pad_type_id=0,
        has_token_type_ids=False,
        special_ids=frozenset(),
    )


def read_words(source: ModelSource, folder: str) -> WordsSpec:
    """The whitespacetokenizer_config.json of a folder; a word listed twice has the last id."""
    name = (
        f"{folder}/whitespacetokenizer_config.json" if folder else "whitespacetokenizer_config.json"
    )
    file = ConfigFile(name, source.read_object(name, TOKENIZER_LIMIT))
    vocab = read_strings(file, "vocab")
    # Without the key the reference uses its own list of English words, but it always saves the key.
    stop_words = read_strings(file, "stop_words")
    spec = WordsSpec(
        {word: id for id, word in enumerate(vocab)},
        frozenset(stop_words),
        file.take("do_lower_case", bool, False),
    )
    file.finish()
    return spec


def read_strings(file: ConfigFile, key: str, kinds: type | tuple[type, ...] = list) -> list[str]:
    """The list of strings under a required key; a list with other items is refused."""
    values = [*file.take(key, kinds, required=True)]
    if not all(isinstance(value, str) for value in values):
        raise UnsupportedError(
            file.file, key, next(value for value in values if not isinstance(value, str)), "strings"
        )
    return values


class WordPadding:
    """Pads with id 0 on the right, to at least one column."""

    def __init__(self, spec: TokenizerSpec) -> None:
        self._padding = Padding(spec)

    def __call__(self, encodings: Encodings, rows: slice = slice(None)) -> Padded:
        padded = self._padding(encodings, rows)
        missing = tf.maximum(0, 1 - tf.shape(padded.input_ids)[1])
        return Padded(*(tf.pad(matrix, [[0, 0], [0, missing]]) for matrix in padded))

    def described(self, encodings: Encodings) -> Described:
        """See `Padding.described`."""
        ids, mask, special, _ = self._padding.described(encodings)
        missing = [[0, 0], [0, tf.maximum(0, 1 - tf.shape(ids)[1])]]
        special = tf.pad(special, missing, constant_values=1)
        return Described(tf.pad(ids, missing), tf.pad(mask, missing), special, None)


class Span(NamedTuple):
    """The starts and ends of words among the codes: int32 [words] each."""

    start: tf.Tensor
    end: tf.Tensor


class WordTokenizer(TextTokenizer):
    """Splits at white space and looks up each word: as it is, without punctuation, lower-cased.

    The first known form counts. Stop words and words without a known form are dropped.
    """

    def __init__(self, spec: TokenizerSpec, model: WordsSpec) -> None:
        values = {word: id + 1 for word, id in model.vocab.items()} | dict.fromkeys(
            model.stop_words, _STOP
        )
        self._table = StringTable(values, _UNKNOWN)
        self._white_space = CodePointTable(white_space())
        self._punctuation = CodePointTable(punctuation())
        self._lower_case = LowerCase()
        self._do_lower_case = model.do_lower_case
        self._truncation = Truncation(spec)
        self.padding: WordPadding = WordPadding(spec)

    def __call__(self, texts: tf.Tensor) -> Encodings:
        """Bytes [batch] → the ids of each text's words, truncated."""
        with tf.device("/CPU:0"):
            return self._truncation(self._tokens(texts))

    def described(self, encodings: Encodings) -> Described:
        """See `WordPadding.described`."""
        return self.padding.described(encodings)

    def _tokens(self, texts: tf.Tensor) -> Tokens:
        # A space after each text, so that no word touches a word of the next text.
        stream = decode(tf.strings.join([texts, " "]))
        if self._do_lower_case:
            codes = self._lower_case.final_sigmas(stream.codes, tf.ones_like(stream.codes, tf.bool))
            stream = self._lower_case(stream._replace(codes=codes))
        in_word = self._white_space(stream.codes) == 0
        start = places(in_word & ~shift_right(in_word, first=False))
        span = Span(start, tf.gather(run_ends(in_word), start))
        values = self._table(_strings(*_pieces(stream.codes, span)))
        rest = places(values == _UNKNOWN)
        others = self._stripped(
            stream.codes, Span(tf.gather(span.start, rest), tf.gather(span.end, rest))
        )
        values = tf.tensor_scatter_nd_update(values, rest[:, tf.newaxis], others)
        kept = places(values > _STOP)
        return Tokens(
            tf.gather(values, kept) - 1, tf.searchsorted(tf.gather(start, kept), stream.row_splits)
        )

    def _stripped(self, codes: tf.Tensor, span: Span) -> tf.Tensor:
        """int32 [words]: the values of words without punctuation or, if unknown, lower-cased."""
        span = self._strip(codes, span)
        values = self._table(_strings(*_pieces(codes, span)))
        edges = tf.concat(span, 0)[:, tf.newaxis]
        steps = tf.scatter_nd(edges, tf.repeat([1, -1], [count(span.start)] * 2), [count(codes)])
        codes = self._lower_case.final_sigmas(codes, tf.cumsum(steps) > 0)
        lowered = self._lower_case(RaggedCodes(*_pieces(codes, span)))
        return select(
            values == _UNKNOWN, self._table(_strings(lowered.codes, lowered.row_splits)), values
        )

    def _strip(self, codes: tf.Tensor, span: Span) -> Span:
        """The words without punctuation at either end; a word of punctuation only becomes empty."""
        marks = self._punctuation(codes) > 0
        start = tf.minimum(tf.gather(run_ends(marks), span.start), span.end)
        size = count(codes)
        backwards = tf.gather(run_ends(tf.reverse(marks, [0])), size - span.end)
        return Span(start, tf.maximum(size - backwards, start))


def _pieces(codes: tf.Tensor, span: Span) -> tuple[tf.Tensor, tf.Tensor]:
    """The codes of all words, int32 [N], and the row splits of the words, int32 [words + 1]."""
    splits, chosen = tf.raw_ops.RaggedRange(
        starts=span.start, limits=span.end, deltas=tf.constant(1), Tsplits=tf.int32
    )
    return tf.gather(codes, chosen), splits


def _strings(codes: tf.Tensor, splits: tf.Tensor) -> tf.Tensor:
    """The words as UTF-8: bytes [words]."""
    return tf.raw_ops.UnicodeEncode(
        input_values=codes, input_splits=splits, output_encoding="UTF-8", errors="replace"
    )


class CutTokenizer(TextTokenizer):
    """A tokenizer of `tokenizers` whose ids are truncated after special tokens have been added.

    `spec` and `tokenizer` have no limit of their own.
    """

    def __init__(
        self, tokenizer: TokenizerGraph, spec: TokenizerSpec, max_length: int | None
    ) -> None:
        self._tokenizer = tokenizer
        self._max_length = max_length
        self.padding: WordPadding = WordPadding(spec)

    def __call__(self, texts: tf.Tensor) -> Encodings:
        """Bytes [batch] → the token ids of each text, truncated."""
        encodings = self._tokenizer(texts)
        if self._max_length is None:
            return encodings
        return encodings._replace(lengths=tf.minimum(encodings.lengths, self._max_length))

    def described(self, encodings: Encodings) -> Described:
        """See `WordPadding.described`."""
        return self.padding.described(encodings)


class ListTokenizer:
    """A function from a text to its ids, with the interface of a transformers tokenizer."""

    def __init__(self, ids: Callable[[str], list[int]], max_length: int | None) -> None:
        self._ids = ids
        self._max_length = max_length

    def __call__(self, *texts: list[str], **options: object) -> dict[str, list[list[int]]]:
        """The ids and masks of one list of texts, padded to the longest, but at least to one."""
        rows = [self._ids(text)[: self._max_length] for text in texts[0]]
        longest = max([1, *map(len, rows)])
        return {
            "input_ids": [row + [0] * (longest - len(row)) for row in rows],
            "attention_mask": [[1] * len(row) + [0] * (longest - len(row)) for row in rows],
        }

    @property
    def backend_tokenizer(self) -> ListTokenizer:
        return self

    def no_padding(self) -> None:
        """Does nothing: `encode_batch` never pads."""

    def no_truncation(self) -> None:
        """Does nothing: texts are always truncated at the same length."""

    def enable_truncation(self, max_length: int, *, strategy: str, direction: str) -> None:
        """Does nothing: the length is fixed."""

    def encode_batch(self, input: list[str], *, add_special_tokens: bool) -> list[_Ids]:
        """The ids of each text."""
        return [_Ids(self._ids(text)[: self._max_length]) for text in input]


class _Ids(NamedTuple):
    ids: list[int]


def word_ids(spec: WordsSpec) -> Callable[[str], list[int]]:
    """`WordTokenizer` in plain Python: a function from a text to its ids."""

    def word_id(word: str) -> int | None:
        bare = word.strip(string.punctuation)
        for form in (word, bare, bare.lower()):
            if form in spec.stop_words:
                return None
            if form in spec.vocab:
                return spec.vocab[form]
        return None

    def ids(text: str) -> list[int]:
        words = (text.lower() if spec.do_lower_case else text).split()
        return [id for id in map(word_id, words) if id is not None]

    return ids
