"""Normalizers and pre-tokenizers by themselves, on random strings, compared with `tokenizers`."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest
import tensorflow as tf
from tokenizers import Regex, normalizers, pre_tokenizers

from fixtures.patterns import PATTERNS
from fixtures.trained import charsmap
from tests.support.helpers import read_steps
from tests.tokenizers.test_tokenizer import read_texts
from tf_exporter.tokenizers.normalizers.steps import build_normalizer
from tf_exporter.tokenizers.ops.ragged import decode
from tf_exporter.tokenizers.pre_tokenizers.steps import build_pre_tokenizer, whole_sections

BEHAVIORS = ("isolated", "removed", "contiguous", "merged_with_previous", "merged_with_next")
CHARS = [
    *"aabbAAsStTrReEvVmMlLdD''''11239٣Ⅷ½  \t\n\r\u00a0\u2028!?.,(|[…。/_▁中かɐʰǅªⅠ",
    *"\u0301\u0903\u20dd\u0e31ſ😀©\u200d\u00ad",
    *"+^~龥龦\u303f\u3040ヿ",
    *["'s", "'LL", "'ſ", "\r\n", "<|endoftext|>", "``", "''", "  ", "\u0345", "é", "ß"],
]


def random_strings(seed: int, count: int = 1500) -> list[str]:
    random_ = random.Random(seed)
    return [
        "".join(random_.choice(CHARS) for _ in range(random_.randint(1, 24))) for _ in range(count)
    ]


def cut(step: Any, texts: list[str]) -> list[list[str]]:
    """The pieces that the graph splits texts into."""
    _, parts = read_steps(None, step)
    words = whole_sections(decode(tf.constant([text.encode() for text in texts])))
    for split in build_pre_tokenizer(parts, 0):
        words = split(words)
    codes, starts, inside, row_splits = (array.numpy() for array in words[:4])
    rows = []
    for begin, end in pairwise(row_splits):
        row: list[str] = []
        for place in range(begin, end):
            if starts[place]:
                row.append("")
            if starts[place] or inside[place]:
                row[-1] += chr(codes[place])
        rows.append(row)
    return rows


def check_cut(step: Any, texts: list[str]) -> None:
    expected = [[piece for piece, _ in step.pre_tokenize_str(text)] for text in texts]
    assert [pair for pair in zip(texts, cut(step, texts), expected) if pair[1] != pair[2]][:3] == []


@pytest.mark.parametrize("number", range(len(PATTERNS)))
def test_split(number: int) -> None:
    expression = Regex(PATTERNS[number])
    for seed, behavior in enumerate(BEHAVIORS):
        for invert in (False, True):
            check_cut(
                pre_tokenizers.Split(expression, behavior, invert),
                random_strings(number * 10 + seed, 400),
            )


PRE_TOKENIZERS = {
    "Whitespace": pre_tokenizers.Whitespace(),
    "WhitespaceSplit": pre_tokenizers.WhitespaceSplit(),
    "BertPreTokenizer": pre_tokenizers.BertPreTokenizer(),
    "Digits": pre_tokenizers.Digits(individual_digits=False),
    "individual digits": pre_tokenizers.Digits(individual_digits=True),
    **{f"Punctuation {behavior}": pre_tokenizers.Punctuation(behavior) for behavior in BEHAVIORS},
    **{f"string {behavior}": pre_tokenizers.Split("'s", behavior) for behavior in BEHAVIORS},
    **{
        f"Metaspace {scheme} {split}": pre_tokenizers.Metaspace("▁", scheme, split)
        for scheme in ("always", "never", "first")
        for split in (True, False)
    },
    **{
        f"ByteLevel {space} {regex}": pre_tokenizers.ByteLevel(
            add_prefix_space=space, use_regex=regex
        )
        for space in (True, False)
        for regex in (True, False)
    },
    "Sequence": pre_tokenizers.Sequence(
        [
            pre_tokenizers.Punctuation("merged_with_previous"),
            pre_tokenizers.Sequence(
                [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Digits(individual_digits=True)]
            ),
            pre_tokenizers.Metaspace("_", "first", True),
            pre_tokenizers.Split("b", "merged_with_next"),
            pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True),
        ]
    ),
}


@pytest.mark.parametrize("name", PRE_TOKENIZERS)
def test_pre_tokenizer(name: str) -> None:
    check_cut(PRE_TOKENIZERS[name], random_strings(1))


NORMALIZERS = {
    **{
        name: getattr(normalizers, name)()
        for name in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt")
    },
    **{
        f"Strip {left} {right}": normalizers.Strip(left=left, right=right)
        for left in (True, False)
        for right in (True, False)
    },
    "Prepend": normalizers.Prepend("▁x"),
    "Prepend more": normalizers.Prepend("passage: " * 20),
    "long content": normalizers.Replace("s", "abcdefgh" * 30),
    "Prepend nothing": normalizers.Prepend(""),
    "Precompiled": normalizers.Precompiled(charsmap()),
    "BertNormalizer": normalizers.BertNormalizer(),
    "string": normalizers.Replace("''", '"'),
    "character": normalizers.Replace("a", "bc"),
    "to nothing": normalizers.Replace("'s", ""),
    "Sequence": normalizers.Sequence(
        [
            normalizers.Replace(" ", "▁"),
            normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase()]),
            normalizers.NFKD(),
            normalizers.StripAccents(),
            normalizers.Replace("s", "\u0323"),
            normalizers.NFC(),
        ]
    ),
    **{
        f"expression {number}": normalizers.Replace(Regex(expression), content)
        for number, (expression, content) in enumerate(zip(PATTERNS, ["", "x", " ", "abc"] * 9))
    },
}


@pytest.mark.parametrize("name", NORMALIZERS)
def test_normalizer(name: str) -> None:
    normalizer = NORMALIZERS[name]
    check_normalized(normalizer, random_strings(2))


def check_normalized(normalizer: Any, texts: list[str]) -> None:
    parts, _ = read_steps(normalizer, None)
    stream = decode(tf.constant([text.encode() for text in texts]))
    for step in build_normalizer(parts, 0):
        stream = step(stream)
    codes, row_splits = stream.codes.numpy(), stream.row_splits.numpy()
    result = ["".join(map(chr, codes[begin:end])) for begin, end in pairwise(row_splits)]
    expected = [normalizer.normalize_str(text) for text in texts]
    assert [pair for pair in zip(texts, result, expected) if pair[1] != pair[2]][:3] == []


MARKS = "\u0301\u0300\u0323\u0302\u0308\u0327\u0338\u0345\u093c\u094d\u05b8\u3099\u0344"


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_marks_in_any_order(form: str) -> None:
    """Letters that compose, jamo, and several marks of many classes on each."""
    random_ = random.Random(3)
    letters = [
        *"aeouAEçñǖộqकড়ेর\u0dd9\u0dca\u0dcf\u09c7\u09be\u1100\u1161\u11a8가각かｶﾞﬁ≠",
        "\u1025\u102e",
        "\U0001d15e",
    ]
    texts = [
        "".join(
            random_.choice(letters) + "".join(random_.choices(MARKS, k=random_.randint(0, 5)))
            for _ in range(6)
        )
        for _ in range(3000)
    ]
    check_normalized(
        getattr(normalizers, form)(),
        [*texts, *MARKS, MARKS * 40, "e" + "\u0301" * 500, "\u1100" + "\u1161" * 99],
    )


@pytest.mark.parametrize("length", [1, 2, 3])
def test_grapheme_clusters(length: int) -> None:
    """Characters of every class; short clusters in the table are replaced as a whole."""
    chars = "aEक\u1100か©ß\u0301\u0300\u0302\u0308\u200d\u094d\u0903\u0600\u1161\u11a8가각👨🇩"
    chars += "\r\n\u00ad\u0e33\u09bc\u00a0\ufe0f\u0915"
    random_ = random.Random(length)
    texts = ["".join(random_.choices(chars, k=random_.randint(1, 4 * length))) for _ in range(4000)]
    check_normalized(normalizers.Precompiled(charsmap()), texts)


def test_real_clusters(shared: Any) -> None:
    check_normalized(
        normalizers.Precompiled(charsmap()), read_texts(shared("text/GraphemeBreakTest.txt"))
    )
