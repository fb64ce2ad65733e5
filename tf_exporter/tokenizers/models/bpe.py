"""The byte pair encoding model of Hugging Face `tokenizers`, byte-level and SentencePiece-style.

Follows `BPE::merge_word` and `Word::merge_all` of `tokenizers` 0.23: a word is a sequence of
characters (or their bytes, or the unknown token). The pair of the lowest rank is merged first, and
the leftmost of equal pairs (merges.py).

Words are first split into segments, wherever no token crosses. A segment that is a single token
needs no merging.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_exporter.tokenizers.models.merges import Merges
from tf_exporter.tokenizers.models.token_spans import run_of, shifted_spans
from tf_exporter.tokenizers.ops.ragged import (
    ADDED_TOKEN_BASE,
    Tokens,
    added_token_ids,
    count,
    expand,
    offsets,
    places,
    select,
    shift_left,
    shift_right,
    utf8_byte,
    utf8_length,
)
from tf_exporter.tokenizers.ops.spans import covering
from tf_exporter.tokenizers.ops.tables import UNICODE_SIZE, CodePointTable, graph_constant
from tf_exporter.tokenizers.ops.tries import Trie, string_trie
from tf_exporter.tokenizers.pre_tokenizers.steps import Words, byte_chars
from tf_exporter.tokenizers.spec import BYTE_TOKENS, BPESpec


class BPE:
    """Words → token ids."""

    def __init__(self, spec: BPESpec, added_token_ids: list[int], byte_level: bool = False) -> None:
        """`byte_level`: whether ByteLevel made the words; then all codes are its characters."""
        self._added_token_ids = graph_constant(np.array([*added_token_ids, -1], np.int32))
        self._added_token_count = len(added_token_ids)
        vocab = spec.vocab
        self._fuse_unk, self._ignore_merges = spec.fuse_unk, spec.ignore_merges
        self._unk_id = None if spec.unk_token is None else vocab.get(spec.unk_token, -1)
        self._byte_ids = None
        if spec.byte_fallback:
            self._byte_ids = graph_constant(
                np.array([vocab[token] for token in BYTE_TOKENS], np.int32)
            )
        self._plain = not (spec.continuing_subword_prefix or spec.end_of_word_suffix)
        self._initial = self._initial_ids(spec)
        byte_alphabet = {chr(code) for code in byte_chars()}
        self._all_known = byte_level and self._plain and byte_alphabet <= vocab.keys()
        self._merges = Merges(spec)
        texts = {text: id for text, id in self._texts(spec) if len(text) > 1}
        self._symbols, self._trie = string_trie(texts, len(added_token_ids))
        self._alone = graph_constant(
            self._stands_alone(texts, max(vocab.values(), default=0) + 1)[self._trie.values]
        )

    def _initial_ids(self, spec: BPESpec) -> list[CodePointTable]:
        """Code → id + 1 of its character, 0 if unknown: tables for inside, first, last and only."""
        tables = []
        for first, last in ((False, False), (True, False), (False, True), (True, True)):
            prefix = "" if first else spec.continuing_subword_prefix
            suffix = spec.end_of_word_suffix if last else ""
            values = np.zeros(UNICODE_SIZE + self._added_token_count, np.int32)
            for token, id in spec.vocab.items():
                if (
                    len(token) == len(prefix) + 1 + len(suffix)
                    and token.startswith(prefix)
                    and token.endswith(suffix)
                ):
                    values[ord(token[len(prefix)])] = id + 1
            tables.append(CodePointTable(values))
            if self._plain:
                break
        return tables

    def _texts(self, spec: BPESpec) -> list[tuple[str, int]]:
        """The text and id of each token that merges make (of every token if `ignore_merges`)."""
        if spec.ignore_merges:
            return list(spec.vocab.items())
        names = {id: token for token, id in spec.vocab.items()}
        skipped, suffix = len(spec.continuing_subword_prefix), spec.end_of_word_suffix
        made = {spec.vocab[left + right[skipped:]] for left, right in spec.merges}
        if self._plain:
            return [(names[id], id) for id in made]
        # The prefix and the suffix mark the place in a word, so the text may lack either.
        texts = []
        for id in made:
            name = names[id]
            for start in {0, skipped if name.startswith(spec.continuing_subword_prefix) else 0}:
                for end in {
                    len(name),
                    len(name) - len(suffix) if name.endswith(suffix) else len(name),
                }:
                    texts.append((name[start:end], id))
        return texts

    def _stands_alone(self, texts: dict[str, int], size: int) -> np.ndarray:
        """Whether each token is the result for its own text: bool [size + 1], False for id −1."""
        alone = np.zeros(size + 1, bool)
        if not self._plain or not texts:
            return alone
        lengths = np.array([len(text) for text in texts])
        codes = np.array([ord(char) for text in texts for char in text], np.int32)
        symbols = self._initial[0](tf.constant(codes)) - 1
        segments = np.repeat(np.arange(len(texts), dtype=np.int32), lengths)
        known = np.logical_and.reduceat(
            symbols.numpy() >= 0, np.concatenate([[0], np.cumsum(lengths)[:-1]])
        )
        merge = tf.function(self._merges, autograph=False)
        merged, positions = (
            tensor.numpy() for tensor in merge(tf.maximum(symbols, 0), tf.constant(segments))
        )
        left = segments[positions]
        single = np.bincount(left, minlength=len(texts)) == 1
        ids = np.array(list(texts.values()))
        fits = single & known
        fits[fits] = merged[np.isin(left, np.flatnonzero(fits))] == ids[fits]
        alone[ids[fits]] = True
        return alone

    def __call__(self, words: Words) -> Tokens:
        symbols, ids, first, row_splits, source = self._characters(words)
        place = tf.range(count(ids))
        best = self._trie.longest(self._trie.start(symbols), select(first, 0, symbols))
        # A segment starts wherever all tokens that start earlier have ended.
        reach = place + tf.maximum(tf.gather(self._trie.depth, best), 1)
        ended = tf.scatter_nd(reach[:, tf.newaxis], tf.ones_like(reach), [count(ids) + 1])
        segment_starts = first | (tf.cumsum(ended)[:-1] == place)
        boundaries = tf.concat([segment_starts, [True]], 0)
        single = boundaries[1:]
        alone = tf.gather(self._alone, best)
        if self._ignore_merges:
            whole_word = first & tf.gather(tf.concat([first, [True]], 0), reach)
            alone |= whole_word & (best > Trie.DEAD)
        done = single | (alone & tf.gather(boundaries, reach))
        segment = tf.cumsum(tf.cast(segment_starts, tf.int32)) - 1
        rest = places(~tf.gather(tf.gather(done, places(segment_starts)), segment))
        merged, positions = self._merges(tf.gather(ids, rest), tf.gather(segment, rest))
        # Each token is at the position of its first character.
        ids = select(
            segment_starts & done, select(single, ids, tf.gather(self._trie.value, best)), -1
        )
        ids = tf.tensor_scatter_nd_update(ids, tf.gather(rest, positions)[:, tf.newaxis], merged)
        kept = places(ids >= 0)
        spans = None if words.spans is None else self._spans(words, kept, source)
        return Tokens(tf.gather(ids, kept), tf.searchsorted(kept, row_splits), spans=spans)

    def _spans(self, words: Words, kept: tf.Tensor, source: _Source | None) -> tf.Tensor:
        """The spans of the tokens that begin at the characters `kept`, int32 [T]."""
        assert words.spans is not None
        if source is None:
            return covering(words.spans, kept, shift_left(kept, last=count(words.codes)) - 1)
        first = tf.gather(source.first, kept)
        last = tf.gather(source.last, shift_left(kept, last=count(source.last)) - 1)
        if source.dropped is None:
            return covering(words.spans, first, last)
        return shifted_spans(words, first, last, source.dropped)

    def _characters(
        self, words: Words
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor, _Source | None]:
        """The characters to merge: trie symbols, ids, whether each starts a word, and row splits.

        And the codes that they come from; None if they are the codes themselves.

        An added token is a word of its own. Unknown characters become their bytes, the unknown
        token, or nothing.
        """
        added = words.codes >= ADDED_TOKEN_BASE
        in_word = words.starts | words.inside
        known = self._initial[0](words.codes)
        if self._all_known:
            ids = select(added, added_token_ids(words.codes, self._added_token_ids), known - 1)
            symbols, first = self._symbols(words.codes), words.starts | added
            return symbols, ids, first, words.row_splits, None
        if not self._plain:
            last = ~shift_left(words.inside, last=False)
            variants = tf.stack([table(words.codes) for table in self._initial])
            variant = tf.cast(words.starts, tf.int32) + 2 * tf.cast(last, tf.int32)
            known = tf.gather(
                tf.reshape(variants, [-1]),
                variant * count(words.codes) + tf.range(count(words.codes)),
            )
        ids = known - 1
        unknown = in_word & (known == 0)
        lengths = tf.cast(in_word | added, tf.int32)
        dropped = again = None
        if self._byte_ids is not None:
            lengths = select(unknown, utf8_length(words.codes), lengths)
        elif self._unk_id is None:
            lengths, dropped = select(unknown, 0, lengths), unknown
        else:
            ids = select(unknown, self._unk_id, ids)
            if self._fuse_unk:
                again = unknown & shift_right(unknown, first=False) & words.inside
                lengths = select(again, 0, lengths)
        ids = select(added, added_token_ids(words.codes, self._added_token_ids), ids)
        symbols = select(in_word & ~unknown, self._symbols(words.codes), 0)
        word = tf.cumsum(tf.cast(words.starts | added, tf.int32))
        owner, nth = expand(lengths)
        ids = tf.gather(ids, owner)
        if self._byte_ids is not None:
            byte = utf8_byte(tf.gather(words.codes, owner), tf.gather(lengths, owner), nth)
            ids = select(tf.gather(unknown, owner), tf.gather(self._byte_ids, byte), ids)
        word = tf.gather(word, owner)
        first = word != shift_right(word, first=0)
        row_splits = tf.gather(offsets(lengths), words.row_splits)
        source = _Source(owner, owner, dropped)
        if words.spans is not None and again is not None:
            source = source._replace(last=tf.gather(run_of(again)[1], owner))
        return tf.gather(symbols, owner), ids, first, row_splits, source


class _Source(NamedTuple):
    """The codes that characters come from: int32 [M] each."""

    first: tf.Tensor
    last: tf.Tensor
    """The same as the first, but for an unknown character that others are fused with."""
    dropped: tf.Tensor | None = None
    """Bool [N]: whether a code of a word became no character; None if none can be dropped."""
