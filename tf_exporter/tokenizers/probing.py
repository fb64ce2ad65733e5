"""What the installed `tokenizers` does to every code point, found by asking it.

Copying Unicode tables would miss its Unicode version and its quirks. Many code points are asked about in one call, so
that all 1,112,064 take about a second.
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

from tf_exporter.tokenizers.tables import UNICODE_SIZE

SURROGATES = range(0xD800, 0xE000)
"""No text has these: Python refuses to encode them, and decoding invalid UTF-8 gives U+FFFD."""

_SEPARATOR = "|"
_CHUNK = 256
_LOWEST_MARK = "\u0334"  # combining class 1
_HIGHEST_MARK = "\u0345"  # combining class 240


def code_points() -> list[int]:
    """Every code point a string can hold: 1,112,064 of them."""
    return [code for code in range(UNICODE_SIZE) if code not in SURROGATES]


_UNASSIGNED, _PRIVATE = 0x50000, 0xF0000
_NONCHARACTERS = (0xFFFFE, 0xFFFFF, 0x10FFFE, 0x10FFFF)


def distinct_code_points() -> list[int]:
    """Those that can differ: one stands for all others of the planes that Unicode leaves empty, one for those in private use."""
    ranges = (range(0x40000), range(0xE0000, 0xE1000))
    assigned = [code for part in ranges for code in part if code not in SURROGATES]
    return [*assigned, _UNASSIGNED, _PRIVATE, *_NONCHARACTERS]


def spread(values: np.ndarray) -> np.ndarray:
    """Values [UNICODE_SIZE] of distinct code points, with those of all others filled in."""
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
    """A normalizer that works code point by code point, but for the order of combining marks."""

    changed: dict[int, tuple[int, ...]]
    """What a code point becomes, where that is not itself."""
    ranks: dict[int, int] = field(default_factory=dict)
    """Surviving combining marks → rank of their combining class, from 1."""
    reordered: frozenset[int] = frozenset()
    """Code points whose outcome holds such a mark."""
    transparent: frozenset[int] = frozenset()
    """Code points across which marks are put in order (marks, dropped or not, and what is dropped before)."""


def probe_normalizer(normalizer: normalizers.Normalizer | None) -> NormalizerTables:
    """Asks what becomes of each code point, and which marks change places; once a process for equal normalizers."""
    return NormalizerTables({}) if normalizer is None else _probe_normalizer(pickle.dumps(normalizer))


@lru_cache(maxsize=8)
def _probe_normalizer(pickled: bytes) -> NormalizerTables:
    normalize = pickle.loads(pickled).normalize_str
    changed = {}
    for chunk in _chunks():
        outputs = normalize("".join(chr(code) + _SEPARATOR for code in chunk)).split(_SEPARATOR)[:-1]
        if len(outputs) != len(chunk):
            # One of them is the separator, or becomes it.
            outputs = [normalize(chr(code)) for code in chunk]
        changed.update({code: tuple(map(ord, out)) for code, out in zip(chunk, outputs) if out != chr(code)})
    places = spread(np.arange(UNICODE_SIZE))
    filled_in = np.flatnonzero((places != np.arange(UNICODE_SIZE)) & np.isin(places, [*changed]))
    changed.update({int(code): changed[int(places[code])] for code in filled_in})
    combining = _combining_marks()
    marks = [chr(mark) for mark in combining if mark not in changed]
    ordered = normalize("".join(marks))
    if normalize(ordered[::-1]) == ordered[::-1]:
        return NormalizerTables(changed)
    # Sorted by class, so a class ends where a mark would be moved before its left neighbour.
    ranks, rank = {ord(ordered[0]): 1}, 1
    for left, right in pairwise(ordered):
        rank += normalize(right + left) == left + right
        ranks[ord(right)] = rank
    low, high = ordered[0], ordered[-1]
    # Some become nothing, some (half-width sound marks under NFKD) only become marks.
    others = [code for code, output in changed.items() if ranks.keys() >= set(output)]
    transparent = [code for code in {*combining, *others} if _moved(normalize(high + chr(code) + low), high, low)]
    reordered = {code for code, output in changed.items() if ranks.keys() & set(output)} | ranks.keys()
    return NormalizerTables(changed, ranks, frozenset(reordered), frozenset(transparent))


def _moved(text: str, high: str, low: str) -> bool:
    return text.rindex(low) < text.index(high)


@lru_cache(maxsize=1)
def _combining_marks() -> list[int]:
    """Code points that decompose into marks only: marks of other classes move across them."""
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
    r"""Bool [UNICODE_SIZE]: which code points Oniguruma's class of characters holds, as `\p{L}` or `[^\s]`."""
    remove = pre_tokenizers.Split(Regex(f"(?:{expression})+"), "removed")
    found = np.ones(UNICODE_SIZE, bool)
    for codes, text in _texts():
        for _, (start, end) in remove.pre_tokenize_str(text):
            found[codes[start:end]] = False
    found[SURROGATES.start : SURROGATES.stop] = False
    return spread(found)


