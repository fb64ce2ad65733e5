"""Probes: tables of what the installed `tokenizers` does to every code point, made by calling it.

Copied Unicode tables would miss its Unicode version and its quirks. One call covers many code
points, so that all 1,112,064 take about a second.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

from tf_exporter.tokenizers.ops.tables import UNICODE_SIZE

SURROGATES = range(0xD800, 0xE000)
"""No text has these: Python refuses to encode them, and invalid UTF-8 decodes to U+FFFD."""

_SEPARATOR = "|"
_CHUNK = 256
_LOWEST_MARK = "\u0334"  # combining class 1
_HIGHEST_MARK = "\u0345"  # combining class 240


def code_points() -> list[int]:
    """All 1,112,064 code points that a string can hold."""
    return [code for code in range(UNICODE_SIZE) if code not in SURROGATES]


_UNASSIGNED, _PRIVATE = 0x50000, 0xF0000
_NONCHARACTERS = (0xFFFFE, 0xFFFFF, 0x10FFFE, 0x10FFFF)


def distinct_code_points() -> list[int]:
    """The code points that can differ.

    One stands for the rest of the empty planes, and one for the rest of those for private use.
    """
    ranges = (range(0x40000), range(0xE0000, 0xE1000))
    assigned = [code for part in ranges for code in part if code not in SURROGATES]
    return [*assigned, _UNASSIGNED, _PRIVATE, *_NONCHARACTERS]


def spread(values: np.ndarray) -> np.ndarray:
    """Fills in the values [UNICODE_SIZE] of all code points from those of the distinct ones."""
    for start, end in ((0x40000, 0xE0000), (0xE1000, 0xF0000)):
        values[start:end] = values[_UNASSIGNED]
    for start in (0xF0000, 0x100000):
        values[start : start + 0xFFFE] = values[_PRIVATE]
    return values


def _chunks(size: int = _CHUNK) -> Iterator[list[int]]:
    codes = distinct_code_points()
    return (codes[start : start + size] for start in range(0, len(codes), size))


@dataclass(frozen=True)
class NormalizerTables:
    """A normalizer that maps each code point by itself, except that it sorts combining marks."""

    changed: dict[int, tuple[int, ...]]
    """The replacement of each code point that changes."""
    ranks: dict[int, int] = field(default_factory=dict)
    """Combining marks that are not replaced → the rank of their combining class, from 1."""
    reordered: frozenset[int] = frozenset()
    """Code points whose replacement contains such a mark."""
    transparent: frozenset[int] = frozenset()
    """Code points across which marks are sorted: all marks, and codes dropped before sorting."""


def probe_normalizer(normalizer: normalizers.Normalizer | None) -> NormalizerTables:
    """The tables of a normalizer; equal normalizers are probed once per process."""
    return (
        NormalizerTables({}) if normalizer is None else _probe_normalizer(pickle.dumps(normalizer))
    )


@lru_cache(maxsize=8)
def _probe_normalizer(pickled: bytes) -> NormalizerTables:
    normalize = pickle.loads(pickled).normalize_str
    changed = {}
    for chunk in _chunks():
        outputs = normalize("".join(chr(code) + _SEPARATOR for code in chunk)).split(_SEPARATOR)[
            :-1
        ]
        if len(outputs) != len(chunk):
            # One of them is the separator or becomes it.
            outputs = [normalize(chr(code)) for code in chunk]
        changed.update(
            {code: tuple(map(ord, out)) for code, out in zip(chunk, outputs) if out != chr(code)}
        )
    places = spread(np.arange(UNICODE_SIZE))
    filled_in = np.flatnonzero((places != np.arange(UNICODE_SIZE)) & np.isin(places, [*changed]))
    changed.update({int(code): changed[int(places[code])] for code in filled_in})
    combining = _combining_marks()
    marks = [chr(mark) for mark in combining if mark not in changed]
    ordered = normalize("".join(marks))
    if normalize(ordered[::-1]) == ordered[::-1]:
        return NormalizerTables(changed)
    # The marks are sorted by class. A new class begins where swapped neighbours are swapped back.
    ranks, rank = {ord(ordered[0]): 1}, 1
    for left, right in pairwise(ordered):
        rank += normalize(right + left) == left + right
        ranks[ord(right)] = rank
    low, high = ordered[0], ordered[-1]
    # These become nothing, or marks only (half-width sound marks under NFKD).
    others = [code for code, output in changed.items() if ranks.keys() >= set(output)]
    transparent = [
        code
        for code in {*combining, *others}
        if _moved(normalize(high + chr(code) + low), high, low)
    ]
    reordered = {
        code for code, output in changed.items() if ranks.keys() & set(output)
    } | ranks.keys()
    return NormalizerTables(changed, ranks, frozenset(reordered), frozenset(transparent))


def _moved(text: str, high: str, low: str) -> bool:
    return text.rindex(low) < text.index(high)


@lru_cache(maxsize=1)
def _combining_marks() -> list[int]:
    """The code points that decompose into marks only: marks of other classes move across them."""
    decompose = normalizers.NFD().normalize_str
    crossed = re.compile(f"{_LOWEST_MARK}[^\n]*{_HIGHEST_MARK}")

    def text(codes: list[int]) -> str:
        return "".join(f"\n{_HIGHEST_MARK}{chr(code)}{_LOWEST_MARK}" for code in codes)

    return [
        code
        for chunk in _chunks()
        if chunk[0] >= 0x100 and crossed.search(decompose(text(chunk)))
        for code in chunk
        if crossed.search(decompose(text([code])))
    ]


@lru_cache(maxsize=64)
def probe_class(expression: str) -> np.ndarray:
    r"""Whether each code point is in a class of Oniguruma, such as `\p{L}`: bool [UNICODE_SIZE]."""
    remove = pre_tokenizers.Split(Regex(f"(?:{expression})+"), "removed")
    members = np.ones(UNICODE_SIZE, bool)
    for codes, text in _texts():
        for _, (start, end) in remove.pre_tokenize_str(text):
            members[codes[start:end]] = False
    members[SURROGATES.start : SURROGATES.stop] = False
    return spread(members)


@lru_cache(maxsize=1)
def probe_white_space() -> np.ndarray:
    """Whether each code point is white space to Rust, and so to Strip: bool [UNICODE_SIZE]."""
    strip = normalizers.Strip().normalize_str
    members = np.zeros(UNICODE_SIZE, bool)
    members[[code for code in distinct_code_points() if not strip(chr(code))]] = True
    return spread(members)


@lru_cache(maxsize=1)
def _texts() -> list[tuple[list[int], str]]:
    """The codes and the text of each 8,192 distinct code points, in order."""
    return [(codes, "".join(map(chr, codes))) for codes in _chunks(8192)]


def probe_pre_tokenizer(pre_tokenizer: pre_tokenizers.PreTokenizer) -> np.ndarray:
    """The class of each code point: int32 [UNICODE_SIZE].

    0: part of a word, 1: removed between words, 2: a word of its own. Only for pre-tokenizers that
    treat each code point the same everywhere.
    """
    return _probe_pre_tokenizer(pickle.dumps(pre_tokenizer))


@lru_cache(maxsize=8)
def _probe_pre_tokenizer(pickled: bytes) -> np.ndarray:
    pre_tokenizer = pickle.loads(pickled)
    classes = np.zeros(UNICODE_SIZE, np.int32)
    for chunk in _chunks():
        if len(pre_tokenizer.pre_tokenize_str("a" + "".join(map(chr, chunk)) + "a")) > 1:
            for code in chunk:
                classes[code] = len(pre_tokenizer.pre_tokenize_str(f"a{chr(code)}a")) - 1
    return spread(classes)


@lru_cache(maxsize=1)
def probe_words() -> tuple[np.ndarray, np.ndarray]:
    r"""The \w and the [^\w\s] of the Whitespace pre-tokenizer: bool [UNICODE_SIZE] each."""
    split = pre_tokenizers.Whitespace().pre_tokenize_str
    word, other = np.zeros(UNICODE_SIZE, bool), np.zeros(UNICODE_SIZE, bool)
    for chunk in _chunks():
        # Three characters per code point: it continues the word, is its own word, or is neither.
        for piece, (start, end) in split("".join(f"a{chr(code)} " for code in chunk)):
            if end - start == 2:
                word[chunk[start // 3]] = True
            elif piece != "a":
                other[chunk[start // 3]] = True
    word[ord("a")] = True
    return spread(word), spread(other)


@lru_cache(maxsize=1)
def probe_word_and_space() -> tuple[np.ndarray, np.ndarray]:
    """Word characters and white space in the matching of added tokens: bool [UNICODE_SIZE] each."""
    single, strips = "\ue000", "\ue001"
    tokenizer = Tokenizer(models.WordPiece({"?": 0}, unk_token="?"))
    tokenizer.add_tokens(
        [
            AddedToken(single, single_word=True, normalized=False),
            AddedToken(strips, rstrip=True, normalized=False),
        ]
    )
    single_id, strips_id = tokenizer.token_to_id(single), tokenizer.token_to_id(strips)
    word, space = np.zeros(UNICODE_SIZE, bool), np.zeros(UNICODE_SIZE, bool)
    for chunk in _chunks():
        codes = [code for code in chunk if chr(code) not in (single, strips)]
        # Six characters per code point: does `single` match, and how far does `strips` reach?
        encoding = tokenizer.encode(
            "".join(f"{chr(code)}{single}!{strips}{chr(code)}!" for code in codes)
        )
        word[codes] = True
        for token, (start, end) in zip(encoding.ids, encoding.offsets):
            if token == single_id:
                word[codes[start // 6]] = False
            elif token == strips_id:
                space[codes[start // 6]] = end - start > 1
    return spread(word), spread(space)