@lru_cache(maxsize=1)
def probe_white_space() -> np.ndarray:
    """Bool [UNICODE_SIZE]: white space as Rust's `char::is_whitespace` has it, which Strip goes by."""
    strip = normalizers.Strip().normalize_str
    found = np.zeros(UNICODE_SIZE, bool)
    found[[code for code in distinct_code_points() if not strip(chr(code))]] = True
    return spread(found)


@lru_cache(maxsize=1)
def _texts() -> list[tuple[list[int], str]]:
    """All distinct code points in order, in pieces of 8,192."""
    return [(codes, "".join(map(chr, codes))) for codes in _chunks(8192)]


def probe_pre_tokenizer(pre_tokenizer: pre_tokenizers.PreTokenizer) -> np.ndarray:
    """int32 [UNICODE_SIZE]: 0 inside a word, 1 removed between words, 2 a word of its own.

    For pre-tokenizers to which it does not matter what stands beside a code point.
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
    r"""Bool [UNICODE_SIZE] twice: what the Whitespace pre-tokenizer takes as \w, and as [^\w\s]."""
    cut = pre_tokenizers.Whitespace().pre_tokenize_str
    word, other = np.zeros(UNICODE_SIZE, bool), np.zeros(UNICODE_SIZE, bool)
    for chunk in _chunks():
        # Three characters a code point: it either goes on the word, is a word of its own, or is neither.
        for piece, (start, end) in cut("".join(f"a{chr(code)} " for code in chunk)):
            if end - start == 2:
                word[chunk[start // 3]] = True
            elif piece != "a":
                other[chunk[start // 3]] = True
    word[ord("a")] = True
    return spread(word), spread(other)


@lru_cache(maxsize=1)
def probe_word_and_space() -> tuple[np.ndarray, np.ndarray]:
    """Bool [UNICODE_SIZE] twice: word characters and white space, as the matching of added tokens sees them."""
    single, strips = "\ue000", "\ue001"
    tokenizer = Tokenizer(models.WordPiece({"?": 0}, unk_token="?"))
    tokenizer.add_tokens(
        [AddedToken(single, single_word=True, normalized=False), AddedToken(strips, rstrip=True, normalized=False)]
    )
    single_id, strips_id = tokenizer.token_to_id(single), tokenizer.token_to_id(strips)
    word, space = np.zeros(UNICODE_SIZE, bool), np.zeros(UNICODE_SIZE, bool)
    for chunk in _chunks():
        codes = [code for code in chunk if chr(code) not in (single, strips)]
        # Four characters a code point: is the first token found, and how far does the second reach?
        encoding = tokenizer.encode("".join(f"{chr(code)}{single}!{strips}{chr(code)}!" for code in codes))
        word[codes] = True
        for token, (start, end) in zip(encoding.ids, encoding.offsets):
            if token == single_id:
                word[codes[start // 6]] = False
            elif token == strips_id:
                space[codes[start // 6]] = end - start > 1
    return spread(word), spread(space)
